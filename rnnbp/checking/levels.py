"""Several subjects in one check: the levels at which a cell or a model is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rnnbp.checking.methods.registry import numeric_method
from rnnbp.checking.refusal import unclipped
from rnnbp.checking.report import Check, Finding
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Progress, Setting, verdict
from rnnbp.errors import UserError, unknown

Make = Callable[[], Sequence[Subject]]


def of_levels(known: Mapping[str, Make], levels: Sequence[str] | None, how: Setting) -> list[Subject]:
    """The subjects of the levels asked for; None asks for all that the method can look at."""
    skips = numeric_method(how.method).skips
    chosen = [level for level in known if level not in skips] if levels is None else levels
    if isinstance(chosen, str) or not chosen:
        raise UserError(f"levels must be a tuple of at least one of {', '.join(known)}; got {levels!r}")
    for level in chosen:
        if level not in known:
            raise unknown("level", level, known)
        if level in skips:
            raise UserError(f"method {how.method} would compare level {level} with itself: use method complex-step")
    return [subject for level, make in known.items() if level in chosen for subject in make()]


def verify_all(
    subjects: Sequence[Subject], how: Setting, memory: int, progress: Progress | None
) -> tuple[list[Check], list[Finding]]:
    """The checks and findings of several subjects; progress hears of them as of one, by the name of the first."""
    sizes = [sum(value.size for value in subject.tensors.values()) for subject in subjects]
    checks: list[Check] = []
    findings: list[Finding] = []
    for k, subject in enumerate(subjects):

        def advance(name: str, done: int, total: int, before: int = sum(sizes[:k])) -> None:
            del name, total
            if progress is not None:
                progress(subjects[0].name, before + done, sum(sizes))

        found, more = verdict(subject, how, memory, advance)
        checks += unclipped(subject, how, found, memory)
        findings += more
    return checks, findings
