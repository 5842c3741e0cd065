"""Which properties backwards have, as a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import Any, ClassVar

from rnnbp.checking.properties.catalogue import OF_BACKWARDS, PROPERTIES, WITHOUT_COTANGENT
from rnnbp.checking.properties.pullbacks import Pullback, step_pullback
from rnnbp.checking.properties.starts import FROM_THE_START, finite_step
from rnnbp.checking.report import Finding
from rnnbp.checking.subjects.problems import Problem
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import described


@dataclass(frozen=True)
class Properties(Finding):
    """Which properties something has at each level, and how it misses the others."""

    cell: str
    missed: Mapping[str, Mapping[str, str]]  # level -> property -> how it is missed, empty where it holds
    kind: ClassVar[str] = "properties"

    @property
    def passed(self) -> bool:
        return not self.faults

    @property
    def faults(self) -> dict[tuple[str, str], str]:
        """(level, property) -> how it is missed, for those that are."""
        return {(level, name): said for level, found in self.missed.items() for name, said in found.items() if said}

    def __str__(self) -> str:
        if not self.passed:
            return "\n".join(f"{self.cell}: NOT {n} ({level}): {said}" for (level, n), said in self.faults.items())
        counts = ", ".join(f"{level} {len(found)}" for level, found in self.missed.items())
        names = dict.fromkeys(name for found in self.missed.values() for name in found)
        said = f"{self.cell}: all properties hold ({counts}): {', '.join(names)}"
        return fill(said, 80, subsequent_indent="  ", break_on_hyphens=False)

    def to_json(self) -> dict[str, Any]:
        missed = {level: dict(found) for level, found in self.missed.items()}
        return {"cell": self.cell, "passed": self.passed, "missed": missed}


def examine(name: str, problem: Problem, how: Setting) -> Properties:
    """All properties of the scan of a problem's cell, and of its step."""
    of_scan = {n: attempted(partial(ask, problem.cell, problem, how)) for n, ask in PROPERTIES.items()}
    of_step = of_backward(step_pullback(problem), how)
    of_step[FROM_THE_START] = attempted(partial(finite_step, problem.cell, problem, how))
    return Properties(name, {"sequence": of_scan, "step": of_step})


def of_backward(pullback: Pullback, how: Setting) -> dict[str, str]:
    """How a function's backward misses each property that is one of its kind; empty where it holds."""
    asks = OF_BACKWARDS if pullback.cotangents else WITHOUT_COTANGENT
    return {name: attempted(partial(ask, pullback, how)) for name, ask in asks.items()}


def attempted(ask: Callable[[], str]) -> str:
    """The answer; an exception on the way is how a property is missed."""
    try:
        return ask()
    except Exception as error:  # a plugin may raise anything
        return described(error)
