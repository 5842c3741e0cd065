"""The verdict on one tensor's gradients, one for each of K losses: every entry, or directions and a few entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnbp.checking.foreign.measures import ENTRIES, TINY, Verdict, disagreement, sampled, spread, whole
from rnnbp.checking.foreign.slopes import AGREE, TOLD, Point, Slopes
from rnnbp.checking.methods.directions import signs
from rnnbp.numerics import HostArray

RECHECKED = 32  # entries that disagree are looked at again: so many, and as many more while that helps half of them
GROSS = 1e-4  # all of a gradient that is nowhere further off than this

Place = tuple[int, ...]


class Judged(NamedTuple):
    """K verdicts on one tensor, and how they were found."""

    method: str
    doubt: str  # why that is not the complex step that was asked for; empty if it is
    verdicts: tuple[Verdict, ...]
    numeric: HostArray | None  # of the first loss, where every entry was taken and is known well enough to name a fault
    shape: tuple[int, ...]
    seeds: tuple[int, ...] = ()  # of the directions that stand for its entries; none where every entry was taken
    kinks: tuple[Place, ...] = ()  # entries where the function has two slopes; () for directions that met some
    unsettled: float = 0.0  # how far differences of two steps are apart, beyond rounding, relative to the largest
    vague: int = 0  # entries too rounded for a verdict, left out of it


class Again(NamedTuple):
    """What a closer look at one direction gave, for each loss (K,)."""

    slope: HostArray
    rounding: HostArray
    open: HostArray  # how far differences of two steps are apart
    kink: bool
    agrees: bool


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
            return look(name, analytic, self.method, limit)
        doubt = self.slopes.doubts(self._ray(name, self.seeds[0]))
        if not doubt:
            found = look(name, analytic, self.method, limit)
            worst = found.verdicts[0]
            doubt = "" if worst.error <= limit else self._second_look(name, worst.measured)
            if not doubt:
                return found
        return look(name, analytic, "five-point", limit)._replace(doubt=doubt)

    def _second_look(self, name: str, entry: dict[str, Any]) -> str:
        """Why a complex step that contradicts the gradient at an entry is wrong there, or nothing if it is right."""
        taken, analytic = entry["numeric"], entry["analytic"]
        found = float(self.slopes.settled("five-point", self._unit(name, entry["index"]))[0][0])
        if not abs(found - analytic) < 0.1 * abs(found - taken):
            return ""
        return f"at {list(entry['index'])} it gives {taken:.10g} where five-point differences give {found:.10g}"

    def _entries(self, name: str, analytic: HostArray, method: str, limit: float) -> Judged:
        places = list(np.ndindex(analytic.shape[1:]))
        numeric, rounding = np.zeros(analytic.shape), np.zeros(analytic.shape)
        for place in places:
            at = (slice(None), *place)
            numeric[at], rounding[at] = self.slopes.slope(method, self._unit(name, place))
            self.advance(1)
        off = np.max([disagreement(*each) for each in _rows(analytic, numeric, rounding)], axis=0)
        off = off + AGREE - limit if method == "complex-step" else off
        unknown = rounding[0] > TOLD * max(np.max(np.abs(analytic[0])), TINY)
        off = np.where(unknown, 1.0 + np.abs(off), off)
        worst = sorted((place for place in places if not off[place] <= 0), key=lambda place: -off[place])
        kinks: list[Place] = []
        open_ = np.zeros(analytic.shape)
        for start in range(0, len(worst), RECHECKED):
            helped = 0
            for place in worst[start : start + RECHECKED]:
                at = (slice(None), *place)
                again = self._again(method, self._unit(name, place), analytic[at], numeric[at])
                numeric[at], rounding[at], open_[at] = again.slope, again.rounding, again.open
                kinks += [place] * again.kink
                helped += again.agrees
            if 2 * helped < RECHECKED and np.max(off) > GROSS:
                break
        vague = [_without_vague(*each) for each in _rows(analytic, numeric, rounding)]
        verdicts = [whole(*each) for each in _rows(analytic, numeric, rounding)]
        largest = max(float(np.max(np.abs(numeric[0]))), TINY)
        unsettled = float(np.max(open_[0])) / largest
        trusted = max(unsettled, float(np.max(rounding[0])) / largest, self._random(method)) <= TOLD
        known = numeric[0] if trusted else None
        return Judged(method, "", tuple(verdicts), known, analytic.shape[1:], (), tuple(kinks), unsettled, vague[0])

    def _random(self, method: str) -> float:
        """How much of a function's value is rounding, as far as the method suffers from it."""
        return 0.0 if method == "complex-step" else self.slopes.relative

    def _again(self, method: str, direction: Point, claimed: HostArray, taken: HostArray) -> Again:
        """Claimed slopes (K,) that the numeric ones contradict: with smaller steps, then from both sides."""
        slope, rounding, apart = taken, np.zeros(taken.shape), np.zeros(taken.shape)
        if method != "complex-step":
            slope, rounding, apart = self.slopes.settled(method, direction)
            if np.all(_near(claimed, slope, rounding)) and not apart.any():
                return Again(slope, rounding, apart, False, True)
        kink = self.slopes.kink(direction)
        known, inside = np.isfinite(kink.low), kink.holds(claimed)
        nearest = np.where(inside, claimed, np.clip(claimed, kink.low, kink.high))
        slope, rounding, apart = (
            np.where(known, nearest, slope),
            np.where(known, 0.0, rounding),
            np.where(known, 0.0, apart),
        )
        agrees = bool(np.all(inside | _near(claimed, slope, rounding)))
        return Again(slope, rounding, apart, bool(known.any()), agrees)

    def _directions(self, name: str, analytic: HostArray, method: str, limit: float) -> Judged:
        places = spread(analytic[0], ENTRIES, self.seeds[0])
        kinks: list[Place] = []
        directions = [*(self._ray(name, seed) for seed in self.seeds), *(self._unit(name, p) for p in places)]
        many, claims, taken, unsettled = len(self.seeds), [], [], 0.0
        for k, direction in enumerate(directions):
            claimed = np.array([np.sum(a * direction[name]) for a in analytic])
            slope, rounding = self.slopes.slope(method, direction, settle=True)
            if not np.all(_near(claimed, slope, np.maximum(rounding, limit * np.abs(slope)))):
                if k < many and np.isfinite(self.slopes.kink(direction).low).any():
                    direction = {name: direction[name] * (self.slopes.point[name] != 0)}
                    claimed = np.array([np.sum(a * direction[name]) for a in analytic])
                    slope, rounding = self.slopes.slope(method, direction, settle=True)
                    kinks += [()] * (() not in kinks)
                elif k >= many:
                    slope, rounding, apart, kink, _ = self._again(method, direction, claimed, slope)
                    kinks += [places[k - many]] * kink
                    unsettled = max(unsettled, float(apart[0]))
            claims.append(claimed)
            taken.append((slope, rounding))
        self.advance(analytic[0].size)
        numeric, rounding = (np.stack(each, axis=1) for each in zip(*taken, strict=True))  # (K, directions + entries)
        along = np.stack(claims[:many], axis=1)
        verdicts = tuple(sampled(a, c, n, off, places) for a, c, n, off in _rows(analytic, along, numeric, rounding))
        unsettled /= max(verdicts[0].largest, TINY)
        return Judged(method, "", verdicts, None, analytic.shape[1:], self.seeds, tuple(kinks), unsettled)

    def _ray(self, name: str, seed: int) -> dict[str, HostArray]:
        return {name: signs(seed, name, self.slopes.point[name].shape).astype(np.float64)}

    def _unit(self, name: str, place: tuple[int, ...]) -> dict[str, HostArray]:
        unit = np.zeros(self.slopes.point[name].shape)
        unit[place] = 1.0
        return {name: unit}


def _without_vague(a: HostArray, n: HostArray, rounding: HostArray) -> int:
    """Take the fewer half of entries that rounding leaves open out of the verdict, in place; how many they are.

    So is an entry near a kink in float32: small steps drown in rounding, large ones meet the kink.
    """
    vague = (rounding > TOLD * max(float(np.max(np.abs(n))), TINY)) & (np.abs(a - n) <= rounding)
    count = int(np.count_nonzero(vague))
    if not count or 2 * count > vague.size:
        return 0
    n[vague], rounding[vague] = a[vague], 0.0
    return count


def _near(claimed: HostArray, slope: HostArray, rounding: HostArray) -> HostArray:
    near: HostArray = np.abs(claimed - slope) <= rounding + AGREE * np.maximum(np.abs(claimed), np.abs(slope))
    return near


def _rows(*several: HostArray) -> Iterator[tuple[HostArray, ...]]:
    """What belongs to each of the K losses."""
    return zip(*several, strict=True)
