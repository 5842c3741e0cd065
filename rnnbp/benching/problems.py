"""What is computed: a cell with its parameters, input and cotangents, the same numbers for all who take part."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from rnnbp.benching.plans import Size
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.registry import cell as make_cell


@dataclass(frozen=True)
class Problem:
    """Host arrays of one dtype: params and data by name, xs (T, B, I) and dys (T, B, O)."""

    cell: Any
    size: Size
    params: dict[str, HostArray]
    data: dict[str, HostArray]
    xs: HostArray
    dys: HostArray

    @property
    def flops(self) -> int:
        """One forward's products: 2·T·B·(I+R)·G·H, every entry of W and U once a row. A backward has twice that."""
        matrices = [spec.shape for spec in self.cell.params.values() if len(spec.shape) == 2]
        return 2 * self.size.time_steps * self.size.batch * sum(map(prod, matrices))

    @property
    def tolerance(self) -> float:
        """How far two correct answers may be apart, relative to the largest entry of a tensor.

        In units of the dtype's epsilon: I + H for the sum in a pre-activation, T for the steps that carry its error on,
        √(T·B) for the sum of as many errors of random sign in a weight's gradient.
        """
        steps, batch, n_in, n = self.size
        return float(np.finfo(self.xs.dtype).eps) * (n_in + n + steps + sqrt(steps * batch))


def draw(spec: str, size: Size, dtype: str, seed: int) -> Problem:
    """A problem from a seed; biases and peepholes are moved off their initial values, so that mixing them up shows."""
    cell, rng = make_cell(spec, size.input_size, size.hidden_size), np.random.default_rng(seed)
    rows = (size.time_steps, size.batch)
    entries = [(*rows, size.input_size), (*rows, cell.output_size), *(spec.shape for spec in cell.params.values())]
    if 8 * max(map(prod, entries)) > sys.maxsize:
        raise UserError(f"a size must fit in memory; got T,B,I,H = {size}: try a smaller one")
    params = {name: value.astype(dtype) for name, value in cell.init(rng).items()}
    moved = {n: p + rng.normal(0, 0.1, p.shape).astype(dtype) for n, p in params.items() if p.ndim == 1}
    data = {name: rng.random((*rows, *shape)).astype(dtype) for name, shape in cell.data.items()}
    xs, dys = (rng.standard_normal((*rows, n), np.dtype(dtype)) for n in (size.input_size, cell.output_size))
    return Problem(cell, size, params | moved, data, xs, dys)
