"""What a comparison of procedures found, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from textwrap import fill
from typing import Any

from rnnbp.checking.drawing.tables import aligned
from rnnbp.checking.report import Finding, finite

EXACT = ("scalar", "per-step")  # the procedures that give the gradient of a summed cost


@dataclass(frozen=True)
class Row:
    """One tensor under one procedure: the entry with the largest gradient, and how far the whole tensor is off."""

    tensor: str
    procedure: str
    index: tuple[int, ...]
    bptt: float
    value: float
    off: float  # ‖p − g‖ / ‖g‖ of the procedure's p and the gradient g that the backward gives
    error: float  # the same as a gradient check measures it, to be held to a tolerance
    of_mean: float  # ‖p‖ / ‖g‖ where the cost is the mean over steps


@dataclass(frozen=True)
class ProcedureTable(Finding):
    """Numeric gradients by each procedure beside the hand-written backward, the cost being summed over steps.

    It passes if the procedures that should agree with the backward do.
    """

    kind = "procedures"

    task: str
    cell: str
    seed: int
    method: str
    step: float
    tolerance: float
    time_steps: int
    reasons: Mapping[str, tuple[str, str]]  # procedure -> what is done, why it gives what it gives
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """The procedures that are right agree with the backward."""
        return all(row.error <= self.tolerance for row in self.rows if row.procedure in EXACT)

    @property
    def title(self) -> str:
        """What was differentiated and how."""
        how = f"{self.method}, step {self.step:.0e}"
        return f"procedures on {self.task}, T = {self.time_steps}, {self.cell}, seed {self.seed}, {how}, summed cost"

    @property
    def table(self) -> list[list[str]]:
        """Texts: a head, then for each tensor the values at its largest entry, and how far off the tensor is."""
        head = ["tensor", "entry", "BPTT", *self.reasons]
        lines = [head]
        for tensor in dict.fromkeys(row.tensor for row in self.rows):
            rows = [row for row in self.rows if row.tensor == tensor]
            entry = f"[{', '.join(map(str, rows[0].index))}]"
            lines.append([tensor, entry, f"{rows[0].bptt:.8f}", *(f"{row.value:.8f}" for row in rows)])
            lines.append(["", "off", "", *(_share(row.off) for row in rows)])
        return lines

    @property
    def remarks(self) -> list[str]:
        """For each procedure what is done, what it gives, and why."""
        return [f"{name}: {what}. {why} {self._measured(name)}" for name, (what, why) in self.reasons.items()]

    def _measured(self, procedure: str) -> str:
        rows = [row for row in self.rows if row.procedure == procedure]
        off = ", ".join(f"{row.tensor} {_share(row.off)}" for row in rows)
        if procedure in EXACT:
            ratios = sorted(row.of_mean for row in rows)
            times = f"{ratios[0]:.6g}" if ratios[-1] - ratios[0] < 1e-6 else f"{ratios[0]:.6g} to {ratios[-1]:.6g}"
            return (
                f"Here: off by {max(row.off for row in rows):.0e} at most; {times} times the gradient of a mean cost."
            )
        return f"Here: off by {off}."

    def __str__(self) -> str:
        lines = aligned(self.table)
        remarks = [fill(remark, 80, subsequent_indent="  ", break_on_hyphens=False) for remark in self.remarks]
        return "\n".join([fill(self.title, 80, subsequent_indent="  "), *lines, *remarks, self.verdict])

    @property
    def verdict(self) -> str:
        """Whether the right procedures and the backward agree."""
        shown = [name for name in self.reasons if name in EXACT]
        if not shown:
            return "no procedure was asked for that gives the gradient: nothing to hold the backward to"
        names = " and ".join(shown)
        said = "agree" if self.passed else "do NOT agree"
        return f"{names} {said} with the backward (tolerance {self.tolerance:.0e})"

    def to_json(self) -> dict[str, Any]:
        """The rows as they are, with the reasons."""
        whole = asdict(self) | {"passed": self.passed, "rows": [asdict(row) for row in self.rows]}
        plain: dict[str, Any] = finite(whole)
        return plain

    def to_html(self) -> str:
        """A table with the reasons below it."""
        head, *rows = self.table
        parts = [_cells(head, "th"), *(_cells(row, "td") for row in rows)]
        below = "".join(f"<p>{escape(remark)}</p>" for remark in [*self.remarks, self.verdict])
        return f"<p>{escape(self.title)}</p><table>{''.join(parts)}</table>{below}"


def _share(off: float) -> str:
    """A relative difference, as a share where it is no rounding."""
    return f"{off:.1%}" if off >= 0.0005 else f"{off:.0e}" if off else "0"


def _cells(texts: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in texts)}</tr>"
