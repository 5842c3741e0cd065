"""The matrix of dL_t/dv_s, numeric and analytic, and the verdict on every block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rnnbp.checking.lags import pages
from rnnbp.checking.lags.patterns import where
from rnnbp.checking.report import Finding
from rnnbp.numerics import HostArray


@dataclass(frozen=True, eq=False)
class LagTable(Finding):
    """dL_t/dv_s of one tensor v: error met at step t, v used at step s; `numeric_blocks` says what each block is.

    Blocks hold every entry of the tensor or, where it is large, its derivative along random directions. A block's error
    is ‖a−n‖ / (‖a‖+‖n‖), of the whole or of one gate's part, whichever is larger; a difference within `rounding`, that
    of the arithmetic by which the block was made, is none.
    """

    kind = "lags"

    cell: str
    tensor: str
    role: str  # parameter, inputs or state
    numeric: HostArray = field(repr=False)  # (T + 1, S, *shape), or (T + 1, S, K) along K directions
    analytic: HostArray = field(repr=False)
    gradient: HostArray = field(repr=False)  # from one backward over all errors; the blocks must add up to it
    groups: Mapping[str, HostArray] = field(repr=False)  # gate -> its entries in a flattened block; "" for all
    rounding: Mapping[str, HostArray] = field(repr=False)  # gate -> (T + 1, S)
    tolerance: float
    method: str
    truncation: str
    directions: int = 0  # 0: every entry

    @cached_property
    def gates(self) -> dict[str, HostArray]:
        """The error of each gate's part of every block, (T + 1, S); of the whole block under ""."""
        return {gate: self._errors(of, self.rounding[gate]) for gate, of in self.groups.items()}

    @cached_property
    def errors(self) -> HostArray:
        """The error of every block, (T + 1, S); NaN where something is not finite."""
        return np.asarray(np.max(np.stack(list(self.gates.values())), axis=0))

    @property
    def wrong(self) -> HostArray:
        """Which blocks are wrong, (T + 1, S)."""
        return np.asarray(~(self.errors <= self.tolerance))

    @property
    def passed(self) -> bool:
        """Every block within tolerance, and their sum the gradient."""
        return not self.wrong.any() and self.sum_error <= self.tolerance

    @property
    def total(self) -> HostArray:
        """The sum of the analytic blocks: over t and s for a parameter, over t for X and for a first state."""
        return self._added(self.analytic)

    @property
    def numeric_total(self) -> HostArray:
        """The sum of the numeric blocks."""
        return self._added(self.numeric)

    @property
    def sum_error(self) -> float:
        """‖total − gradient‖, in units of the gradient or, if that is larger, of the largest block added up."""
        scale = max(np.linalg.norm(self.gradient), np.max(self.norms(self.analytic)))
        return float(np.linalg.norm(self.total - self.gradient) / scale) if scale else 0.0

    @property
    def where(self) -> str:
        """The place of the wrong blocks: the local term, the recurrence, an edge, the last row."""
        numeric, analytic = self.norms(self.numeric), self.norms(self.analytic)
        if self.role == "parameter" and numeric[:, :-1].any() and analytic.any() and not analytic[:, :-1].any():
            return "the backward ignores its window: all windows give the same, so the blocks cannot be told apart"
        return where(self.wrong, (numeric != 0) | (analytic != 0), self.role == "state")

    @property
    def wrong_gates(self) -> tuple[str, ...]:
        """The gates whose part of some block is wrong."""
        return tuple(gate for gate, errors in self.gates.items() if gate and not (errors <= self.tolerance).all())

    @property
    def rows(self) -> list[str]:
        """The names of the rows: each step, and "end" for the error of the last state."""
        return [*map(str, range(len(self.numeric) - 1)), "end"]

    @property
    def columns(self) -> list[str]:
        """The names of the columns: each step, or "start" for a first state."""
        return ["start"] if self.role == "state" else list(map(str, range(self.numeric.shape[1])))

    @property
    def worst(self) -> dict[str, Any]:
        """The wrong block that differs most, by row and column, and its worst entry with both values."""
        gap = np.where(self.wrong, self.norms(self.analytic - self.numeric), -1.0)
        t, s = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
        a, n = self.analytic[t, s], self.numeric[t, s]
        gap = np.abs(a - n)
        k = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), a.shape)
        entry = {"index": [int(i) for i in k], "analytic": float(a[k]), "numeric": float(n[k])}
        return {"t": self.rows[t], "s": self.columns[s], "error": float(self.errors[t, s]), **entry}

    def norms(self, blocks: HostArray) -> HostArray:
        """‖block‖ for every t and s, (T + 1, S)."""
        return np.asarray(np.linalg.norm(blocks.reshape(*blocks.shape[:2], -1), axis=-1))

    def _added(self, blocks: HostArray) -> HostArray:
        """The derivative by the tensor as a whole, whose parts the steps use."""
        if self.role == "parameter":
            return np.asarray(np.sum(blocks, axis=(0, 1)))
        return np.asarray(np.sum(blocks if self.role == "inputs" else blocks[:, 0], axis=0))

    def _errors(self, of: HostArray, rounding: HostArray) -> HostArray:
        a, n = (side.reshape(*side.shape[:2], -1)[..., of] for side in (self.analytic, self.numeric))
        gap = np.linalg.norm(a - n, axis=-1)
        size = np.linalg.norm(a, axis=-1) + np.linalg.norm(n, axis=-1)
        return np.asarray(np.where(gap <= rounding, 0.0, gap / np.where(size == 0, 1.0, size)))

    def __str__(self) -> str:
        return pages.lines(self)

    def to_json(self) -> dict[str, Any]:
        """The norms and errors of all blocks as lists over t, then s; the verdict, its place and the worst entry."""
        return pages.plain(self)

    def to_html(self) -> str:
        """Two heat maps side by side, numeric and analytic, with the verdict."""
        return pages.html(self)
