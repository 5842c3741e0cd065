"""How large an error may be: stated once, as data, with the reason. Never scaled by size, never widened to pass."""

from __future__ import annotations

from typing import NamedTuple

from rnnbp.errors import unknown

DTYPES = ("float64", "float32")


class Tolerance(NamedTuple):
    """The largest error that passes, and why."""

    value: float
    reason: str


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
    ("complex-step", "float32"): _FLOAT32,
    ("tangent", "float32"): _FLOAT32,
    ("five-point", "float32"): _FLOAT32,
    ("central", "float32"): _FLOAT32,
}


def tolerance(method: str, dtype: str) -> Tolerance:
    """The tolerance for a method and the dtype of the backward."""
    if dtype not in DTYPES:
        raise unknown("dtype of a gradient check", dtype, DTYPES)
    if (method, dtype) not in TOLERANCES:
        raise unknown("method", method, {name for name, _ in TOLERANCES})
    return TOLERANCES[method, dtype]
