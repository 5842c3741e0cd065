"""Error at t, tensor used at s: the parts of a gradient, and which of them a black box's backward returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from textwrap import fill
from typing import Any, ClassVar

import numpy as np

from rnnbp.checking.bugs import BUGS
from rnnbp.checking.drawing import heatmap, pictures
from rnnbp.checking.foreign.fits import OFF, Row
from rnnbp.checking.lags.patterns import where
from rnnbp.checking.report import Finding, finite
from rnnbp.numerics import HostArray

SHOWN = 4  # rows whose weights are told one by one


@dataclass(frozen=True, eq=False)
class ByStep(Finding):
    """Numeric dL_t/dv_s of one tensor v, and each row's sum over s beside the backward's gradient of L_t alone."""

    tensor: str
    numeric: HostArray = field(repr=False)  # ‖dL_t/dv_s‖, (T, S), over the entries that were perturbed
    rows: tuple[Row, ...] = field(repr=False)
    bug: str  # a key of `BUGS` that explains every row, or nothing
    tolerance: float
    method: str
    entries: int  # how many were perturbed; 0 for all
    kind: ClassVar[str] = "by_step"

    @property
    def passed(self) -> bool:
        return all(row.error <= self.tolerance for row in self.rows)

    @property
    def wrong(self) -> HostArray:
        """The parts known to be missing, scaled or wrong, (T, S)."""
        return np.stack([row.wrong for row in self.rows])

    @property
    def where(self) -> str:
        """The place of the wrong parts; where none is known, of the wrong rows."""
        wrong, alive = self.wrong, self.numeric != 0
        rows = np.array([[not row.error <= self.tolerance] for row in self.rows])
        if any(bad and not parts.any() for bad, parts in zip(rows, wrong, strict=True)):
            alive = alive.any(axis=1, keepdims=True)
            return where(np.concatenate([rows, rows[-1:]]), np.concatenate([alive, alive[-1:]]), state=True)
        none = np.zeros_like(wrong[:1])  # no error of the last state
        return where(np.concatenate([wrong, none]), np.concatenate([alive, none]))

    @property
    def verdict(self) -> list[str]:
        """Whether each row is the backward's, or what of it is missing, in a few lines."""
        if self.passed:
            worst = max(row.error for row in self.rows)
            return [f"each row adds up to what the backward gives for it, to {worst:.0e}"]
        said = [f"wrong: {self.where}"]
        if self.bug:
            return [*said, f"{self.bug}: {BUGS[self.bug]}; this explains every row"]
        off = [(t, row) for t, row in enumerate(self.rows) if not row.error <= self.tolerance]
        fitted = [f"t = {t}: {words}" for t, row in off if (words := _words(row))]
        said += fitted[:SHOWN] + [f"and {len(fitted) - SHOWN} rows more"] * (len(fitted) > SHOWN)
        for why in dict.fromkeys(row.why for _, row in off if row.why):
            said.append(f"t = {_listed([t for t, row in off if row.why == why])}: {why}")
        return said

    @property
    def title(self) -> str:
        """What the picture shows, in one line."""
        some = f", {self.entries} entries" if self.entries else ""
        return f"dL_t/d{self.tensor}_s: cotangent at t alone, {self.tensor} used at s ({self.method}{some})"

    def __str__(self) -> str:
        steps = range(len(self.rows))
        labels = [f"{t}" if self.rows[t].error <= self.tolerance else f"! {t}" for t in steps]
        picture = heatmap.text(self.numeric, labels, [str(s) for s in steps], self.wrong)
        below = [fill(line, 80, subsequent_indent="  ", break_on_hyphens=False) for line in self.verdict]
        return "\n".join([self.title, *picture, *below])

    def to_html(self) -> str:
        steps = [str(t) for t in range(len(self.rows))]
        notes = [[f"t = {t}, s = {s}: {self._note(t, s)}" for s in range(len(steps))] for t in range(len(steps))]
        picture = pictures.picture(self.numeric, steps, steps, self.wrong, notes=notes)
        below = "<br>".join(map(escape, self.verdict))
        return f'<div class="lags"><p>{escape(self.title)}</p>{picture}<p>{below}</p></div>'

    def _note(self, t: int, s: int) -> str:
        row = self.rows[t]
        weight = "" if row.weights is None else f", weight {row.weights[s]:.3g}"
        return f"{self.numeric[t, s]:.3g}{weight}, error of the row {row.error:.1e}"

    def to_json(self) -> dict[str, Any]:
        weights = [None if row.weights is None else row.weights.tolist() for row in self.rows]
        words = {"tensor": self.tensor, "passed": self.passed, "where": self.where, "bug": self.bug}
        words |= {"method": self.method, "tolerance": self.tolerance, "entries": self.entries}
        lists = {"numeric": self.numeric.tolist(), "errors": [row.error for row in self.rows]}
        found: dict[str, Any] = finite(words | lists | {"weights": weights, "wrong": self.wrong.tolist()})
        return found


def _listed(numbers: list[int]) -> str:
    """Numbers in order, three and more in a row as first–last."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _words(row: Row) -> str:
    """The weights of the parts that are not as they should be."""
    if row.weights is None:
        return ""
    lost = [s for s, w in enumerate(row.weights) if abs(w) <= OFF]
    parts = [f"s = {_listed(lost)} missing"] * bool(lost)
    return ", ".join(
        parts + [f"s = {s} times {w:.4g}" for s, w in enumerate(row.weights) if OFF < abs(w) and row.wrong[s]]
    )
