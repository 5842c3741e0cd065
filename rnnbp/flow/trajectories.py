"""A cell along a sequence, step by step: the states that it goes through, and the derivatives of each step there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell, Cotangents, Params, State, StepBackward
from rnnbp.errors import UserError
from rnnbp.flow.stacked import Stacked, within
from rnnbp.numerics import HostArray
from rnnbp.stepping import Kept, StepBack, Stepper, stepper

STEP = 1e-30  # of a complex step


class Back(NamedTuple):
    """What one step does to errors ds' (n, B, *shape) of the states behind it."""

    left: Kept  # of what gradients of weights are made, see `rnnbp.flow.contributions`
    dp: dict[str, HostArray]  # name -> (n, …), those that the step makes itself
    ds: State  # of the states before it


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What a cell does to a sequence from s0; host arrays in float64, on which everything here is exact to rounding.

    xs (T, B, I); s0 one array (B, *shape) for each state, by default the cell's start; data name -> (T, B,
    *shape). A state as one vector has all of the cell's states side by side, N numbers, the output h first.
    """

    cell: Cell
    params: Params
    xs: HostArray
    s0: State | None = None
    data: Mapping[str, HostArray] | None = None

    def __post_init__(self) -> None:
        if self.xs.ndim != 3 or self.xs.shape[-1] != self.cell.input_size:
            raise UserError(f"xs must have shape (T, B, {self.cell.input_size}); got {self.xs.shape}")

    @property
    def time_steps(self) -> int:
        """T."""
        return int(self.xs.shape[0])

    @cached_property
    def sizes(self) -> dict[str, int]:
        """State -> how many numbers of the vector are its own."""
        return {name: prod(shape) for name, shape in self.cell.states.items()}

    @property
    def size(self) -> int:
        """N."""
        return sum(self.sizes.values())

    def part(self, state: str) -> slice:
        """Where a state lies in the vector."""
        names = list(self.sizes)
        start = sum(self.sizes[name] for name in names[: names.index(state)])
        return slice(start, start + self.sizes[state])

    @cached_property
    def states(self) -> tuple[State, ...]:
        """The state before each step and, last, behind all of them: T + 1. All are finite, or it is a UserError."""
        s = self.s0 if self.s0 is not None else self.cell.start(xp, self.params, self.xs.shape[1], self.xs)[0]
        found = [tuple(np.asarray(z, dtype=np.float64) for z in s)]
        for t in range(self.time_steps):
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(self.cell.step(xp, self.params, self.xs[t], found[-1], self._at(t))[0])
            if not all(np.all(np.isfinite(z)) for z in found[-1]):
                raise UserError(
                    f"the flow is that of states that stay finite; those behind step {t + 1} do not: take fewer steps, "
                    "or smaller weights"
                )
        return tuple(found)

    @cached_property
    def ys(self) -> HostArray:
        """What the cell gives at each step, (T, B, O)."""
        if isinstance(self.cell, Stacked):
            return self._readings(self.cell)[-1]
        return np.stack([s[0] for s in self.states[1:]])

    @cached_property
    def layers(self) -> dict[str, Trajectory]:
        """Prefix ("0.", "1.", …) -> that layer of a stack along what it reads, from the bottom up."""
        if not isinstance(self.cell, Stacked):
            raise UserError(f"layers are those of a stack; got {type(self.cell).__name__}")
        starts = self.cell.apart(self.states[0])
        return {
            prefix: Trajectory(cell, within(self.params, prefix), xs, starts[prefix], within(self.data or {}, prefix))
            for (prefix, cell), xs in zip(self.cell.cells, self._readings(self.cell), strict=False)
        }

    def _readings(self, cell: Stacked) -> list[HostArray]:
        """What each layer of the stack reads, and what the last one gives."""
        return cell.readings(self.xs, (np.stack([cell.apart(s)[n][0] for s in self.states[1:]]) for n, _ in cell.cells))

    def entered(self, dy: HostArray) -> State:
        """The error of the state behind a step that an error dy (..., B, O) of what the step gives is."""
        if isinstance(self.cell, Stacked):
            return self.cell.entered(dy)
        return (dy, *(np.zeros((*dy.shape[:-1], *shape)) for shape in list(self.cell.states.values())[1:]))

    def step(self, t: int, s: State | None = None) -> tuple[State, StepBackward]:
        """Step t from the state that it has on the trajectory, or from another one."""
        return self.cell.step(xp, self.params, self.xs[t], self.states[t] if s is None else s, self._at(t))

    def vector(self, s: Any) -> HostArray:
        """States (..., B, *shape) as (..., B, N)."""
        shapes = self.cell.states.values()
        return np.concatenate(
            [z.reshape(*z.shape[: z.ndim - len(shape)], -1) for z, shape in zip(s, shapes, strict=True)], axis=-1
        )

    def split(self, v: HostArray) -> State:
        """The inverse of `vector`."""
        return tuple(v[..., self.part(n)].reshape(*v.shape[:-1], *shape) for n, shape in self.cell.states.items())

    @cached_property
    def steps(self) -> Stepper:
        """The steps of a cell that is no stack, ready to be taken."""
        steps = stepper(xp, self.cell, self.params, self.xs, self.data, None)
        steps.prepare()
        steps.ahead(0, self.time_steps)
        return steps

    def back(self, t: int, ds: State) -> Back:
        """Errors ds (..., B, *shape) of the states behind step t, taken back through it by the cell's own backward; a
        pointwise cell makes no gradient of a matrix.
        """
        left, dp, before = (
            self._through_layers(self.cell, t, ds) if isinstance(self.cell, Stacked) else self._backs[t](ds)
        )
        lead = ds[0].shape[: ds[0].ndim - 2]
        grads = {n: np.broadcast_to(d, (*lead, *d.shape[len(lead) :])) for n, d in dp.items() if d is not None}
        return Back(left, grads, tuple(np.broadcast_to(d, z.shape) for d, z in zip(before, ds, strict=True)))

    @cached_property
    def _backs(self) -> tuple[StepBack, ...]:
        return tuple(self.steps.forward(t, self.states[t])[1] for t in range(self.time_steps))

    def _through_layers(self, cell: Stacked, t: int, ds: State) -> tuple[Kept, Mapping[str, Any], Cotangents]:
        """The same for a stack: what each layer leaves, by its prefix, and the gradients by the stack's names."""
        lefts: dict[str, Kept] = {}
        grads: dict[str, Any] = {}

        def layer(prefix: str, errors: State) -> tuple[Any, Cotangents]:
            one = self.layers[prefix]
            lefts[prefix], dp, before = one.back(t, errors)
            grads.update({prefix + name: d for name, d in dp.items()})
            return one.steps.dx(lefts[prefix]), before

        return lefts, grads, cell.down(ds, layer)[1]

    def vjp(self, t: int, d: HostArray) -> HostArray:
        """Jᵀ d of step t for errors d (..., B, N) of the state behind it, by the cell's own backward."""
        return self.vector(self.back(t, self.split(d)).ds)

    def jvp(self, t: int, v: HostArray) -> HostArray:
        """J v of step t for directions v (..., B, N) of the state before it, by a complex step of the forward."""
        moved = tuple(z + 1j * STEP * part for z, part in zip(self.states[t], self.split(v), strict=True))
        return self.vector([np.imag(z) for z in self.step(t, moved)[0]]) / STEP

    def jacobian(self, t: int) -> HostArray:
        """∂s_{t+1}/∂s_t of the whole state, (B, N, N), by columns; the rows by `vjp` are the same."""
        batch, n = self.xs.shape[1], self.size
        units = np.broadcast_to(np.eye(n)[:, None, :], (n, batch, n))
        return np.moveaxis(self.jvp(t, units), 0, 2)

    def _at(self, t: int) -> dict[str, HostArray]:
        return {name: d[t] for name, d in (self.data or {}).items()}
