"""What is asked of all points of benchmarks/cpu.py together, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, log

from cpu_points import BELOW, BOTH, FORWARD, LARGE, SHARE, Point

CAP = 4.0  # no point counts for more in a geometric mean


def geometric_mean(speeds: Iterable[float]) -> float:
    """Of the speeds, each capped at 4."""
    logs = [log(min(speed, CAP)) for speed in speeds]
    return exp(sum(logs) / len(logs))


def least(which: str) -> Callable[[list[Point]], float]:
    """The speed of the slowest point."""
    return lambda points: min(p.speed(which) for p in points)


def mean(points: list[Point]) -> float:
    """The geometric mean of forward + backward."""
    return geometric_mean(p.speed(BOTH) for p in points)


def share(points: list[Point]) -> float:
    """The smallest share of the GEMM rate."""
    return min(p.share for p in points)


def memory(points: list[Point]) -> float:
    """The peer's peak over ours where it is smallest; who needs nothing is not above the peer."""
    known = [p.bytes for p in points]
    return min(theirs / mine if mine else 1.0 for mine, theirs in known if mine is not None and theirs is not None)


@dataclass(frozen=True)
class Target:
    """What is asked of some of the points: of each, or of their geometric mean."""

    what: str
    part: str
    least: float | None  # None: told, not asked for
    value: Callable[[list[Point]], float]
    chosen: Callable[[Point], bool] = lambda _: True

    def short(self, value: float) -> bool:
        """Whether a value is below what is asked for."""
        return self.least is not None and not value >= self.least


def mean_of(cell: str, peer: str, part: str, wanted: float | None) -> Target:
    """The geometric mean of a cell over the sizes."""
    what = f"{peer}: {NAMES[cell]}, geometric mean of fwd+bwd"
    return Target(what, part, wanted, mean, lambda p: p.cell == cell)


NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "tanh-RNN", "lstm:peepholes=true": "peephole LSTM", "mgu": "MGU"}
MEANS = {"lstm": 1.25, "gru": 2.0, "rnn": 1.5}
TARGETS = [
    Target("torch.nn: fwd+bwd, slowest", "torch", 1.0, least(BOTH)),
    *(mean_of(cell, "torch.nn", "torch", wanted) for cell, wanted in MEANS.items()),
    Target("torch.nn: fwd+bwd at B = 1, slowest", "torch", 3.0, least(BOTH), lambda p: p.batch == 1),
    Target(f"share of GEMM at H ≥ {LARGE}, smallest", "torch", SHARE, share, lambda p: p.large),
    Target(f"torch.nn: forward at H < {LARGE}, slowest", "torch", 1.0, least(FORWARD), lambda p: not p.large),
    Target(f"torch.nn: forward at H ≥ {LARGE}, slowest", "torch", 0.95, least(FORWARD), lambda p: p.large),
    Target("torch.nn: its peak memory over ours, smallest", "torch", 1.0, memory, lambda p: None not in p.bytes),
    *(mean_of(cell, "jax.lax.scan", "jax", None) for cell in MEANS),
    Target("torch loop: peephole LSTM, fwd+bwd, slowest", "loop", 10.0, least(BOTH), lambda p: p.cell != "mgu"),
    Target("torch loop: MGU, fwd+bwd, slowest", "loop", 10.0, least(BOTH), lambda p: p.cell == "mgu"),
    Target("portable path: fwd+bwd at B ≥ 32, slowest", "portable", 0.8, least(BOTH), lambda p: p.batch >= 32),
]


def summary(points: list[Point]) -> list[str]:
    """A row for each target, a column for each number of threads."""
    counts = sorted({p.threads for p in points})
    head = ["what", "at least", *(f"{n} thread{'s' if n > 1 else ''}" for n in counts), "points below"]
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(row(target, points, counts) for target in TARGETS)]


def row(target: Target, points: list[Point], counts: list[int]) -> str:
    """One target: its values, marked where they fall short, and how many of the points do."""
    chosen = [p for p in points if p.part == target.part and target.chosen(p)]
    values = []
    for n in counts:
        some = [p for p in chosen if p.threads == n]
        value = target.value(some) if some else None
        shown = "not measured" if value is None else f"{value:.2f}"
        values.append(shown + (BELOW if value is not None and target.short(value) else ""))
    below = f"{sum(target.short(target.value([p])) for p in chosen)} of {len(chosen)}"
    told = "–" if target.least is None or target.value is mean else below
    asked = "–" if target.least is None else f"{target.least:g}"
    return f"| {' | '.join([target.what, asked, *values, told])} |"
