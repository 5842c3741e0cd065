"""The verdict on one tensor's gradients, one for each of K losses: every entry, or directions and a few entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rnnbp.checking.foreign.slopes import Slopes, signs
from rnnbp.checking.metric import compare
from rnnbp.numerics import HostArray

DIRECTIONS = 3  # one seed each
ENTRIES = 16  # of a large tensor, spread over it; a tensor of no more is small
RECHECKED = 100  # entries that disagree are differenced again with smaller steps, at most so many
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
    seed: int
    advance: Callable[[int], None]

    def judge(self, name: str, analytic: HostArray, limit: float, every: bool) -> Judged:
        """Gradients (K, *shape) by the method asked for; by five-point where its complex steps cannot be believed.

        They are compared with five-point differences in one direction first, and at the worst entry where an error is
        above `limit`.
        """
        look = self._entries if every or analytic[0].size <= ENTRIES else self._directions
        if self.method != "complex-step":
            return look(name, analytic, self.method)
        doubt = self.slopes.doubts(signs(self.slopes.point, [name], np.random.default_rng(self.seed)))
        if not doubt:
            found = look(name, analytic, self.method)
            worst = found.verdicts[0]
            doubt = "" if worst.error <= limit else self.slopes.doubts(self._unit(name, worst.measured["index"]))
            if not doubt:
                return found
        return look(name, analytic, "five-point")._replace(doubt=doubt)

    def _entries(self, name: str, analytic: HostArray, method: str) -> Judged:
        places = list(np.ndindex(analytic.shape[1:]))
        numeric, rounding = np.zeros(analytic.shape), np.zeros(analytic.shape)
        for place in places:
            at = (slice(None), *place)
            numeric[at], rounding[at] = self._slope(method, self._unit(name, place))
            self.advance(1)
        if method != "complex-step":
            off = np.abs(analytic[0] - numeric[0]) - rounding[0] - 1e-8 * np.max(np.abs(numeric[0]))
            worst = sorted((place for place in places if off[place] > 0), key=lambda place: -off[place])
            for place in worst[:RECHECKED]:
                at = (slice(None), *place)
                numeric[at], rounding[at] = self.slopes.settled(method, self._unit(name, place))
        verdicts = [_whole(analytic[k], numeric[k], rounding[k]) for k in range(len(analytic))]
        return Judged(method, "", tuple(verdicts), numeric[0], analytic.shape[1:])

    def _directions(self, name: str, analytic: HostArray, method: str) -> Judged:
        rngs = [np.random.default_rng(self.seed + k) for k in range(DIRECTIONS)]
        rays = [signs(self.slopes.point, [name], rng) for rng in rngs]
        places = _spread(analytic[0], rngs[0])
        numeric, rounding = [], []
        for direction in [*rays, *(self._unit(name, place) for place in places)]:
            slope, off = self._slope(method, direction, settle=True)
            numeric.append(slope)
            rounding.append(off)
        self.advance(analytic[0].size)
        claimed = [
            [float(np.sum(a * ray[name])) for ray in rays] + [float(a[place]) for place in places] for a in analytic
        ]
        columns = zip(analytic, claimed, np.transpose(numeric), np.transpose(rounding), strict=True)
        verdicts = tuple(_sampled(a, np.array(c), n, off, places) for a, c, n, off in columns)
        return Judged(method, "", verdicts, None, analytic.shape[1:], DIRECTIONS)

    def _slope(self, method: str, direction: dict[str, HostArray], settle: bool = False) -> tuple[Any, Any]:
        if method == "complex-step":
            return self.slopes.complex_slope(direction), 0.0 * self.slopes.noise
        return (self.slopes.settled if settle else self.slopes.difference)(method, direction)

    def _unit(self, name: str, place: tuple[int, ...]) -> dict[str, HostArray]:
        unit = np.zeros(self.slopes.point[name].shape)
        unit[place] = 1.0
        return {name: unit}


def _whole(a: HostArray, n: HostArray, rounding: HostArray) -> Verdict:
    """The verdict where every entry was taken."""
    found = compare(a, n)
    largest = max(float(np.max(np.abs(a))), float(np.max(np.abs(n))), TINY)
    norms = float(np.linalg.norm(a) + np.linalg.norm(n)) + TINY
    off = max(float(np.max(rounding)) / largest, float(np.linalg.norm(rounding)) / norms)
    words = {"norm_error": found.norm, "max_error": found.maximum, "index": found.index}
    words |= {"analytic": found.analytic, "numeric": found.numeric, "elementwise": found.elementwise}
    return Verdict(found.error, off, words)


def _sampled(a: HostArray, claimed: HostArray, n: HostArray, rounding: HostArray, places: list[Any]) -> Verdict:
    """|<a,d> − <n,d>| / max(‖a‖, |<n,d>|) over the directions, |a−n| / max(max|a|, |n|) over the entries."""
    size = np.full(len(n), float(np.max(np.abs(a))))
    size[:DIRECTIONS] = np.linalg.norm(a)
    scale = np.maximum(np.maximum(size, np.abs(n)), TINY)
    errors = np.abs(claimed - n) / scale
    entries = errors[DIRECTIONS:]
    worst = int(np.argmax(np.where(np.isfinite(entries), entries, np.inf)))
    words: dict[str, Any] = {"norm_error": float(np.max(errors[:DIRECTIONS])), "max_error": float(np.max(entries))}
    words |= {"index": places[worst], "analytic": float(claimed[DIRECTIONS + worst])}
    words |= {"numeric": float(n[DIRECTIONS + worst])}
    return Verdict(float(np.max(errors)), float(np.max(rounding / scale)), words)


def _spread(gradient: HostArray, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """One random entry of each of `ENTRIES` parts of a tensor, and its largest gradient."""
    edges = np.linspace(0, gradient.size, ENTRIES + 1).astype(int)
    flat = [int(rng.integers(low, high)) for low, high in zip(edges, edges[1:], strict=False)]
    flat.append(int(np.argmax(np.abs(gradient))))
    return [tuple(int(i) for i in np.unravel_index(k, gradient.shape)) for k in dict.fromkeys(flat)]
