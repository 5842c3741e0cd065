"""The verdict on one tensor's gradients, one for each of K losses: every entry, or directions and a few entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np

from rnnbp.checking.directions import along_error, entry_error, signs
from rnnbp.checking.foreign.slopes import AGREE, Slopes
from rnnbp.checking.metric import compare
from rnnbp.numerics import HostArray

ENTRIES = 16  # of a large tensor, spread over it; a tensor of no more is small
RECHECKED = 100  # entries that disagree are differenced again with smaller steps: so many of a gradient that is
GROSS = 1e-4  # further off than this, where no step will help, and all of one that is near
TINY = float(np.finfo(np.float64).tiny)


class Verdict(NamedTuple):
    """How far a gradient is from the numeric one, and how far rounding alone may have taken the numeric one."""

    error: float
    rounding: float
    measured: dict[str, Any]  # words of a `Check`


class Judged(NamedTuple):
    """K verdicts on one tensor, and how they were found."""

    method: str
    doubt: str  # why that is not the complex step that was asked for; empty if it is
    verdicts: tuple[Verdict, ...]
    numeric: HostArray | None  # of the first loss, where every entry was taken
    shape: tuple[int, ...]
    directions: int = 0


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
            numeric[at], rounding[at] = self._slope(method, self._unit(name, place))
            self.advance(1)
        if method != "complex-step":
            off = np.array([_disagreement(analytic[k], numeric[k], rounding[k]) for k in range(len(analytic))]).max(
                axis=0
            )
            worst = sorted((place for place in places if off[place] > 0), key=lambda place: -off[place])
            for place in worst if np.max(off) <= GROSS else worst[:RECHECKED]:
                at = (slice(None), *place)
                numeric[at], rounding[at] = self._slope(method, self._unit(name, place), settle=True)
        verdicts = [_whole(analytic[k], numeric[k], rounding[k]) for k in range(len(analytic))]
        return Judged(method, "", tuple(verdicts), numeric[0], analytic.shape[1:])

    def _directions(self, name: str, analytic: HostArray, method: str) -> Judged:
        rays = [self._ray(name, seed) for seed in self.seeds]
        places = _spread(analytic[0], np.random.default_rng(self.seeds[0]))
        taken = [self._slope(method, d, settle=True) for d in [*rays, *(self._unit(name, p) for p in places)]]
        self.advance(analytic[0].size)
        numeric, rounding = (np.stack(each, axis=1) for each in zip(*taken, strict=True))  # (K, directions + entries)
        verdicts = []
        for a, n, off in zip(analytic, numeric, rounding, strict=True):
            along = np.array([np.sum(a * ray[name]) for ray in rays])
            verdicts.append(_sampled(a, along, n, off, places))
        return Judged(method, "", tuple(verdicts), None, analytic.shape[1:], len(rays))

    def _slope(self, method: str, direction: dict[str, HostArray], settle: bool = False) -> tuple[Any, Any]:
        if method == "complex-step":
            return self.slopes.complex_slope(direction), 0.0 * self.slopes.noise
        slope, rounding = (self.slopes.settled if settle else self.slopes.difference)(method, direction)
        if self.slopes.precise:
            return slope, rounding
        finer, rounding = self.slopes.difference(method, direction, shrink=2.0)  # the step is so large: measure it too
        return finer, rounding + np.abs(finer - slope)

    def _ray(self, name: str, seed: int) -> dict[str, HostArray]:
        return {name: signs(seed, name, self.slopes.point[name].shape).astype(np.float64)}

    def _unit(self, name: str, place: tuple[int, ...]) -> dict[str, HostArray]:
        unit = np.zeros(self.slopes.point[name].shape)
        unit[place] = 1.0
        return {name: unit}


def _disagreement(a: HostArray, n: HostArray, rounding: HostArray) -> HostArray:
    """How far entries are apart beyond rounding and what differences agree to, relative to the largest."""
    largest = max(float(np.max(np.abs(a))), float(np.max(np.abs(n))), TINY)
    apart: HostArray = (np.abs(a - n) - rounding) / largest - AGREE
    return apart


def _whole(a: HostArray, n: HostArray, rounding: HostArray) -> Verdict:
    """The verdict where every entry was taken."""
    found = compare(a, n)
    largest = max(float(np.max(np.abs(a))), float(np.max(np.abs(n))), TINY)
    norms = float(np.linalg.norm(a) + np.linalg.norm(n)) + TINY
    off = max(float(np.max(rounding)) / largest, float(np.linalg.norm(rounding)) / norms)
    words = {"norm_error": found.norm, "max_error": found.maximum, "index": found.index}
    words |= {"analytic": found.analytic, "numeric": found.numeric, "elementwise": found.elementwise}
    return Verdict(found.error, off, words)


def _sampled(a: HostArray, along: HostArray, n: HostArray, rounding: HostArray, places: list[Any]) -> Verdict:
    """The verdict from slopes n along directions, where the gradient claims `along`, and then at single entries."""
    many, at = len(along), np.array([a[place] for place in places])
    norm, maximum = along_error(a, along, n[:many]), entry_error(a, at, n[many:])
    sizes = np.array([float(np.linalg.norm(a))] * many + [float(np.max(np.abs(a)))] * len(places))
    worst = int(np.argmax(np.nan_to_num(np.abs(at - n[many:]), nan=np.inf)))
    words: dict[str, Any] = {"norm_error": norm, "max_error": maximum, "index": places[worst]}
    words |= {"analytic": float(at[worst]), "numeric": float(n[many + worst])}
    off = float(np.max(rounding / np.maximum(np.maximum(sizes, np.abs(n)), TINY)))
    return Verdict(nan if isnan(norm) else max(norm, maximum), off, words)


def _spread(gradient: HostArray, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """One random entry of each of `ENTRIES` parts of a tensor, and its largest gradient."""
    edges = np.linspace(0, gradient.size, ENTRIES + 1).astype(int)
    flat = [int(rng.integers(low, high)) for low, high in zip(edges, edges[1:], strict=False)]
    flat.append(int(np.argmax(np.abs(gradient))))
    return [tuple(int(i) for i in np.unravel_index(k, gradient.shape)) for k in dict.fromkeys(flat)]
