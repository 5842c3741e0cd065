"""The partial derivatives of elementwise functions: calculus, and nothing of any cell."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any, TypeAlias

from rnnbp.numerics import Array, Namespace

# (namespace, value of the function, its arguments) -> ∂value/∂argument for each, elementwise
Partials: TypeAlias = Callable[..., tuple[Any, ...]]


def _flag(xp: Namespace, condition: Array, like: Array) -> Array:
    """1 where the condition holds, else 0."""
    return xp.where(condition, xp.ones_like(like), xp.zeros_like(like))


def _extremum(xp: Namespace, y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """The argument that was taken gets the derivative; where both are equal, the first."""
    del b
    first = _flag(xp, a == y, y)
    return first, 1 - first


def _where(xp: Namespace, y: Array, condition: Array, a: Array, b: Array) -> tuple[None, Array, Array]:
    del a, b
    yes = _flag(xp, condition, y)
    return None, yes, 1 - yes


# None: no derivative by that argument
ELEMENTWISE: dict[str, Partials] = {
    "add": lambda xp, y, a, b: (1, 1),
    "subtract": lambda xp, y, a, b: (1, -1),
    "multiply": lambda xp, y, a, b: (b, a),
    "divide": lambda xp, y, a, b: (1 / b, -y / b),
    "negative": lambda xp, y, a: (-1,),
    "positive": lambda xp, y, a: (1,),
    "pow": lambda xp, y, a, b: (b * a ** (b - 1), y * xp.log(a) if hasattr(b, "dtype") else None),
    "square": lambda xp, y, a: (2 * a,),
    "sqrt": lambda xp, y, a: (0.5 / y,),
    "reciprocal": lambda xp, y, a: (-y * y,),
    "exp": lambda xp, y, a: (y,),
    "expm1": lambda xp, y, a: (y + 1,),
    "log": lambda xp, y, a: (1 / a,),
    "log1p": lambda xp, y, a: (1 / (1 + a),),
    "log2": lambda xp, y, a: (1.4426950408889634 / a,),
    "logaddexp": lambda xp, y, a, b: (xp.exp(a - y), xp.exp(b - y)),
    "tanh": lambda xp, y, a: (1 - y * y,),
    "sinh": lambda xp, y, a: (xp.cosh(a),),
    "cosh": lambda xp, y, a: (xp.sinh(a),),
    "sin": lambda xp, y, a: (xp.cos(a),),
    "cos": lambda xp, y, a: (-xp.sin(a),),
    "tan": lambda xp, y, a: (1 + y * y,),
    "atan": lambda xp, y, a: (1 / (1 + a * a),),
    "atan2": lambda xp, y, a, b: (b / (a * a + b * b), -a / (a * a + b * b)),
    "hypot": lambda xp, y, a, b: (a / y, b / y),
    "asin": lambda xp, y, a: (1 / xp.sqrt(1 - a * a),),
    "acos": lambda xp, y, a: (-1 / xp.sqrt(1 - a * a),),
    "atanh": lambda xp, y, a: (1 / (1 - a * a),),
    "log10": lambda xp, y, a: (0.4342944819032518 / a,),
    "asinh": lambda xp, y, a: (1 / xp.sqrt(1 + a * a),),
    "abs": lambda xp, y, a: (xp.sign(a),),
    "erf": lambda xp, y, a: (2 / sqrt(pi) * xp.exp(-a * a),),
    "maximum": _extremum,
    "minimum": _extremum,
    "clip": lambda xp, y, a, min=None, max=None: (_flag(xp, y == a, y), None, None),
    "where": _where,
}
