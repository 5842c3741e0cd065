"""The verdict of one method on one cell, without the rest of a gradient check: no properties, no diagnosis."""

from __future__ import annotations

from dataclasses import replace

import rnnbp
from rnnbp.checking.report import Check, Finding
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import mask_is_refused, sequence_subject
from rnnbp.checking.subjects.vjps import step_subject
from rnnbp.checking.verdicts import setting, verdict
from rnnbp.truncation import full


def verdict_of(
    cell: rnnbp.Cell, method: str, level: str = "sequence", time_steps: int = 5, batch: int = 3
) -> tuple[list[Check], tuple[Finding, ...]]:
    """Checks and findings on NumPy in float64, seed 0, full BPTT."""
    how, problem = setting("numpy", "float64", method, "full"), draw(cell, time_steps, batch, 0)
    problem = replace(problem, mask=None) if mask_is_refused(problem, how) else problem
    if level == "step":
        return verdict(step_subject("cell", problem, how), how)
    return verdict(sequence_subject("cell", problem, full(time_steps), how), how)


def failed(cell: rnnbp.Cell, method: str, level: str = "sequence") -> set[str]:
    """The tensors that do not pass."""
    return {check.tensor for check in verdict_of(cell, method, level)[0] if not check.passed}
