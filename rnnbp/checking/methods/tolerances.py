"""How large an error may be: stated once, as data, with the reason. Never scaled by size, never widened to pass."""

from __future__ import annotations

from typing import NamedTuple

from rnnbp.errors import unknown

DTYPES = ("float64", "float32")


class Tolerance(NamedTuple):
    """The largest error that passes, and why."""

    value: float
    reason: str


_ORACLE = Tolerance(1e-10, "another exact algorithm: a right backward measures 1e-16 to 1e-14")
_ORACLES = ("autodiff", "autodiff-torch", "autodiff-jax", "symbolic", "rtrl")
_FLOAT32 = Tolerance(
    1e-5, "rounding of a float32 backward: a right one measures 1e-7 against the float64 reference at the same numbers"
)
TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("complex-step", "float64"): Tolerance(
        1e-10, "a complex step is exact to rounding: a right backward measures 1e-16 to 1e-14"
    ),
    ("tangent", "float64"): Tolerance(1e-10, "tangents are exact to rounding, as complex steps are: 1e-16 to 1e-14"),
    ("central", "float64"): Tolerance(
        1e-6, "the best central difference (step 1e-5) of a right backward measures 2e-9 on O(1) losses"
    ),
    ("five-point", "float64"): Tolerance(
        1e-8, "a five-point difference (step 1e-3) of a right backward measures 2e-11 on O(1) losses"
    ),
    ("taylor", "float64"): Tolerance(
        0.05,
        "|slope − 2|: remainders of 100 times their rounding turn it by 0.0075 at most, the next term of the series by "
        "less, and a wrong gradient by 1",
    ),
    ("taylor", "float32"): Tolerance(
        0.25,
        "|slope − 2|: the rounding of a float32 gradient leaves only steps up to 0.2, where the next term of the "
        "series turns it by 0.1; a wrong gradient turns it by 1",
    ),
    ("hessian", "float64"): Tolerance(
        1e-10, "a complex step is exact to rounding: the Hessian of a right backward is symmetric to 1e-16"
    ),
    ("complex-step", "float32"): _FLOAT32,
    ("tangent", "float32"): _FLOAT32,
    ("five-point", "float32"): _FLOAT32,
    ("central", "float32"): _FLOAT32,
    ("hessian", "float32"): _FLOAT32,
    **{(name, "float64"): _ORACLE for name in _ORACLES},
    **{(name, "float32"): _FLOAT32 for name in _ORACLES},
}


def tolerance(method: str, dtype: str) -> Tolerance:
    """The tolerance for a method and the dtype of the backward."""
    if dtype not in DTYPES:
        raise unknown("dtype of a gradient check", dtype, DTYPES)
    if (method, dtype) not in TOLERANCES:
        raise unknown("method", method, {name for name, _ in TOLERANCES})
    return TOLERANCES[method, dtype]
