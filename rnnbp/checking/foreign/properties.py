"""What every backward has to do, whatever the derivatives are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rnnbp.checking.foreign.calls import Foreign, Pulled
from rnnbp.checking.foreign.cotangents import Cotangents
from rnnbp.checking.foreign.slopes import Slopes
from rnnbp.checking.foreign.structures import Values, host
from rnnbp.checking.metric import compare
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Gradients = Mapping[str, HostArray]
LARGE = 1e6  # a cotangent at which whatever clips does so
NAMES = (
    "zero cotangent gives zero",
    "called twice gives the same",
    "linear in the cotangent",
    "inputs and cotangent untouched",
)


def on_host(pulled: Pulled, cotangents: Values) -> dict[str, HostArray]:
    """The gradients that are claimed, as host arrays in float64."""
    found = pulled.pull(cotangents)
    return {name: host(g, f"the gradient of {name}").astype(np.float64) for name, g in found.items() if g is not None}


def properties(foreign: Foreign, drawn: Cotangents, gradients: Gradients, slopes: Slopes) -> dict[str, str]:
    """How each of `NAMES` is missed, empty where it holds; only the second and the last need no cotangent.

    Each answer is from a forward of its own, for many a backward can be called only once. A backward whose gradient
    stops growing with the cotangent clips, and is refused with a UserError.
    """
    cotangents, other = drawn.whole, drawn.other
    tolerances = {name: slopes.limit("complex-step", foreign.inputs.dtypes[name]) for name in gradients}

    def fresh(cs: Values) -> dict[str, HostArray]:
        return on_host(foreign.pulled(), cs)

    def scaled(factor: float) -> Values:
        return tuple((factor * c).astype(c.dtype) for c in cotangents)

    def differ(found: Gradients, wanted: Gradients) -> str:
        return _difference(found, wanted, tolerances)

    answers: dict[str, Callable[[], str]] = {NAMES[1]: lambda: _twice(foreign, cotangents, differ)}
    pulled = foreign.pulled()
    if pulled.takes_cotangent:
        at_zero = fresh(scaled(0.0))
        refuse_clipping(gradients, fresh(scaled(LARGE)), at_zero)
        combined = tuple((2 * c - 3 * o).astype(c.dtype) for c, o in zip(cotangents, other, strict=True))
        parts = fresh(other)
        wanted = {name: 2 * g - 3 * parts[name] for name, g in gradients.items() if name in parts}
        answers[NAMES[0]] = lambda: _at_zero(at_zero, foreign.inputs.point)
        answers[NAMES[2]] = lambda: differ(fresh(combined), wanted)
    on_host(pulled, cotangents)
    answers[NAMES[3]] = lambda: ", ".join(pulled.written()) and f"{', '.join(pulled.written())} written to"
    return {name: answers[name]() for name in NAMES if name in answers}


def refuse_clipping(gradients: Gradients, large: Gradients, at_zero: Gradients) -> None:
    """A gradient that a cotangent a million times as large does not make much larger has a limit in it."""

    def size(found: Gradients) -> float:
        return float(np.sqrt(sum(np.sum((found[name] - at_zero.get(name, 0.0)) ** 2) for name in found)))

    before, after = size(gradients), size(large)
    if before > 0 and after <= 0.5 * LARGE * before:
        raise UserError(
            f"clipped or normalised gradients hide faults: a cotangent {LARGE:.0e} times as large makes the gradient "
            f"{after / before:.3g} times as large: check the backward without its clipping"
        )


def _at_zero(found: Gradients, point: Gradients) -> str:
    words = []
    for name, g in found.items():
        if g.any() or np.isnan(g).any():
            itself = g.shape == point[name].shape and compare(g, point[name]).error <= 1e-6
            words.append(f"d{name} = {name} itself" if itself else f"max |d{name}| = {np.max(np.abs(g)):.3g}")
    return ", ".join(words)


def _twice(foreign: Foreign, cotangents: Values, differ: Callable[[Gradients, Gradients], str]) -> str:
    pulled = foreign.pulled()
    first = on_host(pulled, cotangents)
    try:
        second = on_host(pulled, cotangents)
    except Exception:  # a backward that gives its memory back at the first call, as torch's does
        second = on_host(foreign.pulled(), cotangents)
    return differ(second, first)


def _difference(found: Gradients, wanted: Gradients, tolerances: Mapping[str, float]) -> str:
    """The tensors that differ by more than rounding, in words."""
    words = []
    for name, limit in tolerances.items():
        a, b = found.get(name), wanted.get(name)
        if a is None or b is None or a.shape != b.shape:
            words.append(f"d{name} is missing or has another shape")
        elif not (error := compare(a, b).error) <= limit:
            words.append(f"d{name} differs by {error:.1e}")
    return ", ".join(words)
