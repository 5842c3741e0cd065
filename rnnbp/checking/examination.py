"""Which properties a cell has, as a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any, ClassVar

from rnnbp.checking.problems import Problem
from rnnbp.checking.properties import PROPERTIES, Property
from rnnbp.checking.report import Finding
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import UserError


@dataclass(frozen=True)
class Properties(Finding):
    """Which of `PROPERTIES` a cell has, and how it misses the others."""

    cell: str
    missed: Mapping[str, str]  # property -> how it is missed, empty where it holds
    kind: ClassVar[str] = "properties"

    @property
    def passed(self) -> bool:
        return not any(self.missed.values())

    def __str__(self) -> str:
        if self.passed:
            said = f"{self.cell}: {len(self.missed)} properties hold: {', '.join(self.missed)}"
            return fill(said, 80, subsequent_indent="  ", break_on_hyphens=False)
        return "\n".join(f"{self.cell}: NOT {name}: {fault}" for name, fault in self.missed.items() if fault)

    def to_json(self) -> dict[str, Any]:
        return {"cell": self.cell, "passed": self.passed, "missed": dict(self.missed)}


def examine(name: str, problem: Problem, how: Setting) -> Properties:
    """All properties of the problem's cell; an exception on the way is how a property is missed."""

    def ask(ask_it: Property) -> str:
        try:
            return ask_it(problem.cell, problem, how)
        except Exception as error:  # a plugin may raise anything
            return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"

    return Properties(name, {said: ask(ask_it) for said, ask_it in PROPERTIES.items()})
