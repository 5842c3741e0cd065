"""A point of benchmarks/cpu.py: what was measured of one cell at one size, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FORWARD, BOTH = "forward", "forward_backward"
LARGE = 512  # H from which on the machine's own GEMM is the limit
SHARE = 0.85  # of the GEMM rate
BELOW = " ✗"
HEAD = ["threads", "cell", "T,B,I,H", "path", "forward: ours", "peer", "fwd+bwd: ours", "peer", "GFLOP/s", "of GEMM"]
HEAD += ["MiB: ours", "peer", "speed: forward", "fwd+bwd"]


@dataclass(frozen=True)
class Point:
    """One cell at one size with one number of threads."""

    part: str
    threads: int
    result: dict[str, Any]  # as `rnnbp bench --json` gives it

    @property
    def cell(self) -> str:
        return str(self.result["cell"])

    @property
    def size(self) -> str:
        return ",".join(map(str, self.result["size"].values()))

    @property
    def batch(self) -> int:
        return int(self.result["size"]["B"])

    @property
    def large(self) -> bool:
        return int(self.result["size"]["H"]) >= LARGE

    def speed(self, which: str) -> float:
        return float(self.result["speed_in_peers"][which])

    @property
    def share(self) -> float:
        return float(self.result["ours"][BOTH]["share_of_gemm"])

    @property
    def bytes(self) -> tuple[int | None, int | None]:
        return self.result["ours"]["peak_bytes"], self.result["peer"]["peak_bytes"]

    def wanted(self, which: str) -> float | None:
        """The least speed that is asked for."""
        if self.part == "torch":
            return (0.95 if self.large else 1.0) if which == FORWARD else 3.0 if self.batch == 1 else 1.0
        return {"loop": 10.0, "portable": 0.8}.get(self.part) if which == BOTH else None

    def row(self) -> list[str]:
        """The texts for `HEAD`."""
        who = [self.result["ours"], self.result["peer"]]
        times = [f"{each[which]['min_ms']:.3g}" for which in (FORWARD, BOTH) for each in who]
        hard = self.part == "torch" and self.large
        share = marked(f"{100 * self.share:.0f} %", self.share, SHARE if hard else None)
        mine, theirs = self.bytes
        mib = ["–" if each is None else f"{each / 2**20:.2f}" for each in (mine, theirs)]
        speeds = []
        for which in (FORWARD, BOTH):
            median = who[1][which]["median_ms"] / who[0][which]["median_ms"]
            speeds.append(marked(f"{self.speed(which):.2f} ({median:.2f})", self.speed(which), self.wanted(which)))
        about = [str(self.threads), self.cell, self.size, self.result["path"]]
        rate = f"{who[0][BOTH]['gflops']:.3g}"
        return [*about, *times, rate, share, marked(mib[0], theirs, mine), mib[1], *speeds]


def marked(text: str, value: float | None, least: float | None) -> str:
    """The text with a mark where a value falls short."""
    return text + (BELOW if value is not None and least is not None and not value >= least else "")


def points_of(runs: list[dict[str, Any]]) -> list[Point]:
    """Every point that was measured."""
    found = [(run, result) for run in runs for result in run.get("results", ()) if result["peer"]]
    return [Point(run["part"], run["threads"], result) for run, result in found]
