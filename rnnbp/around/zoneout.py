"""Zoneout: units that keep their old state at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.around.base import Around, AroundPointwise, Masks, Wrapper, check_rate, chosen, together, wrapped
from rnnbp.cellbase import Cell, Cotangents, Data, Params, State, StepBackward
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseBackward

Kept = tuple[Any, ...]  # per state what a unit keeps of it; None for states that are not zoned


@dataclass(frozen=True)
class Zones(Wrapper):
    """The data of zoneout: `zoneout_<state>`, what each unit keeps of that state, of 0 and 1 in training."""

    rate: float = 0.1
    zoned: tuple[str, ...] = ()

    def _settle(self) -> None:
        check_rate(self.rate)
        object.__setattr__(self, "zoned", chosen(self.cell, self.zoned))

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        return together("data", self.cell.data, {f"zoneout_{name}": self.states[name] for name in self.zoned})

    def drawn(self, rng: np.random.Generator, time_steps: int, batch: int) -> Masks:
        masks = super().drawn(rng, time_steps, batch)
        for name in self.zoned:
            chance = rng.random((time_steps, batch, *self.states[name]))
            masks[f"zoneout_{name}"] = (chance < self.rate).astype(np.float64)
        return masks

    def expected(self, time_steps: int, batch: int) -> Masks:
        means = {f"zoneout_{n}": np.full((time_steps, batch, *self.states[n]), self.rate) for n in self.zoned}
        return super().expected(time_steps, batch) | means

    def _kept(self, e: Data) -> Kept:
        return tuple(e[f"zoneout_{name}"] if name in self.zoned else None for name in self.states)


@dataclass(frozen=True)
class Zoneout(Zones, Around):
    """Zoneout around any cell (Krueger et al. 2017, arXiv 1606.01305): for each state s in `zoned`

        s' = k ∘ s + (1 − k) ∘ n        n: what the cell within makes of s

    with k 1 at `rate`, else 0, anew for each unit and step; in evaluation k is the rate itself. k comes in as data.
    Backward:  dn = (1 − k) ∘ ds'       ds = k ∘ ds' + what dn gives within.
    """

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        k = self._kept(e)
        new, back = self.cell.step(xp, p, x, s, e)  # [1]

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            dp, dx, ds = back(of_new(k, ds1))  # [2] [1]
            return dp, dx, with_old(k, ds1, ds)  # [2]

        return mixed(k, s, new), backward  # [2]


@dataclass(frozen=True)
class ZoneoutPointwise(Zones, AroundPointwise):
    """`Zoneout` inside `pointwise`: the cell runs fused where the one within does."""

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        k = self._kept(e)
        new, back = self.cell.pointwise(xp, a, s, p, e)  # [1]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Any]]:
            da, ds, dp = back(of_new(k, ds1))  # [2] [1]
            return da, with_old(k, ds1, ds), dp  # [2]

        return mixed(k, s, new), backward  # [2]


def mixed(k: Kept, s: State, new: State) -> State:
    """The new state k ∘ s + (1 − k) ∘ n: exactly s or n where k is 1 or 0."""
    return tuple(n if r is None else r * z + (1 - r) * n for r, z, n in zip(k, s, new, strict=True))


def of_new(k: Kept, ds1: State) -> State:
    """The error of n."""
    return tuple(d if r is None else (1 - r) * d for r, d in zip(k, ds1, strict=True))


def with_old(k: Kept, ds1: State, ds: Cotangents) -> Cotangents:
    """The error of s: what came from within, and what was kept."""
    kept = [None if r is None else r * d for r, d in zip(k, ds1, strict=True)]
    return tuple(b if a is None else a if b is None else a + b for a, b in zip(ds, kept, strict=True))


def zoneout(cell: Cell, rate: float = 0.1, states: str = "") -> Cell:
    """Zoneout around a cell, of the states named (state+state; default all)."""
    return wrapped(cell, ZoneoutPointwise, Zoneout, rate, states)
