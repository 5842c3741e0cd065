"""A cell around another one: it is the cell within, but for what it writes anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from rnnbp.cellbase import Cell, Data, Param, Params, StartBackward, State, StepBackward, joined
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.pointwise import PointwiseBackward, PointwiseCell, own_part

V = TypeVar("V")
Masks = dict[str, HostArray]  # name -> (T, B, *shape): a sequence's data, as host arrays


class Wrapper:
    """What `Around` and `AroundPointwise` take from the cell within."""

    cell: Cell

    def _settle(self) -> None:
        """Put options in order, and refuse those that do not fit the cell within."""
        return None

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

    @property
    def inexact(self) -> str:
        return self.cell.inexact

    @property
    def memory_gates(self) -> Mapping[str, int]:
        return self.cell.memory_gates

    @property
    def starting(self) -> dict[str, Param]:
        return self.cell.starting

    def start(self, xp: Namespace, p: Params, batch: int, like: Array) -> tuple[State, StartBackward]:
        return self.cell.start(xp, p, batch, like)

    def init(self, rng: np.random.Generator) -> dict[str, HostArray]:
        within = self.cell.init(rng)
        own = {name: spec.init(rng, spec.shape) for name, spec in self.params.items() if name not in within}
        return {name: (within | own)[name] for name in self.params}

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
        self._settle()
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
        if not has_affine(self.cell):
            raise UserError(f"{type(self).__name__} needs a cell whose step is affine, then pointwise; got {self.cell}")
        self._adopt("input_size", "hidden_size", "bias", "stopped")
        self._settle()
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
    def dropped(self) -> dict[str, str]:
        return self.cell.dropped

    @property
    def elementwise(self) -> dict[str, Param]:
        return self.cell.elementwise

    def gate_bias(self, gate: str) -> float:
        return self.cell.gate_bias(gate)

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        return self.cell.pointwise(xp, a, s, p, e)


def has_affine(cell: Any) -> bool:
    """Whether a cell's step is the affine part of `PointwiseCell`, then its own pointwise part."""
    return isinstance(cell, PointwiseCell) and own_part(cell) is None


def wrapped(cell: Cell, pointwise: Callable[..., Cell], plain: Callable[..., Cell], *options: Any) -> Cell:
    """The wrapper that suits the cell: the one inside `pointwise`, or the one around `step`."""
    return (pointwise if has_affine(cell) else plain)(cell, *options)


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


def check_rate(rate: Any) -> None:
    """A rate is the chance of being dropped, or kept: at least 0, below 1."""
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
        raise UserError(f"a rate must be at least 0 and below 1; got {rate!r}")


def inverted(rng: np.random.Generator, shape: tuple[int, ...], rate: float) -> HostArray:
    """A dropout mask: 0 at `rate`, else 1 / (1 − rate), so that its mean is 1 (Srivastava et al. 2014, inverted)."""
    return (rng.random(shape) >= rate) / (1 - rate)


def chosen(cell: Cell, names: Any) -> tuple[str, ...]:
    """States of a cell by name, a word state+state or a tuple; none means all."""
    words = joined(names)
    for name in words:
        if name not in cell.states:
            raise UserError(f"states must be among {', '.join(cell.states)}, joined by +; got {name!r}")
    return words or tuple(cell.states)
