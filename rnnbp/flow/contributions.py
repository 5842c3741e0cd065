"""What errors side by side do to the parameters that a step uses: its part of dL/dW for each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.flow.stacked import Stacked, within
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray, chunks
from rnnbp.pointwise import sum_rows
from rnnbp.stepping import Kept, PointwiseStepper

Parts = dict[str, HostArray]


class Contributions(ABC):
    """The parts dL_t/dW_s of the errors of t = s, s + 1, …, which are lags 0, 1, …, added from s = T − 1 down to 0.
    Their sums by lag are made on the way.
    """

    @abstractmethod
    def add(self, s: int, left: Kept, dp: Mapping[str, HostArray]) -> Parts:
        """What step s left and its dp for n errors -> of each parameter (n, …, width), the norms of which are those of
        dL_t/dW_s, of the whole and of every gate.
        """

    @abstractmethod
    def summed(self, u: int, last: int | None = None) -> Parts:
        """Σ_t dL_t/dW_{t−u} of each parameter, or that of the lags u … last; what is zero may be missing."""


class PlainContributions(Contributions):
    """Those of any cell: its dp is formed for every error."""

    def __init__(self, lags: int) -> None:
        self.lags = lags
        self.direct: Parts = {}  # name -> dp summed over s, by lag

    def add(self, s: int, left: Kept, dp: Mapping[str, HostArray]) -> Parts:
        del s, left
        for name, d in dp.items():
            self.direct.setdefault(name, np.zeros((self.lags + 1, *d.shape[1:])))[: len(d)] += d
        return dict(dp)

    def summed(self, u: int, last: int | None = None) -> Parts:
        stop = 1 + (u if last is None else last)
        return {name: np.sum(d[u:stop], axis=0) for name, d in self.direct.items()}


class PointwiseContributions(PlainContributions):
    """The parts of a pointwise cell, whose errors of pre-activations are kept: a matrix is formed for the sum of a lag,
    and none for a norm. With x_sᵀ = Q R the norm of x_sᵀ da is that of R da, and so for every gate's columns of da.
    """

    def __init__(self, steps: PointwiseStepper, lags: int) -> None:
        super().__init__(lags)
        self.steps = steps
        self.kept: dict[int, Kept] = {}
        self.fed: list[HostArray] = []  # of every gate (R): 0 where it does not see a state
        if steps.cell.recurrent:
            ones = {"U": np.ones(steps.cell.params["U"].shape)}
            blocks = chunks(steps.cell.connected(xp, ones)["U"], len(steps.cell.gates))
            self.fed = [block[:, 0] for block in blocks]

    def add(self, s: int, left: Kept, dp: Mapping[str, HostArray]) -> Parts:
        cell, (h, dax, dah) = self.steps.cell, left
        found = {name: sum_rows(xp, d, cell.elementwise[name].shape) for name, d in super().add(s, left, dp).items()}
        found["W"] = triangle(self.steps.xs[s]) @ dax
        if cell.bias:
            found["b"] = np.sum(dax, axis=-2)
        if cell.recurrent:
            by_gate = zip(self.fed, chunks(dah, len(self.fed)), strict=True)
            found["U"] = np.concatenate([triangle(h * fed) @ d for fed, d in by_gate], axis=-1)
        self.kept[s] = left
        return found

    def summed(self, u: int, last: int | None = None) -> Parts:
        def of_lags(d: HostArray) -> HostArray:
            return np.asarray(d[u] if last is None else np.sum(d[u : last + 1], axis=0))

        stop = len(self.kept) - u
        kept = [(h, of_lags(dax), of_lags(dah)) for h, dax, dah in (self.kept[s] for s in range(stop))]
        return self.steps.reduced(self.steps.collect(0, stop, kept)[0] | super().summed(u, last))


class StackedContributions(Contributions):
    """Those of all layers of a stack, each of which reads what the one below gives."""

    def __init__(self, layers: Mapping[str, Contributions]) -> None:
        self.layers = layers

    def add(self, s: int, left: Kept, dp: Mapping[str, HostArray]) -> Parts:
        return self._each(lambda prefix, layer: layer.add(s, left[prefix], within(dp, prefix)))

    def summed(self, u: int, last: int | None = None) -> Parts:
        return self._each(lambda _, layer: layer.summed(u, last))

    def _each(self, of: Callable[[str, Contributions], Parts]) -> Parts:
        return {prefix + name: d for prefix, layer in self.layers.items() for name, d in of(prefix, layer).items()}


def triangle(x: HostArray) -> HostArray:
    """R of xᵀ = Q R, (min(I, B), B) for x (B, I)."""
    return np.asarray(np.linalg.qr(x.T, mode="r"))


def contributions(path: Trajectory, lags: int) -> Contributions:
    """Those that suit the cell."""
    if isinstance(path.cell, Stacked):
        return StackedContributions({prefix: contributions(layer, lags) for prefix, layer in path.layers.items()})
    if isinstance(path.steps, PointwiseStepper):
        return PointwiseContributions(path.steps, lags)
    return PlainContributions(lags)
