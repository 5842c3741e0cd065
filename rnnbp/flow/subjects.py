"""What the flow of the gradient is measured on: a model with its weights, on one batch, in float64 on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rnnbp.cellbase import Params
from rnnbp.errors import UserError
from rnnbp.flow.trajectories import Trajectory
from rnnbp.model import Model, readout
from rnnbp.numerics import HostArray


@dataclass(frozen=True, eq=False)
class Subject:
    """A model on one batch.

    label: what it is called in tables and pictures; source: where the batch comes from. xs (T, B, I), or class
    numbers (T, B); targets as the model's loss takes them; data name -> (T, B, *shape), what its cells need besides.
    rows, samples: of a run, its metrics and what `--flow` recorded; config: what it was asked for.
    """

    label: str
    model: Model
    params: Mapping[str, HostArray]
    xs: HostArray
    targets: HostArray
    source: str
    data: Mapping[str, HostArray] | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def layers(self) -> dict[str, Trajectory]:
        """Prefix ("0.", "1.", …) -> that cell along what it reads: the batch, or what the layer below gives."""
        found: dict[str, Trajectory] = {}
        below = self.model._inputs(self.params, self.xs)[0]
        for prefix, cell in self.model.stack.cells:
            own = {name: self.params[prefix + name] for name in cell.params}
            data = {name: (self.data or {})[prefix + name] for name in cell.data}
            found[prefix] = Trajectory(cell, own, below, data=data)
            below = np.stack([s[0] for s in found[prefix].states[1:]])
        return found

    @cached_property
    def path(self) -> Trajectory:
        """The whole stack as one cell along the batch."""
        if len(self.layers) > 1:
            raise UserError(f"flow is measured of one layer; got {len(self.layers)}")
        return next(iter(self.layers.values()))

    @cached_property
    def ys(self) -> HostArray:
        """What the stack gives, (T, B, O)."""
        return np.stack([s[0] for s in self.path.states[1:]])

    @cached_property
    def dys(self) -> HostArray:
        """The errors that the loss L leaves on the outputs of the stack, (T, B, O): of step t that of L_t."""
        logits, back = readout(self.params["readout.W"], self.params["readout.b"], self.ys)
        return np.asarray(back(self.model.loss(logits, self.targets)[1]())[2])

    @property
    def own(self) -> Params:
        """The parameters of the stack's cells."""
        return {name: self.params[name] for name in self.model.stack.params}
