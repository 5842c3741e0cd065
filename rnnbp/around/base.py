"""A cell around another one: it is the cell within, but for what it writes anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from rnnbp.cellbase import Cell, Data, Param, Params, State, StepBackward
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.pointwise import PointwiseBackward, PointwiseCell

V = TypeVar("V")
Masks = dict[str, HostArray]  # name -> (T, B, *shape): a sequence's data, as host arrays


class Wrapper:
    """What `Around` and `AroundPointwise` take from the cell within."""

    cell: Cell

    def _adopt(self, *names: str) -> None:
        """Fields that say the same as those of the cell within."""
        for name in names:
            object.__setattr__(self, name, getattr(self.cell, name))

    @property
    def source(self) -> str:
        return self.cell.source

    @property
    def params(self) -> dict[str, Param]:
        return self.cell.params

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return self.cell.states

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        return self.cell.data

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return self.cell.blocks

    def initial_state(self, xp: Namespace, batch: int, like: Array) -> State:
        return self.cell.initial_state(xp, batch, like)

    def random_state(self, rng: np.random.Generator, batch: int) -> tuple[HostArray, ...]:
        return self.cell.random_state(rng, batch)

    def drawn(self, rng: np.random.Generator, time_steps: int, batch: int) -> Masks:
        """Random `data` for one sequence in training, of this wrapper and of those within."""
        return drawn(self.cell, rng, time_steps, batch)

    def expected(self, time_steps: int, batch: int) -> Masks:
        """The `data` that stand for no chance at all: what evaluation runs on."""
        return expected(self.cell, time_steps, batch)


@dataclass(frozen=True)
class Around(Wrapper, Cell):
    """Around any cell. A wrapper of this kind writes `step`, and calls the one within."""

    input_size: int = field(init=False, repr=False)
    hidden_size: int = field(init=False, repr=False)
    cell: Cell

    def __post_init__(self) -> None:
        self._adopt("input_size", "hidden_size")
        super().__post_init__()

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        return self.cell.step(xp, p, x, s, e)


@dataclass(frozen=True)
class AroundPointwise(Wrapper, PointwiseCell):
    """Around a pointwise cell: one, too, and traceable where the cell within is. It writes `pointwise`.

    The affine part is that of `PointwiseCell`: a cell that brings its own goes into an `Around`.
    """

    input_size: int = field(init=False, repr=False)
    hidden_size: int = field(init=False, repr=False)
    bias: bool = field(init=False, repr=False)
    cell: PointwiseCell
    stopped: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._adopt("input_size", "hidden_size", "bias", "stopped")
        super().__post_init__()

    @property
    def gates(self) -> tuple[str, ...]:
        return self.cell.gates

    @property
    def recurrent(self) -> tuple[str, ...]:
        return self.cell.recurrent

    @property
    def split(self) -> tuple[str, ...]:
        return self.cell.split

    @property
    def cut(self) -> tuple[str, ...]:
        return self.cell.cut

    @property
    def unfed(self) -> dict[str, tuple[str, ...]]:
        return self.cell.unfed

    @property
    def elementwise(self) -> dict[str, Param]:
        return self.cell.elementwise

    def gate_bias(self, gate: str) -> float:
        return self.cell.gate_bias(gate)

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        return self.cell.pointwise(xp, a, s, p, e)


def drawn(cell: Cell, rng: np.random.Generator, time_steps: int, batch: int) -> Masks:
    """Random `data` of a cell for one sequence in training: masks, by name."""
    return cell.drawn(rng, time_steps, batch) if isinstance(cell, Wrapper) else {}


def expected(cell: Cell, time_steps: int, batch: int) -> Masks:
    """The `data` of a cell that evaluation runs on: nothing dropped, every chance at its mean."""
    return cell.expected(time_steps, batch) if isinstance(cell, Wrapper) else {}


def together(what: str, within: Mapping[str, V], own: Mapping[str, V]) -> dict[str, V]:
    """What the cell within has and what its wrapper adds, under different names."""
    if twice := sorted(set(within) & set(own)):
        raise UserError(f"the cell within has {what} {twice[0]} already: wrap it for that once")
    return {**within, **own}


def chosen(cell: Cell, names: Any) -> tuple[str, ...]:
    """States of a cell by name, a word state+state or a tuple; none means all."""
    words = tuple(filter(None, names.split("+"))) if isinstance(names, str) else tuple(names)
    for name in words:
        if name not in cell.states:
            raise UserError(f"states must be among {', '.join(cell.states)}, joined by +; got {name!r}")
    return words or tuple(cell.states)
