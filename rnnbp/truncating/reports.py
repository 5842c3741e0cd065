"""What a comparison of truncations found: as numbers, as rows of a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rnnbp.benching.timing import Timing
from rnnbp.checking.distances import Separation
from rnnbp.checking.report import finite
from rnnbp.truncation import Truncation

ALL = "all"  # every parameter of the cells, as one vector
HEAD = ("truncation", "tensor", "‖g‖/‖f‖", "cosine", "‖g−f‖/‖f‖", "time ms", "of full", "kept MiB", "of full")


@dataclass(frozen=True)
class Row:
    """One kind: its gradient g beside the full one f for each tensor, and what it costs.

    timing: of one forward and its backward through all windows. kept: bytes that the forward of the longest window
    leaves for its backward; so many suffice where each window has a forward of its own, from the carried state.
    """

    kind: str
    tensors: Mapping[str, Separation]
    timing: Timing
    kept: int

    @property
    def k(self) -> int | None:
        """K2 of a tbptt; None for any other kind."""
        steps = Truncation.parse(self.kind).steps
        return steps[1] if steps else None


@dataclass(frozen=True)
class Comparison:
    """All kinds on one problem, with the full gradient's own costs."""

    cell: str
    sizes: Mapping[str, int]
    layers: int
    data: str
    backend: str
    dtype: str
    seed: int
    repeats: int
    rows: tuple[Row, ...]
    full: Row
    stopped: tuple[str, ...] = ()  # gates that the cell itself stops, under every kind

    @property
    def title(self) -> str:
        """What was compared, in one line."""
        sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        layers = f", {self.layers} layers" if self.layers > 1 else ""
        where = f"{self.backend}, {self.dtype}, seed {self.seed}, best of {self.repeats} rounds in turn"
        return f"{self.cell} on {self.data}, {sizes}{layers}; {where}"

    def table(self) -> Iterator[list[tuple[str, ...]]]:
        """The texts for `HEAD`: rows for each kind, one for each tensor; the cost of a kind stands in its first."""
        for row in self.rows:
            cost = _cost(row, self.full)
            yield [
                ((row.kind if not n else ""), name, f"{s.ratio:.3f}", f"{s.cosine:.3f}", f"{s.difference:.3f}")
                + (cost if not n else ("",) * len(cost))
                for n, (name, s) in enumerate(row.tensors.items())
            ]

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        own = f"the cell itself stops {', '.join(self.stopped)}: f is full but for that."
        return [
            "g is the truncated gradient, f the full one; the weights are as drawn.",
            *([own] if self.stopped else []),
            "time: a forward and its backward through all windows. kept: what the forward of the longest window leaves",
            "for its backward, counted.",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a gradient is zero and a ratio has no meaning."""
        plain = {
            name: getattr(self, name) for name in ("cell", "layers", "data", "backend", "dtype", "seed", "repeats")
        }
        found: dict[str, Any] = finite(
            plain
            | {"sizes": dict(self.sizes), "stopped": list(self.stopped)}
            | {"full": _plain(self.full), "kinds": [_plain(row) for row in self.rows]}
        )
        return found


def _cost(row: Row, full: Row) -> tuple[str, ...]:
    share = row.timing.least / full.timing.least
    return f"{1e3 * row.timing.least:.3g}", f"{share:.2f}", f"{row.kept / 2**20:.3g}", f"{row.kept / full.kept:.2f}"


def _plain(row: Row) -> dict[str, Any]:
    return {
        "truncation": row.kind,
        "tensors": {name: asdict(s) for name, s in row.tensors.items()},
        "min_ms": 1e3 * row.timing.least,
        "median_ms": 1e3 * row.timing.median,
        "kept_bytes": row.kept,
    }
