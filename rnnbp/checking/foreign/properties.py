"""What every backward has to do, whatever the derivatives are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rnnbp.checking.foreign.calls import Foreign, Pulled
from rnnbp.checking.foreign.cotangents import Cotangents
from rnnbp.checking.foreign.slopes import Slopes
from rnnbp.checking.foreign.structures import Values, host
from rnnbp.checking.metric import compare
from rnnbp.checking.properties.catalogue import OF_BACKWARDS, linear, repeatable, untouched, zero_at_zero
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

Gradients = Mapping[str, HostArray]
LARGE = 1e6  # a cotangent at which whatever clips does so
_CALLED = {ask: name for name, ask in OF_BACKWARDS.items()}
NAMES = tuple(_CALLED[ask] for ask in (zero_at_zero, repeatable, linear, untouched))


def on_host(pulled: Pulled, cotangents: Values) -> dict[str, HostArray]:
    """The gradients that are claimed, as host arrays in float64."""
    found = pulled.pull(cotangents)
    hosts = {name: host(g, f"the gradient of {name}") for name, g in found.items() if g is not None}
    return {name: np.real(g).astype(np.float64) for name, g in hosts.items()}  # a complex one has failed already


def properties(foreign: Foreign, drawn: Cotangents, gradients: Gradients, slopes: Slopes) -> dict[str, str]:
    """How each of `NAMES` is missed, empty where it holds; only the second and the last need no cotangent.

    Each answer is from a forward of its own, for many a backward can be called only once; of such a one it is not asked
    whether it repeats itself. A backward whose gradient stops growing with the cotangent clips, and is refused with a
    UserError.
    """
    cotangents, other = drawn.whole, drawn.other
    tolerances = {name: slopes.limit("autodiff", foreign.inputs.dtypes[name]) for name in gradients}

    def fresh(cs: Values) -> dict[str, HostArray]:
        return on_host(foreign.pulled(), cs)

    def scaled(factor: float) -> Values:
        return tuple((factor * c).astype(c.dtype) for c in cotangents)

    def differ(found: Gradients, wanted: Gradients) -> str:
        return _difference(found, wanted, tolerances)

    answers: dict[str, Callable[[], str]] = {}
    pulled = foreign.pulled()
    if pulled.takes_cotangent:
        at_zero = fresh(scaled(0.0))
        refuse_clipping(gradients, fresh(scaled(LARGE)), at_zero)
        combined = tuple((2 * c - 3 * o).astype(c.dtype) for c, o in zip(cotangents, other, strict=True))
        parts = fresh(other)
        with np.errstate(invalid="ignore"):  # of two infinite ones
            wanted = {name: 2 * g - 3 * parts[name] for name, g in gradients.items() if name in parts}
        answers[NAMES[0]] = lambda: _at_zero(at_zero, foreign.inputs.point)
        answers[NAMES[2]] = lambda: differ(fresh(combined), wanted)
    if (pair := _twice(foreign, cotangents)) is not None:
        answers[NAMES[1]] = lambda: differ(*pair)
    on_host(pulled, cotangents)
    answers[NAMES[3]] = lambda: ", ".join(pulled.written()) and f"{', '.join(pulled.written())} written to"
    return {name: answers[name]() for name in NAMES if name in answers}


def refuse_clipping(gradients: Gradients, large: Gradients, at_zero: Gradients) -> None:
    """A gradient that a cotangent a million times as large does not make much larger has a limit in it."""

    def size(found: Gradients) -> float:
        return float(np.sqrt(sum(np.sum((found[name] - at_zero.get(name, 0.0)) ** 2) for name in found)))

    with np.errstate(invalid="ignore"):  # what is not finite is refused by no size
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


def _twice(foreign: Foreign, cotangents: Values) -> tuple[Gradients, Gradients] | None:
    """The gradients of the second call and of the first; None of a backward that can be called only once."""
    pulled = foreign.pulled()
    first = on_host(pulled, cotangents)
    try:
        return on_host(pulled, cotangents), first
    except Exception:  # it gives its memory back at the first call, as torch's does
        return None


def _difference(found: Gradients, wanted: Gradients, tolerances: Mapping[str, float]) -> str:
    """The tensors that differ by more than rounding, in words."""
    words = []
    for name, limit in tolerances.items():
        a, b = found.get(name), wanted.get(name)
        if a is None or b is None or a.shape != b.shape:
            words.append(f"d{name} is missing or has another shape")
        elif not (error := compare(*_finite(a, b)).error) <= limit:
            words.append(f"d{name} differs by {error:.1e}")
    return ", ".join(words)


def _finite(a: HostArray, b: HostArray) -> tuple[HostArray, HostArray]:
    """Both without what is finite in neither: that fails as a gradient, and says nothing of linearity."""
    known = np.isfinite(a) | np.isfinite(b)
    return np.where(known, a, 0.0), np.where(known, b, 0.0)
