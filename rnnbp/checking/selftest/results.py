"""What a self-test found: readable in a terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rnnbp.checking.drawing.tables import aligned

NAMING = 0.9  # the share of single faults whose name must be right
NO_NAME = "no name"


@dataclass(frozen=True)
class Planted:
    """Faults planted together in one cell, each as BUG or BUG:place."""

    family: str
    faults: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' + '.join(self.faults)} in {self.family}"


@dataclass(frozen=True)
class Trial:
    """A gradient check of a faulty cell: whether it failed, as it should, and the bug that its report names."""

    planted: Planted
    detected: bool
    named: str | None = None

    @property
    def bug(self) -> str:
        """The planted bug without its place, for a single fault."""
        return self.planted.faults[0].partition(":")[0]


@dataclass(frozen=True)
class SelfTest:
    """Faults planted, found and named, and right cells on random problems."""

    backend: str
    seed: int
    sizes: tuple[int, int, int, int]  # (T, B, I, H) of the faulty cells
    singles: tuple[Trial, ...]
    pairs: tuple[Trial, ...]
    all_pairs: int  # how many there are to choose from
    not_applicable: tuple[Planted, ...]  # planted, they change no gradient
    right: tuple[str, ...]  # the cells without a fault, by name
    problems: int  # how many of each
    alarms: tuple[str, ...]  # right cells that did not pass, with the seed of their problem
    naming: bool = True  # whether names were asked for

    @property
    def detected(self) -> int:
        """Single faults that the check found."""
        return sum(trial.detected for trial in self.singles)

    @property
    def pairs_detected(self) -> int:
        """Pairs of faults that the check found."""
        return sum(trial.detected for trial in self.pairs)

    @property
    def named(self) -> int:
        """Single faults that the report called by their name."""
        return sum(trial.named == trial.bug for trial in self.singles)

    @property
    def missed(self) -> tuple[Planted, ...]:
        """What passed with faults in it."""
        return tuple(trial.planted for trial in (*self.singles, *self.pairs) if not trial.detected)

    @property
    def confusion(self) -> dict[tuple[str, str], int]:
        """(planted bug, named bug) -> how often, over the single faults; empty where names were not asked for."""
        return dict(Counter((trial.bug, trial.named or NO_NAME) for trial in self.singles if self.naming))

    @property
    def passed(self) -> bool:
        """Every fault found, no right cell suspected, and, where names were asked for, nine of ten faults named."""
        tried = bool(self.singles) and self.problems > 0
        named = not self.naming or self.named >= NAMING * len(self.singles)
        return tried and not self.missed and not self.alarms and named

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """The confusion table: a bug, how many of how many were named, and what the others were taken for."""
        for bug in dict.fromkeys(trial.bug for trial in self.singles):
            found = Counter(trial.named or NO_NAME for trial in self.singles if trial.bug == bug)
            right = found.pop(bug, 0)
            others = ", ".join(f"{name} {count}" for name, count in found.most_common())
            yield bug, f"{right} of {right + found.total()}", others

    @property
    def lines(self) -> list[str]:
        """The result in words."""
        t, b, i, h = self.sizes
        tried = len(self.pairs) + self._idle_pairs
        chosen = f"all {tried}" if tried == self.all_pairs else f"{tried} drawn from {self.all_pairs}"
        share = 100 * self.named / max(1, len(self.singles))
        named = f"{self.named} named ({share:.1f} %)" if self.naming else "names not asked for"
        return [
            f"self-test of the gradient check: backend {self.backend}, seed {self.seed}, T={t} B={b} I={i} H={h}",
            f"single faults: {self.detected} of {len(self.singles)} detected, {named}",
            f"pairs of faults: {self.pairs_detected} of {len(self.pairs)} detected "
            f"({chosen}, less {self._idle_pairs} that cancel)",
            f"right cells: {len(self.alarms)} false alarms in {len(self.right) * self.problems} problems "
            f"({len(self.right)} cells, {self.problems} each)",
        ]

    @property
    def _idle_pairs(self) -> int:
        return sum(len(planted.faults) > 1 for planted in self.not_applicable)

    def __str__(self) -> str:
        lines = list(self.lines)
        lines += aligned([("planted", "named", "taken for"), *self.rows()]) if self.naming else []
        for family in dict.fromkeys(planted.family for planted in self.not_applicable):
            idle = [" + ".join(planted.faults) for planted in self.not_applicable if planted.family == family]
            lines.append(f"not applicable, no gradient changes: {family}: {', '.join(idle)}")
        lines += [f"MISSED: {planted}" for planted in self.missed]
        lines += [f"FALSE ALARM: {alarm}" for alarm in self.alarms]
        return "\n".join([*lines, f"self-test {'passed' if self.passed else 'FAILED'}"])

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        misnamed = [trial for trial in self.singles if self.naming and trial.named != trial.bug]
        named = self.named if self.naming else None
        return {
            "passed": self.passed,
            "naming": self.naming,
            "backend": self.backend,
            "seed": self.seed,
            "sizes": dict(zip("TBIH", self.sizes, strict=True)),
            "singles": {"detected": self.detected, "named": named, "total": len(self.singles)},
            "pairs": {"detected": self.pairs_detected, "total": len(self.pairs), "all": self.all_pairs},
            "right": {
                "cells": list(self.right),
                "problems": self.problems,
                "false_alarms": list(self.alarms),
                "total": len(self.right) * self.problems,
            },
            "missed": [_plain(planted) for planted in self.missed],
            "confusion": [{"planted": a, "named": b, "count": n} for (a, b), n in self.confusion.items()],
            "misnamed": [{**_plain(trial.planted), "named": trial.named} for trial in misnamed],
            "not_applicable": [_plain(planted) for planted in self.not_applicable],
        }


def _plain(planted: Planted) -> dict[str, Any]:
    return {"cell": planted.family, "faults": list(planted.faults)}
