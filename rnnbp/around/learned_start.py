"""Learned initial states: a vector for each state, which every sequence starts from."""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat.numpy as host
import numpy as np

from rnnbp.around.base import Around, AroundPointwise, Wrapper, chosen, together, wrapped
from rnnbp.cellbase import Cell, Param, Params, StartBackward, State
from rnnbp.initializers import Initializer
from rnnbp.numerics import Array, HostArray, Namespace


@dataclass(frozen=True)
class Starts(Wrapper):
    """The parameters `start.<state>`, which begin as `initial_state` has it, and how a sequence starts from them."""

    learned: tuple[str, ...] = ()

    def _settle(self) -> None:
        object.__setattr__(self, "learned", chosen(self.cell, self.learned))

    @property
    def starting(self) -> dict[str, Param]:
        first = dict(zip(self.states, self.cell.initial_state(host, 1, np.zeros(1)), strict=True))
        own = {f"start.{n}": Param(self.states[n], _as(first[n][0])) for n in self.learned}
        return together("parameter", self.cell.starting, own)

    @property
    def params(self) -> dict[str, Param]:
        return self.cell.params | self.starting

    def start(self, xp: Namespace, p: Params, batch: int, like: Array) -> tuple[State, StartBackward]:
        s, back = self.cell.start(xp, p, batch, like)
        first = dict(zip(self.states, s, strict=True))
        for name in self.learned:
            w, n = p[f"start.{name}"], len(self.states[name])
            lead, shape = w.shape[: w.ndim - n], w.shape[w.ndim - n :]
            first[name] = xp.broadcast_to(xp.reshape(w, (*lead, 1, *shape)), (*lead, batch, *shape))

        def backward(ds: State) -> dict[str, Array]:
            errors, dp = dict(zip(self.states, ds, strict=True)), dict(back(ds))
            for name in self.learned:
                dp[f"start.{name}"] = xp.sum(errors[name], axis=-1 - len(self.states[name]))
            return dp

        return tuple(first.values()), backward


@dataclass(frozen=True)
class LearnedStart(Starts, Around):
    """A cell whose sequences start from learned states (Forcada & Carrasco 1995), one vector for the whole batch:

        s_0 = start.s        for each state s in `learned`, wherever no s0 is given and after every reset

    Backward:  dstart.s = Σ_b ds_0, summed over all starts: the errors that end at a reset count, too.
    """


@dataclass(frozen=True)
class LearnedStartPointwise(Starts, AroundPointwise):
    """`LearnedStart` of a pointwise cell, which stays one."""


def _as(value: HostArray) -> Initializer:
    def init(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
        del rng
        return np.array(np.broadcast_to(value, shape))

    return init


def learned_start(cell: Cell, states: str = "") -> Cell:
    """Learned initial states around a cell, of the states named (state+state; default all)."""
    return wrapped(cell, LearnedStartPointwise, LearnedStart, states)
