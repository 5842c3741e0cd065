"""The layers of a stack as one cell, whose state is that of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from rnnbp.around.connections import plus
from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, StartBackward, State, StepBackward
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.stacking import Stack

V = TypeVar("V")
LayerBack = Callable[[str, State], tuple[Any, Cotangents]]  # prefix, ds' -> dx, ds


@dataclass(frozen=True)
class Stacked(Cell):
    """A stack as one cell. Its state is that of all layers, the top one's first: "1.h", "1.c", "0.h", "0.c".

    A step goes through the layers from the bottom up, each of which reads what the one below gives at this very step:
    an error goes back in time within a layer, and down a layer within a step. Where the top layers are residual the
    output is no state but a sum, y = h_top + h_below + …; `entered` says where its error enters.
    """

    input_size: int = field(init=False, repr=False)
    hidden_size: int = field(init=False, repr=False)
    stack: Stack

    def __post_init__(self) -> None:
        if self.stack.bidirectional:
            raise UserError("the flow is that along one direction of time; got a stack with layers in both")
        object.__setattr__(self, "input_size", self.stack.input_size)
        object.__setattr__(self, "hidden_size", self.stack.layers[-1][0].hidden_size)
        super().__post_init__()

    @property
    def cells(self) -> list[tuple[str, Cell]]:
        """Prefix and cell of each layer, from the bottom up."""
        return list(self.stack.cells)

    @property
    def params(self) -> dict[str, Param]:
        return self.stack.params

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {prefix + name: shape for prefix, cell in self.cells[::-1] for name, shape in cell.states.items()}

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        return self._each(lambda cell: cell.data)

    @property
    def output_size(self) -> int:
        return self.stack.output_size

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return self._each(lambda cell: cell.blocks)

    @property
    def inexact(self) -> str:
        return next((cell.inexact for _, cell in self.cells if cell.inexact), "")

    @property
    def starting(self) -> dict[str, Param]:
        return self._each(lambda cell: cell.starting)

    def start(self, xp: Namespace, p: Params, batch: int, like: Array) -> tuple[State, StartBackward]:
        begun = {prefix: cell.start(xp, within(p, prefix), batch, like) for prefix, cell in self.cells}

        def backward(ds: State) -> dict[str, Array]:
            errors = self.apart(ds)
            return {prefix + n: d for prefix, (_, back) in begun.items() for n, d in back(errors[prefix]).items()}

        return self.together({prefix: s for prefix, (s, _) in begun.items()}), backward

    def initial_state(self, xp: Namespace, batch: int, like: Array) -> State:
        return self.together({prefix: cell.initial_state(xp, batch, like) for prefix, cell in self.cells})

    def random_state(self, rng: np.random.Generator, batch: int) -> tuple[HostArray, ...]:
        return self.together({prefix: cell.random_state(rng, batch) for prefix, cell in self.cells})

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        before, y = self.apart(s), x
        new: dict[str, State] = {}
        backs: dict[str, StepBackward] = {}
        for k, (prefix, cell) in enumerate(self.cells):
            new[prefix], backs[prefix] = cell.step(xp, within(p, prefix), y, before[prefix], within(e, prefix))
            y = self._given(k, new[prefix][0], y)

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            grads: dict[str, Any] = {}

            def layer(prefix: str, ds: State) -> tuple[Any, Cotangents]:
                dp, dx, before = backs[prefix](ds)
                grads.update({prefix + name: d for name, d in dp.items()})
                return dx, before

            dx, ds = self.down(ds1, layer)
            return grads, dx, ds

        return self.together(new), backward

    def down(self, ds1: State, layer: LayerBack) -> tuple[Any, Cotangents]:
        """The errors of all states behind a step, taken through the layers from the top down: those of x and of the
        states before it. A layer's h is read by the layer above it, if not by that one alone.
        """
        errors, dy = self.apart(ds1), None  # dy: of what the layer gives
        found: dict[str, Cotangents] = {}
        for k, (prefix, _) in reversed(list(enumerate(self.cells))):
            dh, *rest = errors[prefix]
            dx, found[prefix] = layer(prefix, (plus(dh, dy), *rest))
            dy = plus(dx, dy if k in self.stack.residual else None)
        return dy, self.together(found)

    def entered(self, dy: Array) -> State:
        """The errors of all states behind a step that an error dy (..., B, O) of its output is."""
        reached: dict[str, State] = {}
        dh: Any = dy
        for k, (prefix, cell) in reversed(list(enumerate(self.cells))):
            zero = [np.zeros((*dy.shape[:-1], *shape)) for shape in cell.states.values()]
            reached[prefix] = tuple(zero) if dh is None else (dh, *zero[1:])
            dh = dh if k in self.stack.residual else None
        return self.together(reached)

    def readings(self, xs: Array, hs: Iterable[Array]) -> list[Array]:
        """What each layer reads, from the bottom up, and at the end what the stack gives. hs: each layer's own h."""
        found = [xs]
        for k, h in enumerate(hs):
            found.append(self._given(k, h, found[-1]))
        return found

    def apart(self, s: tuple[V, ...]) -> dict[str, tuple[V, ...]]:
        """One for each state -> those of each layer, from the top down."""
        left: Iterator[V] = iter(s)
        return {prefix: tuple(next(left) for _ in cell.states) for prefix, cell in self.cells[::-1]}

    def together(self, parts: Mapping[str, tuple[V, ...]]) -> tuple[V, ...]:
        """The inverse of `apart`."""
        return tuple(z for prefix, _ in self.cells[::-1] for z in parts[prefix])

    def _given(self, k: int, h: Array, x: Array) -> Array:
        """What layer k gives for x where its cell gives h."""
        return h + x if k in self.stack.residual else h

    def _each(self, of: Callable[[Cell], Mapping[str, V]]) -> dict[str, V]:
        """What cells have by name, by the names of the stack."""
        return {prefix + name: found for prefix, cell in self.cells for name, found in of(cell).items()}


def within(named: Mapping[str, V], prefix: str) -> dict[str, V]:
    """Of what is named for a stack that of one layer, by the names of its cell."""
    return {name.removeprefix(prefix): found for name, found in named.items() if name.startswith(prefix)}
