"""How large the terms of a step's derivative are, and how far they cancel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.flow.terms import Terms, first_step, step_terms
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class TermSizes:
    """Norms of the terms, and of their sum as "total", and the cosines between terms, at S steps of B sequences.

    frobenius, spectral: term -> (S, B), of the matrix; `spectral` is empty where it was left out. unit_norms: term ->
    (S, B, H), of row j of the matrix, which is what moves unit j of the memory. cosines: pair of terms -> (S, B), of
    ⟨A, B⟩ = Σ A ∘ B; unit_cosines: pair -> (S, B, H), row by row. −1 is cancelling, 0 apart, 1 adding up, nan where one
    of the two is zero.
    """

    state: str
    steps: tuple[int, ...]
    frobenius: Mapping[str, HostArray]
    spectral: Mapping[str, HostArray]
    unit_norms: Mapping[str, HostArray]
    cosines: Mapping[Pair, HostArray]
    unit_cosines: Mapping[Pair, HostArray]

    @property
    def remaining(self) -> HostArray:
        """‖Σ terms‖ / Σ ‖terms‖ in the Frobenius norm, (S, B): 1 where all point the same way, 0 where they cancel, nan
        where all are zero; n terms of one size at right angles leave 1/√n.
        """
        return _remaining(self.frobenius)

    @property
    def unit_remaining(self) -> HostArray:
        """The same of every row, (S, B, H)."""
        return _remaining(self.unit_norms)


def term_sizes(path: Trajectory, steps: Iterable[int] | None = None, spectral: bool = True) -> TermSizes:
    """Norms and cosines of `step_terms` at the steps named, by default at all that have terms.

    A spectral norm costs the singular values of an H × H matrix, for each term, step and sequence: of wide cells take
    some steps, or leave these norms out, `spectral` False.
    """
    chosen = tuple(range(first_step(path.cell), path.time_steps) if steps is None else steps)
    if not chosen:
        raise UserError(f"terms need at least one step, from {first_step(path.cell)} on; got none")
    found = []
    for t in chosen:
        terms = step_terms(path, t)
        found.append(_measured(terms, spectral))
    stacked = {
        kind: {key: np.stack([step[kind][key] for step in found]) for key in values}
        for kind, values in found[0].items()
    }
    return TermSizes(terms.state, chosen, **stacked)


def _measured(terms: Terms, spectral: bool) -> dict[str, dict[Any, HostArray]]:
    """The numbers of one step, by the fields of `TermSizes`."""
    every = {**terms.parts, "total": terms.total}
    whole, rows = ({name: _directions(a, axes) for name, a in terms.parts.items()} for axes in ((-2, -1), (-1,)))
    pairs = list(combinations(terms.parts, 2))
    return {
        "frobenius": {name: np.linalg.norm(a, axis=(-2, -1)) for name, a in every.items()},
        "spectral": {name: np.linalg.norm(a, ord=2, axis=(-2, -1)) for name, a in every.items() if spectral},
        "unit_norms": {name: np.linalg.norm(a, axis=-1) for name, a in every.items()},
        "cosines": {(a, b): np.sum(whole[a] * whole[b], axis=(-2, -1)) for a, b in pairs},
        "unit_cosines": {(a, b): np.sum(rows[a] * rows[b], axis=-1) for a, b in pairs},
    }


def _remaining(norms: Mapping[str, HostArray]) -> HostArray:
    """The norm of the sum over the sum of the terms' norms."""
    apart = np.sum([norm for name, norm in norms.items() if name != "total"], axis=0)
    return np.asarray(norms["total"] / np.where(apart > 0, apart, np.nan))


def _directions(a: HostArray, axes: tuple[int, ...]) -> HostArray:
    """What is left of a when its norm over the axes is divided out; nan where that is zero."""
    norm = np.linalg.norm(a, axis=axes, keepdims=True)
    return a / np.where(norm > 0, norm, np.nan)
