"""What a bench found: readable as numbers, as rows of a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rnnbp.benching.contenders import BOTH, PASSES
from rnnbp.benching.plans import Plan, Size
from rnnbp.benching.timing import Timing

FLOP_MODEL = "products only: forward 2·T·B·(I+R)·G·H, backward twice that"
HEAD = ("cell  T,B,I,H", "forward ms", "fwd+bwd ms", "GFLOP/s (of GEMM)", "tokens/s", "MiB", "speed")


@dataclass(frozen=True)
class Measured:
    """One contender: its timings by pass, and the peak memory of a forward + backward."""

    name: str
    timings: dict[str, Timing]
    peak_bytes: int | None


@dataclass(frozen=True)
class Case:
    """One cell at one size on one backend, and its peer."""

    cell: str
    size: Size
    backend: str
    device: str
    path: str  # which code of the backend ran
    flops: int  # of one forward
    gemm_size: int  # n of the n×n product that was timed in turn with the rest
    gemm: Timing
    ours: Measured
    peer: Measured | None
    note: str  # why there is no peer
    difference: float | None  # the largest, over all tensors, between our answer and the peer's
    tolerance: float

    @property
    def gemm_gflops(self) -> float:
        """The machine's own peak."""
        return 2 * self.gemm_size**3 / self.gemm.least / 1e9

    def work(self, which: str) -> int:
        """The FLOP of a pass."""
        return self.flops * (3 if which == BOTH else 1)

    def gflops(self, who: Measured, which: str) -> float:
        return self.work(which) / who.timings[which].least / 1e9

    def tokens_per_second(self, who: Measured, which: str) -> float:
        return self.size.time_steps * self.size.batch / who.timings[which].least

    def speed(self, which: str) -> float | None:
        """Our speed in units of the peer's, from the minima: above 1 is faster than the peer."""
        return self.peer.timings[which].least / self.ours.timings[which].least if self.peer else None

    def rows(self) -> Iterator[tuple[str, ...]]:
        """The texts for `HEAD`: a row that says what is computed, and one for each contender."""
        yield (f"{self.cell}  {self.size}", *[""] * (len(HEAD) - 1))
        for who in filter(None, (self.ours, self.peer)):
            times = [f"{1e3 * t.least:.3g} ({1e3 * t.median:.3g})" for t in (who.timings[p] for p in PASSES)]
            rate = self.gflops(who, BOTH)
            share, tokens = 100 * rate / self.gemm_gflops, f"{self.tokens_per_second(who, BOTH):,.0f}"
            mib = "–" if who.peak_bytes is None else f"{who.peak_bytes / 2**20:.1f}"
            speeds = [f"{speed:.2f}" for speed in map(self.speed, PASSES) if speed and who is self.ours]
            name = f"{who.name} ({self.path})" if who is self.ours else who.name
            yield (f"  {name}", *times, f"{rate:.3g} ({share:.0f} %)", tokens, mib, ", ".join(speeds))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""

        def passes(who: Measured) -> dict[str, Any]:
            return {
                which: {
                    "min_ms": 1e3 * who.timings[which].least,
                    "median_ms": 1e3 * who.timings[which].median,
                    "gflops": self.gflops(who, which),
                    "share_of_gemm": self.gflops(who, which) / self.gemm_gflops,
                    "tokens_per_s": self.tokens_per_second(who, which),
                }
                for which in PASSES
            }

        def measured(who: Measured | None) -> dict[str, Any] | None:
            return {"name": who.name, **passes(who), "peak_bytes": who.peak_bytes} if who else None

        return {
            "cell": self.cell,
            "size": dict(zip("TBIH", self.size, strict=True)),
            "backend": self.backend,
            "device": self.device,
            "path": self.path,
            "flop": {which: self.work(which) for which in PASSES},
            "gemm": {"n": self.gemm_size, "gflops": self.gemm_gflops, "min_ms": 1e3 * self.gemm.least},
            "ours": measured(self.ours),
            "peer": measured(self.peer),
            "note": self.note,
            "speed_in_peers": {which: self.speed(which) for which in PASSES},
            "difference": self.difference,
            "tolerance": self.tolerance,
        }


@dataclass(frozen=True)
class Report:
    """All cases of a plan, with the date and the machine."""

    plan: Plan
    cases: tuple[Case, ...]
    date: str
    machine: dict[str, Any]

    @property
    def title(self) -> str:
        """How it was measured, in one line."""
        how = f"min (median) of {self.plan.repeats} rounds in turn"
        return f"{self.conditions}, {how}; GFLOP/s, share, tokens/s and MiB of fwd+bwd"

    @property
    def conditions(self) -> str:
        """The dtype and the threads."""
        count = self.plan.threads
        return self.plan.dtype + (f", {count} thread{'s' if count > 1 else ''}" if count else "")

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        told = [f"FLOP: {FLOP_MODEL}. {self.machine['processor']}, {self.machine['cores']} cores."]
        peaks: dict[str, float] = {}
        for case in self.cases:
            peaks[case.backend] = max(peaks.get(case.backend, 0.0), case.gemm_gflops)
        told.append("GEMM: " + ", ".join(f"{name} {peak:.3g} GFLOP/s" for name, peak in peaks.items()) + ".")
        if any(case.peer for case in self.cases):
            told.append("Speed: forward, fwd+bwd, in units of the peer's; outputs and gradients agree.")
        told += dict.fromkeys(f"{case.cell} has no peer: {case.note}." for case in self.cases if case.note)
        return told

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plan = self.plan
        return {
            "date": self.date,
            "machine": self.machine,
            "dtype": plan.dtype,
            "threads": plan.threads,
            "repeats": plan.repeats,
            "against": plan.against,
            "memory": plan.memory,
            "seed": plan.seed,
            "flop_model": FLOP_MODEL,
            "results": [case.to_json() for case in self.cases],
        }
