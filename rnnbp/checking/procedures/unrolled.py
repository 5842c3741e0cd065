"""A model that is run forward again and again with perturbed weights, as each procedure says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.lags.slopes import slopes
from rnnbp.losses import Loss
from rnnbp.model import Model
from rnnbp.numerics import Array, HostArray
from rnnbp.stacking import States

REDUCTIONS = ("sum", "mean")
MOST_COPIES = 64


@dataclass(frozen=True)
class Unrolled:
    """A model on one batch, run as a whole or step by step."""

    model: Model
    params: dict[str, HostArray]
    xs: HostArray
    targets: HostArray
    backend: Backend

    def move(self, value: HostArray) -> Array:
        """A host array on the backend: class numbers as they are, anything else in double precision."""
        integral = np.issubdtype(value.dtype, np.integer)
        return self.backend.asarray(value, None if integral else "float64")

    @cached_property
    def given(self) -> dict[str, Array]:
        """The unchanged parameters on the backend."""
        return {name: self.move(value) for name, value in self.params.items()}

    @cached_property
    def states(self) -> list[States]:
        """The states before each step of the unchanged pass."""
        xp = self.backend.xp
        found = [self.model.stack.initial_state(xp, self.xs.shape[1], self.given["readout.b"])]
        for t in range(len(self.xs) - 1):
            found.append(self.run(self.given, t, t + 1, found[t])[1])
        return found

    @cached_property
    def gradients(self) -> dict[str, dict[str, HostArray]]:
        """What the hand-written backward gives, for the summed cost and for the mean."""
        return {reduction: self._gradients(reduction) for reduction in REDUCTIONS}

    def _gradients(self, reduction: str) -> dict[str, HostArray]:
        model = replace(self.model, loss=self.loss(reduction))
        xs, targets = self.move(self.xs), self.move(self.targets)
        backward = model(self.given, xs, targets, self.states[0], backend=self.backend)[2]
        return {name: self.backend.to_numpy(d) for name, d in backward()[0].items()}

    def loss(self, reduction: str) -> Loss:
        """The model's loss, summed over steps or their mean."""
        return replace(self.model.loss, reduction=reduction)

    def run(self, params: Mapping[str, Array], start: int, stop: int, s: States) -> tuple[Array, States]:
        """Steps start … stop−1 from a state: the outputs and the state after them."""
        return self.model.run(params, self.move(self.xs[start:stop]), s, backend=self.backend)

    def costs(self, ys: Array, start: int, stop: int) -> HostArray:
        """The cost of some steps on their own, summed and as their mean, (2, n) for n copies."""
        targets = self.move(self.targets[start:stop])
        return np.stack([self.backend.to_numpy(self.loss(reduction)(ys, targets)[0]) for reduction in REDUCTIONS])

    def outcome(self, procedure: str, params: Mapping[str, Array]) -> HostArray:
        """The costs that a procedure looks at, one of all steps or one of each: (n, 2, 1 or T)."""
        steps = range(len(self.xs))
        if procedure == "one-step":
            ys = [self.run(params, t, t + 1, self.states[t])[0] for t in steps]
            found = [self.costs(ys[t], t, t + 1) for t in steps]
        else:
            whole = self.run(params, 0, len(self.xs), self.states[0])[0]
            each = procedure == "per-step"
            found = [self.costs(whole[..., t : t + 1, :, :], t, t + 1) for t in steps] if each else []
            found = found or [self.costs(whole, 0, len(self.xs))]
        return np.moveaxis(np.stack(found, axis=-1), 0, 1)

    def differentiate(self, procedure: str, tensor: str, method: str) -> dict[str, HostArray]:
        """A procedure's gradient of a tensor under each reduction; deltas are taken entry by entry, then summed."""
        value = self.params[tensor]

        def outcome(copies: HostArray) -> HostArray:
            return self.outcome(procedure, {**self.given, tensor: self.backend.asarray(copies, str(copies.dtype))})

        copies = min(MOST_COPIES, max(other.size for other in self.params.values()))
        found = []
        for first in range(0, value.size, copies):
            # one number of copies for all: a library that compiles for each shape does so once
            entries = np.minimum(np.arange(first, first + copies), value.size - 1)
            units = np.eye(value.size)[entries].reshape(-1, *value.shape)
            found.append(slopes(outcome, value, units, method)[: value.size - first])
        deltas = np.sum(np.concatenate(found), axis=-1)  # (entries, 2)
        return {reduction: deltas[:, k].reshape(value.shape) for k, reduction in enumerate(REDUCTIONS)}
