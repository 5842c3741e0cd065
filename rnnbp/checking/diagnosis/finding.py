"""The diagnosis of a failed check: the fault that explains it best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from rnnbp.checking.bugs import BUGS
from rnnbp.checking.diagnosis import loops, steps, tensors
from rnnbp.checking.diagnosis.hypotheses import Family, Suspects, explained
from rnnbp.checking.diagnosis.unrolled import Unrolled
from rnnbp.checking.report import Check, Finding
from rnnbp.checking.subjects.decayed import defining
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window

SHOWN = 5  # explanations in a report
NEAR = 0.8  # of the residual, to be mentioned at all
ENOUGH = 0.99  # of the residual, to name a fault: a right name explains all but rounding, a wrong one rarely half
DIAGNOSED_UP_TO = 50_000  # numbers that the forward holds: some hundred sweeps over it take seconds then
# where two explain the same, the one that stands first here is named: the particular before the general
FAMILIES: tuple[Family, ...] = (*loops.FAMILIES, *tensors.FAMILIES, *steps.FAMILIES)


@dataclass(frozen=True)
class Explanation:
    """A known fault, and how much of the residual it explains: 1 is all."""

    bug: str
    detail: str
    level: str
    explained: float

    def __str__(self) -> str:
        where = f" ({self.detail})" if self.detail else ""
        return f"{self.bug}{where}: {BUGS[self.bug]}; explains {100 * self.explained:.4g} % of the residual"


@dataclass(frozen=True)
class Diagnosis(Finding):
    """What is wrong with a backward. `best` is None where no known fault explains the residual."""

    cell: str
    candidates: tuple[Explanation, ...]  # the best first
    wrong: tuple[str, ...]  # the tensors that failed
    level: str = ""  # "step": one step's backward is wrong; "loop": it is right, and the sequence is wrong
    obstacle: str = ""  # why nothing could be said

    kind: ClassVar[str] = "diagnosis"

    @property
    def best(self) -> Explanation | None:
        """The fault that explains the residual."""
        return next((c for c in self.candidates[:1] if c.explained >= ENOUGH), None)

    @property
    def passed(self) -> bool:
        """It explains a failure; it is none itself."""
        return True

    def __str__(self) -> str:
        where = {"step": "the step itself is wrong; ", "loop": "each step is right, the loop over them is wrong; "}
        head = f"{self.cell}: {where.get(self.level, '')}wrong: {', '.join(self.wrong)}"
        if self.obstacle:
            return f"{head}\ndiagnosis: none ({self.obstacle})"
        if self.best is not None:
            return f"{head}\ndiagnosis: {self.best}"
        near = [c for c in self.candidates[:1] if c.explained >= NEAR]
        closest = f" (closest: {near[0]})" if near else ""
        return f"{head}\ndiagnosis: no known bug explains this{closest}"

    def to_json(self) -> dict[str, Any]:
        """The best explanation or null, the runners-up, the wrong tensors, the level."""
        plain = asdict(self) | {"wrong": list(self.wrong), "candidates": [asdict(c) for c in self.candidates]}
        return plain | {"best": asdict(self.best) if self.best else None}


def diagnose(
    name: str,
    problem: Problem,
    windows: Sequence[Window],
    analytic: Mapping[str, HostArray],
    wrong: Sequence[str] = (),
    level: str = "",
) -> Diagnosis:
    """Match what is wrong with the `analytic` gradients of a problem against every known fault.

    The forward is recorded once on a tape, which also gives the right gradients; a fault is one change of one edge of
    it, and its gradients one sweep. `wrong` names the tensors that failed, `level` says which level did, where that is
    known: of two faults that explain the same, that of this level is named.
    """
    unrolled = Unrolled(replace(problem, cell=defining(problem.cell, windows)))
    right = unrolled.gradients(windows)
    found = [
        Explanation("transposed", f"d{n}", "", 1 - float(np.sum((g - right[n].T) ** 2) / (np.sum(right[n] ** 2) or 1)))
        for n, g in analytic.items()
        if g.shape == right[n].T.shape != right[n].shape
    ]
    fitting = {n: g for n, g in analytic.items() if g.shape == right[n].shape}
    suspects = Suspects(unrolled, windows, right, fitting)
    for family in FAMILIES if fitting else ():
        for hypothesis in family(suspects):
            share = explained(hypothesis.predict(), suspects)
            found.append(Explanation(hypothesis.bug, hypothesis.detail, hypothesis.level, share))
    elsewhere = {"step": "loop", "loop": "step"}.get(level)
    ranked = sorted(found, key=lambda e: (-round(e.explained, 9), e.level == elsewhere))
    return Diagnosis(name, tuple(ranked[:SHOWN]), tuple(wrong), level)


def explain(
    subject: Subject, problem: Problem, windows: Sequence[Window], how: Setting, checks: Sequence[Check]
) -> list[Diagnosis]:
    """The diagnosis of the checks of a sequence and of its step, if one failed and the problem is not too large."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return []
    wrong = tuple(dict.fromkeys(check.tensor for check in failed))
    known = {check.level for check in checks} >= {"step", "sequence"}
    level = ("step" if any(check.level == "step" for check in failed) else "loop") if known else ""
    if subject.work > DIAGNOSED_UP_TO:
        large = f"the forward holds {subject.work} numbers, more than {DIAGNOSED_UP_TO}: check a smaller cell"
        return [Diagnosis(subject.name, (), wrong, level, large)]
    analytic = subject.claimed(how.backend, how.dtype)
    broken = [n for n, g in analytic.items() if not np.all(np.isfinite(g))]
    if broken:
        return [Diagnosis(subject.name, (), wrong, level, f"not finite: {', '.join(f'd{n}' for n in broken)}")]
    try:
        return [diagnose(subject.name, problem, windows, analytic, wrong, level)]
    except Exception as error:  # a forward may run on arrays alone, or use what the tape has no rule for
        said = str(error) if isinstance(error, UserError) else f"the forward stops on operands: {error}"
        return [Diagnosis(subject.name, (), wrong, level, said)]
