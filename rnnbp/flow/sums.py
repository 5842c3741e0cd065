"""What parts of a gradient add up to: by gate, by lag, and over the first few lags, as truncation has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.flow.contributions import Contributions, Parts
from rnnbp.numerics import HostArray

Norms = Mapping[str, HostArray]


@dataclass(frozen=True, eq=False)
class Truncated:
    """The gradient G_k that is left when each error goes back through k steps alone, k = 1 … lags + 1, beside the whole
    one, G: what truncation `tbptt:1,k` does, for every k at once. All parameters of the steps are one vector.
    """

    ratio: HostArray  # (lags + 1): ‖G_k‖ / ‖G‖
    cosine: HostArray  # (lags + 1): ⟨G_k, G⟩ / (‖G_k‖ ‖G‖); nan where one of them is zero


def sums_by_lag(
    cell: Cell, lags: int, parts: Contributions, whole: Parts | None
) -> tuple[dict[str, Norms], dict[str, HostArray], Truncated]:
    """‖Σ_t dL_t/dW_{t−u}‖ for every u, the sum over all u, and how that over the first few compares with the whole."""
    total = {name: np.zeros(spec.shape) for name, spec in cell.params.items()}
    found = {name: {gate: np.zeros(lags + 1) for gate in gates(cell, name)} for name in total}
    g = parts.summed(0, lags) if whole is None else {n: d for n, d in whole.items() if n not in cell.starting}
    inner, squares = np.zeros(lags + 1), np.zeros(lags + 1)
    for u in range(lags + 1):
        for name, d in parts.summed(u).items():
            total[name] += d
            for gate, of_gate in by_gate(cell, name, d[None]).items():
                found[name][gate][u] = of_gate[0]
        inner[u] = sum(np.vdot(d, total[name]) for name, d in g.items())
        squares[u] = sum(np.vdot(d, d) for d in total.values())
    sizes = np.sqrt(squares)
    size = sizes[-1] if whole is None else np.sqrt(sum(np.vdot(d, d) for d in g.values()))
    apart = np.where(sizes * size > 0, sizes * size, np.nan)
    return dict(found), total, Truncated(sizes / (size if size > 0 else np.nan), inner / apart)


def gates(cell: Cell, name: str) -> tuple[str, ...]:
    """What of a parameter is told apart: "" for the whole and, where there are several, its gates."""
    blocks = cell.blocks.get(name, ())
    return ("", *blocks) if len(blocks) > 1 else ("",)


def by_gate(cell: Cell, name: str, d: HostArray) -> dict[str, HostArray]:
    """Norms of parts (n, …, width) of a parameter whose gates lie side by side, (n) each."""
    names = gates(cell, name)
    count = max(1, len(names) - 1)
    found = norms(d.reshape(len(d), -1, count, d.shape[-1] // count), (1, 3))  # (n, G)
    return dict(zip(names, (norms(found, (1,)), *found.T), strict=False))


def norms(d: HostArray, axes: tuple[int, ...]) -> HostArray:
    """Euclidean norms over axes, also of numbers so small that their squares are none."""
    top = np.max(np.abs(d), axis=axes, keepdims=True)
    scale = np.where(top == 0, 1.0, top)
    return np.asarray(np.sqrt(np.sum((d / scale) ** 2, axis=axes)) * np.squeeze(scale, axes))
