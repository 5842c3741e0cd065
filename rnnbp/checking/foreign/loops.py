"""A function's loop over time made again, one step at a time, so that a tensor can be perturbed at one step alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.checking.foreign.calls import OWN, Foreign
from rnnbp.checking.foreign.noise import measured
from rnnbp.checking.foreign.slopes import Point, Slopes
from rnnbp.checking.foreign.structures import described, host, is_array
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

SAME, SAME_SINGLE = (
    1e-10,
    1e-4,
)  # a loop and fn differ by no more, of the largest output, in double and single precision


@dataclass(frozen=True)
class Loop:
    """step(state, t, inputs…) -> (next state, output at t), from the state `s0` on."""

    foreign: Foreign
    step: Callable[..., Any]
    s0: Any  # arrays in any structure of tuples, lists and mappings, or a function of the inputs that gives them
    axis: int  # of fn's first output: time

    def outputs(self, points: Sequence[Point], dtype: str) -> list[HostArray]:
        """The output at each step t, which is given the inputs at points[t]; the first state those at points[0]."""
        found, state = [], None
        made: dict[tuple[int, ...], Mapping[str, Any]] = {}  # most steps are given the same
        for t, point in enumerate(points):
            same = tuple(map(id, point.values()))
            if same not in made:
                made[same] = self.foreign.arguments(point, dtype)
            given = made[same]
            state = state if t else self._first(given, dtype)
            answer = self.foreign.call(self.step, given, state, t)
            if not isinstance(answer, (tuple, list)) or len(answer) != 2:
                raise UserError(f"step must return (next state, output at t); got {described(answer)}")
            state, y = answer
            found.append(host(y, "the output of step"))
        return found

    def slopes(self, cotangent: HostArray, of_fn: Slopes, seed: int) -> Slopes:
        """The slopes of the losses at each step, by each tensor at each step (`used`); refused if the loop is not fn's.

        As with fn itself, the loss at t is Σ y_t∘c_t, c being the cotangent of fn's first output.
        """
        cs, inputs = np.moveaxis(cotangent, self.axis, 0), self.foreign.inputs.point
        steps = range(len(cs))

        def losses(point: Point, dtype: str) -> HostArray:
            ys = self.outputs([{name: point[used(name, t)] for name in inputs} for t in steps], dtype)
            return np.array([np.sum(y * c) for y, c in zip(ys, cs, strict=True)])

        ys = self._verified(of_fn, len(cs))
        sizes = np.array([np.linalg.norm(y * c) for y, c in zip(ys, cs, strict=True)])
        point = {used(name, t): value for t in steps for name, value in inputs.items()}
        return measured(losses, point, sizes, of_fn.why_own, seed)

    def _verified(self, of_fn: Slopes, steps: int) -> list[HostArray]:
        point = self.foreign.inputs.point
        wanted = np.moveaxis(self.foreign.values(point, of_fn.dtype)[0], self.axis, 0)
        found = self.outputs([point] * steps, of_fn.dtype)
        limit = SAME if of_fn.precise else SAME_SINGLE
        for t, (y, want) in enumerate(zip(found, wanted, strict=True)):
            if y.shape != want.shape:
                raise UserError(f"step does not give fn's value: at t = {t} its shape is {y.shape}, of fn {want.shape}")
            off = float(np.max(np.abs(y - want), initial=0.0) / max(np.max(np.abs(wanted)), np.finfo(float).tiny))
            if not off <= limit:
                raise UserError(
                    f"step does not give fn's value: at t = {t} they differ by {off:.1e} of the largest: "
                    "check step, and s0 where that is t = 0"
                )
        return found

    def _first(self, given: Mapping[str, Any], dtype: str) -> Any:
        return self.foreign.call(self.s0, given) if callable(self.s0) else self._cast(self.s0, dtype)

    def _cast(self, state: Any, dtype: str) -> Any:
        """The state with its arrays copied, those of a floating dtype in the one that is asked for."""
        if isinstance(state, (tuple, list)):
            parts = [self._cast(part, dtype) for part in state]
            return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
        if isinstance(state, Mapping):
            return {key: self._cast(part, dtype) for key, part in state.items()}
        if not is_array(state) or isinstance(state, float):
            return state
        value, own = np.array(host(state, "s0")), str(state.dtype).rpartition(".")[2]
        if "float" not in own:
            return self.foreign.backend.asarray(value)
        return self.foreign.backend.asarray(value, own if dtype == OWN else dtype)


def used(name: str, t: int) -> str:
    """What the slopes of a loop call a tensor at step t."""
    return f"{name}@{t}"
