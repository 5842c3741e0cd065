"""Taylor's remainder of each tensor, with its slope, as a finding: a table in a terminal, a log-log plot on a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rnnbp.checking.drawing.loglog import Curve, picture
from rnnbp.checking.report import Finding, finite


@dataclass(frozen=True)
class Remainder:
    """R(ε) of one tensor along one direction."""

    tensor: str
    steps: tuple[float, ...]  # ε, halved each time
    remainders: tuple[float, ...]  # R(ε)
    rounding: tuple[float, ...]  # how much of R(ε) may be rounding
    fitted: tuple[int, int]  # the steps first … last−1 from which the slope is taken; (0, 0) for none
    slope: float  # of log R over log ε; NaN where R is not finite, or is rounding

    @property
    def affine(self) -> bool:
        """Whether the remainder is rounding all along: the loss is affine in this tensor, and its gradient right."""
        return self.fitted == (0, 0) and bool(np.isfinite(self.remainders).all())

    @property
    def error(self) -> float:
        """|slope − 2|, and zero for an affine one."""
        return 0.0 if self.affine else abs(self.slope - 2)

    @property
    def verdict(self) -> str:
        """The slope in words."""
        return "affine" if self.affine else f"{self.slope:.3f}"


@dataclass(frozen=True)
class TaylorSlopes(Finding):
    """The slopes of the remainders of all tensors of a subject."""

    cell: str
    level: str
    curves: tuple[Remainder, ...]
    tolerance: float
    seed: int
    kind: ClassVar[str] = "taylor"

    @property
    def passed(self) -> bool:
        return all(curve.error <= self.tolerance for curve in self.curves)

    def __str__(self) -> str:
        lines = [f"{self.cell} ({self.level}): slope of Taylor's remainder (seed {self.seed})"]
        lines += ["  2 for a right gradient, 1 for a wrong one", f"  {'tensor':10} {'slope':>7}  {'ε':15}  remainder"]
        for curve in self.curves:
            shown = slice(*curve.fitted) if curve.fitted != (0, 0) else slice(0, len(curve.steps))
            steps, values = curve.steps[shown], curve.remainders[shown]
            line = f"  {curve.tensor:10} {curve.verdict:>7}  {steps[0]:.1e}…{steps[-1]:.1e}"
            mark = "" if curve.error <= self.tolerance else "  FAIL"
            lines.append(f"{line}  {values[0]:.2e}…{values[-1]:.2e}{mark}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        curves = [
            {
                "tensor": curve.tensor,
                "slope": curve.slope,
                "affine": curve.affine,
                "fitted": list(curve.fitted),
                "steps": list(curve.steps),
                "remainders": list(curve.remainders),
                "rounding": list(curve.rounding),
            }
            for curve in self.curves
        ]
        whole = {
            "cell": self.cell,
            "level": self.level,
            "passed": self.passed,
            "tolerance": self.tolerance,
            "seed": self.seed,
        }
        found: dict[str, Any] = finite(whole | {"curves": curves})
        return found

    def to_html(self) -> str:
        curves = [
            Curve(f"{c.tensor}: {c.verdict}", c.steps, c.remainders, c.fitted, c.error <= self.tolerance)
            for c in self.curves
        ]
        return picture(f"{self.cell} ({self.level}): Taylor's remainder R(ε) against ε", curves, "ε", "R(ε)")
