"""What has a derivative at every step: a whole trajectory, or one block of its Jacobians, which hides the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray


class Steps(Protocol):
    """What has a derivative at every step: a `Trajectory`, or a block of its Jacobians. Methods: see there."""

    @property
    def cell(self) -> Cell: ...  # noqa: D102
    @property
    def xs(self) -> HostArray: ...
    @property
    def time_steps(self) -> int: ...
    @property
    def size(self) -> int: ...
    def vjp(self, t: int, d: HostArray) -> HostArray: ...
    def jvp(self, t: int, v: HostArray) -> HostArray: ...
    def jacobian(self, t: int) -> HostArray: ...


@dataclass(frozen=True, eq=False)
class HBlockWithoutCarousel:
    """Only the block ∂h_{t+1}/∂h_t of each Jacobian, the other states held: n numbers, h (the output) alone.

    Often plotted as "the Jacobian" of an LSTM, it leaves out ∂c_{t+1}/∂c_t = f, the constant error carousel. A product
    of blocks is no derivative of anything: the block of the product ∂s_t/∂s_k is.
    """

    path: Trajectory

    @property
    def cell(self) -> Cell:
        return self.path.cell

    @property
    def xs(self) -> HostArray:
        return self.path.xs

    @property
    def time_steps(self) -> int:
        return self.path.time_steps

    @property
    def size(self) -> int:
        """n, the numbers in h."""
        return next(iter(self.path.sizes.values()))

    def vjp(self, t: int, d: HostArray) -> HostArray:
        return self.path.vjp(t, self._filled(d))[..., : self.size]

    def jvp(self, t: int, v: HostArray) -> HostArray:
        return self.path.jvp(t, self._filled(v))[..., : self.size]

    def jacobian(self, t: int) -> HostArray:
        return self.path.jacobian(t)[..., : self.size, : self.size]

    def _filled(self, v: HostArray) -> HostArray:
        return np.concatenate([v, np.zeros((*v.shape[:-1], self.path.size - self.size))], axis=-1)
