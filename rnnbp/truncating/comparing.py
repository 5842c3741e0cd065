"""Gradients under kinds of truncation beside the full one: norm ratio, cosine, time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.benching.timing import Timing, alternate
from rnnbp.checking.distances import Separation, separation
from rnnbp.checking.report import finite
from rnnbp.checking.verdicts import check_counts
from rnnbp.numerics import HostArray
from rnnbp.truncating.keeping import kept_bytes
from rnnbp.truncating.kinds import FULL, kinds_of
from rnnbp.truncating.problems import Problem, problem_of
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
        return [
            "g is the truncated gradient, f the full one; the weights are as drawn.",
            "time: a forward and its backward through all windows. kept: what the forward of the longest window leaves",
            "for its backward, counted.",
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a gradient is zero and a ratio has no meaning."""
        plain = {
            name: getattr(self, name) for name in ("cell", "layers", "data", "backend", "dtype", "seed", "repeats")
        }
        found: dict[str, Any] = finite(
            plain | {"sizes": dict(self.sizes), "full": _plain(self.full), "kinds": [_plain(row) for row in self.rows]}
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


def compare_truncations(
    cell: str = "lstm",
    kinds: Sequence[str] = kinds_of((1, 2, 4, 8, 16, FULL)),
    *,
    backend: Backend | str | None = None,
    dtype: str = "float32",
    repeats: int = 5,
    progress: Callable[[str, int, int], None] = lambda *_: None,
    **problem: Any,
) -> Comparison:
    """The gradient under each kind beside the full one, for every parameter of the cells, at freshly drawn weights.

    kinds: of `rnnbp.truncation.KINDS`. problem: task, files, time_steps, batch, input_size, hidden_size, layers and
    seed, as in `truncating.problems.problem_of`; without a task or a text, independent normal inputs and targets.
    Times are taken in turn, `repeats` rounds of forward and backward; memory is counted, not measured: the arrays that
    a backward holds. The readout is left out, no truncation changes its gradient. A kind that the cell cannot have is
    a UserError.
    """
    check_counts(repeats=repeats)
    named = kinds_of(others=kinds)
    chosen = backend if isinstance(backend, Backend) else find_backend(backend)
    seed = problem.get("seed", 0)
    given = problem_of(cell, chosen, dtype, **problem)
    parsed = {kind: Truncation.parse(kind) for kind in dict.fromkeys((*named, FULL))}
    gradients = {kind: given.gradients(one) for kind, one in parsed.items()}
    clock, done = chosen.seconds, iter(range(1, repeats + 1))
    timings = alternate(
        {kind: (clock, partial(_step, given.under(one), one)) for kind, one in parsed.items()},
        repeats,
        lambda: progress(cell, next(done), repeats),
    )
    rows = {
        kind: Row(kind, _separations(gradients[kind], gradients[FULL]), timings[kind], _kept(given, one))
        for kind, one in parsed.items()
    }
    stack = given.model.stack
    sizes = {"T": given.time_steps, "B": given.batch, "I": stack.input_size, "H": stack.layers[0][0].hidden_size}
    words = (len(stack.layers), given.source, chosen.name, dtype, seed, repeats)
    return Comparison(cell, sizes, *words, tuple(rows[kind] for kind in named), rows[FULL])


def _step(problem: Problem, kind: Truncation) -> Any:
    return problem.backward()(kind.windows(problem.time_steps))


def _kept(problem: Problem, kind: Truncation) -> int:
    """What the forward of the longest window leaves for its backward, beyond weights and data."""
    longest = max(window.stop - window.start for window in kind.windows(problem.time_steps))
    part = problem.under(kind).until(longest)
    return kept_bytes(part.backward(), part.given)


def _separations(g: Mapping[str, HostArray], f: Mapping[str, HostArray]) -> dict[str, Separation]:
    """Each tensor, and all of them as one vector where there are several."""
    found = {name: separation(g[name], f[name]) for name in f}
    whole = [np.concatenate([side[name].ravel() for name in f]) for side in (g, f)]
    return found | ({ALL: separation(*whole)} if len(f) > 1 else {})
