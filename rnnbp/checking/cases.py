"""A cell over a sequence, as `rnnbp.gradcheck` draws its problems and makes subjects of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rnnbp.cellbase import Cell
from rnnbp.checking.distances import held_to
from rnnbp.checking.report import Check
from rnnbp.checking.subjects.problems import Problem, draw, restricted
from rnnbp.checking.subjects.sequences import mask_is_refused, sequence_subject
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Setting
from rnnbp.truncation import Window, full, parse


@dataclass(frozen=True)
class Case:
    """A cell over a sequence of some length: draws its problems, and makes subjects of them."""

    name: str
    cell: Cell
    how: Setting
    time_steps: int
    batch: int
    padded: bool
    uncut: Cell  # the cell before the truncation stopped anything inside of it

    @property
    def windows(self) -> list[Window]:
        """Those of the truncation that is checked."""
        return parse(self.how.truncation, self.time_steps)

    def problem(self, seed: int) -> Problem:
        """The problem of that seed, without a mask where the cell's own scan takes none."""
        problem = draw(self.cell, self.time_steps, self.batch, seed, self.how.dtype, self.padded)
        return replace(problem, mask=None) if mask_is_refused(problem, self.how) else problem

    def subject(self, problem: Problem, kind: str = "all", whole: bool = False) -> Subject:
        """The sequence with errors of one kind, truncated or whole."""
        called = self.name if kind == "all" else f"{self.name}, {kind}"
        windows = full(self.time_steps) if whole else self.windows
        seen = replace(restricted(problem, kind), cell=self.uncut if whole else self.cell)
        return sequence_subject(called, seen, windows, self.how)

    @property
    def truncated(self) -> bool:
        """Whether the truncation cuts anything of the sequence, or inside the cell."""
        return self.windows != full(self.time_steps) or self.cell != self.uncut

    def held_to(self, against: str, problem: Problem, kind: str) -> Subject:
        """The same, held to what it claims or to the full derivative."""
        return held_to(against, self.subject(problem, kind), self.subject(problem, kind, whole=True))


def by_path(cases: Mapping[str, Case], against: str, problem: Problem, kind: str) -> list[Subject]:
    """One sequence by each path; what is found out about its loss is shared."""
    subjects = {path: case.held_to(against, problem, kind) for path, case in cases.items()}
    first = next(iter(subjects.values()))
    return [replace(first, path=path, gradients=subject.gradients) for path, subject in subjects.items()]


def blamed(cases: Mapping[str, Case], checks: Sequence[Check]) -> Case | None:
    """The path whose sequence failed, the first of several; None where none did."""
    failed = {check.path for check in checks if not check.passed}
    return next((case for path, case in cases.items() if path in failed), None)
