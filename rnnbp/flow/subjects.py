"""What the flow of the gradient is measured on: a model with its weights, on one batch, in float64 on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Params
from rnnbp.errors import UserError
from rnnbp.flow.lags import LagDecomposition, lag_decomposition
from rnnbp.flow.stacked import Stacked, within
from rnnbp.flow.trajectories import Trajectory
from rnnbp.model import Model, readout
from rnnbp.numerics import HostArray
from rnnbp.pointwise import PointwiseCell
from rnnbp.stacking import States

KEPT = 10**8  # numbers at once, 0.8 GB
FORMED = 10**9  # numbers of gradients of single steps


@dataclass(frozen=True, eq=False)
class Subject:
    """A model on one batch.

    label: what it is called in tables and pictures; model: without a penalty, for the flow is that of the loss alone;
    source: where the batch comes from. xs (T, B, I), or class numbers (T, B); targets as the model's loss takes them;
    data name -> (T, B, *shape), what its cells need besides.
    s0: one state per cell, from the bottom up, as `Stack.scan` takes it; default what the cells start from.
    rows, samples: of a run, its metrics and what `--flow` recorded; config: what it was asked for. on, dtype: what
    computes the gradient that its parts are held to, by default NumPy.
    """

    label: str
    model: Model
    params: Mapping[str, HostArray]
    xs: HostArray
    targets: HostArray
    source: str
    data: Mapping[str, HostArray] | None = None
    s0: States | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    on: Backend | None = None
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if self.model.penalty is not None:
            raise UserError("the flow is that of the loss alone; got a model with a penalty on top: leave it out")

    @property
    def about(self) -> str:
        """Where the batch comes from, and the sizes, in one line."""
        stack, (steps, batch) = self.model.stack, self.xs.shape[:2]
        cells = [cell for _, cell in stack.cells]
        widths = f"I = {stack.input_size}, H = {cells[0].hidden_size}"
        more = f", {len(cells)} layers" if len(cells) > 1 else ""
        return f"{self.source}, T = {steps}, B = {batch}, {widths}{more}"

    @cached_property
    def path(self) -> Trajectory:
        """The whole stack along the batch: its one cell, or all its layers as one, by the names of the stack."""
        dense, stack = self.model.dense(self.params, self.xs)[0], self.model.stack
        (prefix, cell), *more = stack.cells
        if more or stack.residual:
            one = Stacked(stack)
            s0 = None if self.s0 is None else one.together(dict(zip((n for n, _ in stack.cells), self.s0, strict=True)))
            return Trajectory(one, self.own, dense, s0, self.data)
        s0 = None if self.s0 is None else self.s0[0]
        return Trajectory(cell, within(self.own, prefix), dense, s0, within(self.data or {}, prefix))

    @cached_property
    def layers(self) -> dict[str, Trajectory]:
        """Prefix ("0.", "1.", …) -> that cell along what it reads: the batch, or what the layer below gives."""
        return self.path.layers if isinstance(self.path.cell, Stacked) else {"0.": self.path}

    @property
    def ys(self) -> HostArray:
        """What the stack gives, (T, B, O)."""
        return self.path.ys

    @cached_property
    def dys(self) -> HostArray:
        """The errors that the loss L leaves on the outputs of the stack, (T, B, O): of step t that of L_t."""
        logits, back = readout(self.params["readout.W"], self.params["readout.b"], self.ys)
        return np.asarray(back(self.model.loss(logits, self.targets)[1]())[2])

    @cached_property
    def by_lag(self) -> LagDecomposition:
        """The gradient by lag: of all lags, or of as many as `KEPT` numbers and `FORMED` products allow. Truncation is
        held to the whole gradient all the same.
        """
        steps, batch, _ = self.path.xs.shape
        kept, formed = 0, 0  # numbers for one error at one step
        for path in self.layers.values():
            cell = path.cell
            if isinstance(cell, PointwiseCell):
                kept += batch * len(cell.gates) * cell.hidden_size * (2 if cell.split else 1)
            else:
                formed += cell.count
        most = np.arange(steps)
        errors = (most + 1) * (steps - most / 2)  # Σ_s min(T − s, lags + 1)
        fits = (errors * kept <= KEPT) & (errors * formed <= FORMED) & (2 * (most + 1) * formed <= KEPT)
        lags, whole = max(0, int(np.sum(fits)) - 1), None
        if lags < steps - 1:
            whole = self.of_path(self.model(self.params, self.xs, self.targets, self.s0, data=self.data)[2]()[0])
        return lag_decomposition(self.path, self.dys, lags, whole)

    def of_path(self, named: Mapping[str, HostArray]) -> dict[str, HostArray]:
        """Of what is named for the model's parameters that of `path`'s cell, by the names that it has there."""
        one = named if isinstance(self.path.cell, Stacked) else within(named, next(iter(self.layers)))
        return {name: one[name] for name in self.path.cell.params}

    @property
    def own(self) -> Params:
        """The parameters of the stack's cells."""
        return {name: self.params[name] for name in self.model.stack.params}
