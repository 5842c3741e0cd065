"""Hessian–vector products: a hand-written gradient, differentiated by a complex step.

A gradient g that stays complex is differentiated like any function: H v = Im g(θ + ihv) / h, exact to rounding, for
there is no subtraction (Squire & Trapp 1998; Pearlmutter 1994 gets the same by an operator on the network).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace, one_namespace, real_dtype

Gradient: TypeAlias = Callable[[dict[str, Array]], Mapping[str, Array]]

# so small that its square vanishes beside 1, so large that its products with small numbers do not
STEPS = {"float64": 1e-30, "float32": 1e-15}
COMPLEX = {"float64": "complex128", "float32": "complex64"}
RULE = "a Hessian by complex steps needs a backward that stays complex (no abs, no norm, no float buffer)"


def hvp(gradient: Gradient, point: Mapping[str, Array], direction: Mapping[str, Array]) -> dict[str, Array]:
    """The Hessian of a function times a direction, from its gradient alone: Im gradient(point + ih direction) / h.

    gradient: named arrays -> the gradient by the same names, of any function; it must stay complex where the arrays
    are, as every backward of this package does. It is called once.
    point, direction: named real arrays of one backend. Tensors that `direction` leaves out stay as they are. Leading
    axes of a direction are copies: as many products at once, where the gradient takes copies.
    Returns H v by the names that `gradient` gives, in the dtype of the point, exact to its rounding.

        hvp(lambda p: model(p, xs, targets)[2]()[0], params, v)
    """
    found = pushed(gradient, point, direction)
    for name, (real, d) in found.items():
        if real:
            raise UserError(f"{RULE}; the gradient of {name} came back {d.dtype}")
    return {name: d for name, (_, d) in found.items()}


def pushed(
    gradient: Gradient, point: Mapping[str, Array], direction: Mapping[str, Array]
) -> dict[str, tuple[bool, Array]]:
    """As `hvp`, with a flag for each gradient that came back real; it changes with nothing, or dropped what it had."""
    xp, kind = _checked(point, direction)
    step, number = STEPS[kind], getattr(xp, COMPLEX[kind])
    moved = {name: xp.astype(value, number) for name, value in point.items()}
    moved |= {name: moved[name] + 1j * step * xp.astype(d, number) for name, d in direction.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*imaginary part")  # NumPy, torch and JAX only warn
        try:
            found = gradient(moved)
        except UserError:
            raise
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".splitlines()[:1])
            raise UserError(f"{RULE}; it ended in {what}") from error
    still = {name: not xp.isdtype(g.dtype, "complex floating") for name, g in found.items()}
    return {n: (still[n], xp.zeros_like(g) if still[n] else xp.imag(g) / step) for n, g in found.items()}


def _checked(point: Mapping[str, Array], direction: Mapping[str, Array]) -> tuple[Namespace, str]:
    """The namespace and the precision that all share."""
    strangers = [name for name in direction if name not in point]
    if strangers or not direction:
        got = ", ".join(strangers) or "nothing"
        raise UserError(f"a direction is named like tensors of the point, {', '.join(point)}; got {got}")
    named = {**point, **{f"the direction of {name}": d for name, d in direction.items()}}
    xp = one_namespace(**named)
    for name, value in named.items():
        if not xp.isdtype(value.dtype, "real floating"):
            raise UserError(f"point and direction must be real and floating; {name} is {value.dtype}")
    kinds = {real_dtype(xp, value) for value in named.values()}
    if len(kinds) > 1 or not kinds <= set(STEPS):
        raise UserError(f"point and direction must be float32 or float64, all the same; got {', '.join(sorted(kinds))}")
    for name, d in direction.items():
        shape = tuple(point[name].shape)
        if tuple(d.shape)[max(d.ndim - len(shape), 0) :] != shape:
            raise UserError(f"the direction of {name} must have its shape {shape} behind copies; got {tuple(d.shape)}")
    return xp, kinds.pop()
