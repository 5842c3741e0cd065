"""How much a backward rounds by itself: s (1 − s) where s is near 1 is right, and known to few digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from rnnbp.checking.foreign.calls import OWN, Foreign
from rnnbp.checking.foreign.claims import Claims
from rnnbp.checking.foreign.noise import noise_of
from rnnbp.checking.foreign.slopes import SIGMAS, TOLD, Point
from rnnbp.checking.foreign.structures import Values, host
from rnnbp.checking.report import Check
from rnnbp.numerics import HostArray


def rounded(
    foreign: Foreign, cotangents: Values, claims: Claims, checks: Mapping[str, Check], seed: int
) -> Iterator[str]:
    """The tensors of gradients that are a little wrong, and no more than their own rounding makes them."""
    for name, check in checks.items():
        if check.passed or not check.error <= TOLD:
            continue
        off = SIGMAS * np.max(_noise_of(foreign, cotangents, name, seed)) / np.max(np.abs(claims.first[name]))
        if check.error <= off:
            yield (
                f"the rounding of backward itself explains the error of {name}: it loses digits (a difference of "
                f"nearly equal numbers, or single precision) up to {off:.0e} of its largest; "
                "no fault of its formula is shown"
            )


def _noise_of(foreign: Foreign, cotangents: Values, name: str, seed: int) -> HostArray:
    """The standard deviation of rounding in each entry of a gradient."""

    def entries(point: Point, _: str) -> HostArray:
        gradient = foreign.pulled(point).pull(cotangents)[name]
        return np.ravel(host(gradient, f"the gradient of {name}")).astype(np.float64)

    return noise_of(entries, foreign.inputs.point, OWN, seed)
