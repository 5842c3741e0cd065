"""The verdict on one tensor's gradients, one for each of K losses: every entry, or directions and a few entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnbp.checking.foreign.measures import ENTRIES, Verdict, disagreement, sampled, spread, whole
from rnnbp.checking.foreign.slopes import Slopes
from rnnbp.checking.methods.directions import signs
from rnnbp.numerics import HostArray

RECHECKED = 100  # entries that disagree are differenced again with smaller steps: so many of a gradient that is
GROSS = 1e-4  # further off than this, where no step will help, and all of one that is near


class Judged(NamedTuple):
    """K verdicts on one tensor, and how they were found."""

    method: str
    doubt: str  # why that is not the complex step that was asked for; empty if it is
    verdicts: tuple[Verdict, ...]
    numeric: HostArray | None  # of the first loss, where every entry was taken
    shape: tuple[int, ...]
    seeds: tuple[int, ...] = ()  # of the directions that stand for its entries; none where every entry was taken


@dataclass(frozen=True)
class Judge:
    """The slopes of a function, how they are to be taken, and what hears of the progress."""

    slopes: Slopes
    method: str
    seeds: tuple[int, ...]  # one direction each
    advance: Callable[[int], None]

    def judge(self, name: str, analytic: HostArray, limit: float, every: bool) -> Judged:
        """Gradients (K, *shape) by the method asked for; by five-point where its complex steps cannot be believed.

        They are compared with five-point differences in one direction first, and where an error is above `limit` at
        the worst entry.
        """
        look = self._entries if every or analytic[0].size <= ENTRIES else self._directions
        if self.method != "complex-step":
            return look(name, analytic, self.method)
        doubt = self.slopes.doubts(self._ray(name, self.seeds[0]))
        if not doubt:
            found = look(name, analytic, self.method)
            worst = found.verdicts[0]
            doubt = "" if worst.error <= limit else self._second_look(name, worst.measured)
            if not doubt:
                return found
        return look(name, analytic, "five-point")._replace(doubt=doubt)

    def _second_look(self, name: str, entry: dict[str, Any]) -> str:
        """Why a complex step that contradicts the gradient at an entry is wrong there, or nothing if it is right."""
        taken, analytic = entry["numeric"], entry["analytic"]
        found = float(self.slopes.settled("five-point", self._unit(name, entry["index"]))[0][0])
        if not abs(found - analytic) < 0.1 * abs(found - taken):
            return ""
        return f"at {list(entry['index'])} it gives {taken:.10g} where five-point differences give {found:.10g}"

    def _entries(self, name: str, analytic: HostArray, method: str) -> Judged:
        places = list(np.ndindex(analytic.shape[1:]))
        numeric, rounding = np.zeros(analytic.shape), np.zeros(analytic.shape)
        for place in places:
            at = (slice(None), *place)
            numeric[at], rounding[at] = self.slopes.slope(method, self._unit(name, place))
            self.advance(1)
        if method != "complex-step":
            off = np.max([disagreement(*each) for each in _rows(analytic, numeric, rounding)], axis=0)
            worst = sorted((place for place in places if off[place] > 0), key=lambda place: -off[place])
            for place in worst if np.max(off) <= GROSS else worst[:RECHECKED]:
                at = (slice(None), *place)
                numeric[at], rounding[at] = self.slopes.slope(method, self._unit(name, place), settle=True)
        verdicts = [whole(*each) for each in _rows(analytic, numeric, rounding)]
        return Judged(method, "", tuple(verdicts), numeric[0], analytic.shape[1:])

    def _directions(self, name: str, analytic: HostArray, method: str) -> Judged:
        rays = [self._ray(name, seed) for seed in self.seeds]
        places = spread(analytic[0], ENTRIES, self.seeds[0])
        taken = [self.slopes.slope(method, d, settle=True) for d in [*rays, *(self._unit(name, p) for p in places)]]
        self.advance(analytic[0].size)
        numeric, rounding = (np.stack(each, axis=1) for each in zip(*taken, strict=True))  # (K, directions + entries)
        verdicts = []
        for a, n, off in zip(analytic, numeric, rounding, strict=True):
            along = np.array([np.sum(a * ray[name]) for ray in rays])
            verdicts.append(sampled(a, along, n, off, places))
        return Judged(method, "", tuple(verdicts), None, analytic.shape[1:], self.seeds)

    def _ray(self, name: str, seed: int) -> dict[str, HostArray]:
        return {name: signs(seed, name, self.slopes.point[name].shape).astype(np.float64)}

    def _unit(self, name: str, place: tuple[int, ...]) -> dict[str, HostArray]:
        unit = np.zeros(self.slopes.point[name].shape)
        unit[place] = 1.0
        return {name: unit}


def _rows(*several: HostArray) -> Iterator[tuple[HostArray, ...]]:
    """What belongs to each of the K losses."""
    return zip(*several, strict=True)
