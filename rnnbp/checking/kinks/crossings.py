"""Problems on which a difference method stays on one side of every kink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any, ClassVar

import numpy as np

from rnnbp.checking.kinks.bends import Bends
from rnnbp.checking.methods.differences import Central, FivePoint, Perturbed
from rnnbp.checking.methods.directions import drawn
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import numeric_method
from rnnbp.checking.report import Finding, finite
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Setting
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

DRAWS = 50


@dataclass(frozen=True)
class Kinks(Finding):
    """The distance to the nearest kink of a forward that has some."""

    cell: str
    distance: float
    method: str
    reach: float  # of the method's steps; 0 for a method that stays where it is
    left: tuple[tuple[int, str], ...]  # the seeds that were given up, with the entry whose step crossed a kink
    seed: int  # that was taken
    unseen: str = ""  # why the forward could not be watched; the distance is then not known
    kind: ClassVar[str] = "kinks"

    def __str__(self) -> str:
        if self.unseen:
            return f"{self.cell}: kinks were not looked for, the forward stops on operands: {self.unseen}"
        said = f"{self.cell}: nearest kink at distance {self.distance:.1e}"
        if not self.reach:
            return f"{said}; {self.method} does not cross it"
        said += f", {self.distance / self.reach:.3g} steps of {self.reach:.0e}; no step crosses one"
        crossed = "; ".join(f"seed {seed}: {what}" for seed, what in self.left)
        return said + (
            f"\n  redrawn with seed {self.seed}, for a unit flips within a step ({crossed})" if crossed else ""
        )

    def to_json(self) -> dict[str, Any]:
        left = [{"seed": seed, "entry": what} for seed, what in self.left]
        plain = {"cell": self.cell, "distance": self.distance, "method": self.method, "reach": self.reach}
        found: dict[str, Any] = finite(plain | {"seed": self.seed, "left": left, "unseen": self.unseen})
        return found


def reach(method: str) -> float:
    """How far a method moves an entry; 0 for one that differentiates where it is."""
    chosen = numeric_method(method)
    if isinstance(chosen, FivePoint):
        return 2 * chosen.step
    return chosen.step if isinstance(chosen, Central) else 0.0


def uncrossed(make: Callable[[int], Subject], seed: int, how: Setting, memory: int) -> tuple[int, Kinks | None]:
    """The first seed from `seed` on whose subject no step of the method takes across a kink, and what was found there;
    None where the forward has no kinks. A forward that runs on arrays alone cannot be watched, which is then said. One
    that ends derivatives, which the method does not notice, is a UserError.
    """
    left: list[tuple[int, str]] = []
    for tried in range(seed, seed + DRAWS):
        subject, far = make(tried), reach(how.method)
        try:
            bends = Bends(subject, how.backend)
        except Exception as error:  # whatever a plugin does that arrays can and operands cannot
            unseen = f"{type(error).__name__}: {error}"
            return tried, Kinks(subject.name, nan, how.method, far, (), tried, unseen)
        if bends.detaches and not numeric_method(how.method).stops:
            who = subject.name if how.truncation == "full" else f"{subject.name} under {how.truncation}"
            raise UserError(
                f"method {how.method} sees through cut gates and rnnbp.detach, of which {who} has some: "
                "use method complex-step"
            )
        if not isfinite(bends.nearest):
            return tried, None
        seeds = how.seeds if how.directional(subject) else ()
        crossed = crossing(bends, Asked(subject, how.backend, memory), far, seeds) if far else ""
        if not crossed:
            return tried, Kinks(subject.name, bends.nearest, how.method, far, tuple(left), tried)
        left.append((tried, crossed))
    raise UserError(
        f"method {how.method} steps across a kink in each of {DRAWS} problems from seed {seed} on: use method "
        "complex-step, which does not, or a smaller problem"
    )


class Flips(Perturbed):
    """1 for each direction along which a step of length `far` flips a unit, else 0: no slopes, but asked for alike."""

    name = "flips"

    def __init__(self, bends: Bends, far: float) -> None:
        self.bends, self.far = bends, far

    def slopes(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        value, axes = asked.subject.tensors[tensor], tuple(range(1, directions.ndim))
        lengths = np.sqrt(np.sum(np.square(directions, dtype=np.float64), axis=axes, keepdims=True))
        steps = self.far / np.where(lengths > 0, lengths, 1.0) * directions
        sides = (asked.backend.asarray(side, "float64") for side in (value + steps, value - steps))
        found: HostArray = np.any([self.bends.turned({tensor: side}, len(steps)) for side in sides], axis=0)
        return found.astype(np.float64)


def crossing(bends: Bends, asked: Asked, far: float, seeds: Sequence[int] = ()) -> str:
    """The first entry that flips a unit when it is moved by ±far; empty if none does.

    With seeds it is the directions which these draw that are followed, as far, and not every entry.
    """
    flips = Flips(bends, far)
    for name, value in asked.subject.tensors.items():
        if seeds:
            blocks = max(1, len(asked.subject.blocks.get(name, ())))
            if flips.along_blocks(asked, name, drawn(name, value.shape, blocks, seeds)[0], blocks).any():
                return f"a direction of {name}"
        elif (crossed := flips.entries(asked, name)).any():
            return f"{name}[{', '.join(map(str, np.argwhere(crossed)[0]))}]"
    return ""
