"""One step of a cell with its derivatives as matrices, taken from its own backward one basis cotangent per copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.subjects.problems import Problem
from rnnbp.numerics import HostArray
from rnnbp.truncation import Window


@dataclass(frozen=True)
class Step:
    """One step of a problem's cell with its derivatives as matrices; states are rows, one state after the other."""

    problem: Problem
    backend: Backend

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of all tensors: parameters, X, initial states."""
        q = self.problem
        return [v.shape for v in (*q.params.values(), q.xs, *q.s0)]

    @property
    def entries(self) -> int:
        """N, of all tensors."""
        return sum(map(prod, self.shapes))

    @property
    def weights(self) -> int:
        """How many of them are parameters."""
        return sum(value.size for value in self.problem.params.values())

    @property
    def per_step(self) -> int:
        """How many of them one step sees besides the state."""
        return self.weights + int(self.problem.xs[0].size)

    @property
    def states(self) -> int:
        """B times the sizes of all states."""
        return sum(z.size for z in self.problem.s0)

    def __call__(self, t: int, s: Sequence[HostArray]) -> tuple[tuple[HostArray, ...], HostArray, HostArray]:
        """The state after step t, ∂s'/∂s (S, S), and ∂s'/∂(parameters, x_t) (S, weights + B I)."""
        q, on = self.problem, self.backend.asarray
        flags = np.ones(q.xs.shape[1], dtype=bool) if q.mask is None else q.mask[t]
        p = {name: on(value, "float64") for name, value in q.params.items()}
        x = np.where(flags[:, None], q.xs[t], 0.0)  # as in `scan`: what pads a sequence may be anything
        e = {name: on(d[t], "float64") for name, d in q.data.items()}
        s1, back = q.cell.step(self.backend.xp, p, on(x, "float64"), tuple(on(z, "float64") for z in s), e)
        dp, dx, ds = back(tuple(on(unit, "float64") for unit in self._units()))
        jacobian = np.concatenate([self._rows(d, z.shape) for d, z in zip(ds, s, strict=True)], axis=1)
        inner = [self._rows(dp.get(name), value.shape) for name, value in q.params.items()]
        inner_t = np.concatenate([*inner, self._rows(dx, x.shape)], axis=1)
        kept = np.concatenate([np.repeat(flags, z[0].size) for z in s])[:, None]
        after = [self.backend.to_numpy(z) for z in s1]
        passed = [flags.reshape(-1, *[1] * (z.ndim - 1)) for z in s]
        state = tuple(np.where(f, new, old) for f, new, old in zip(passed, after, s, strict=True))
        return state, np.where(kept, jacobian, np.eye(self.states)), np.where(kept, inner_t, 0.0)

    def _units(self) -> list[HostArray]:
        """The basis cotangents, (S, B, *shape) for every state."""
        cuts = np.cumsum([z.size for z in self.problem.s0])[:-1]
        parts = np.split(np.eye(self.states), cuts, axis=1)
        return [part.reshape(-1, *z.shape) for part, z in zip(parts, self.problem.s0, strict=True)]

    def _rows(self, gradient: Any, shape: tuple[int, ...]) -> HostArray:
        """What a backward gave for the basis cotangents, (S, entries); None stands for zero."""
        if gradient is None:
            return np.zeros((self.states, prod(shape)))
        return np.broadcast_to(self.backend.to_numpy(gradient), (self.states, *shape)).reshape(self.states, -1)

    def first(self, window: Window) -> HostArray:
        """∂s/∂θ at the start of a window: the initial states for one that begins with the sequence, else nothing."""
        p = np.zeros((self.states, self.entries))
        if window.start == 0:
            p[:, -self.states :] = np.eye(self.states)
        return p

    def add(self, p: HostArray, t: int, inner: HostArray) -> None:
        """P += F of step t, in place: the parameters' columns, and those of x_t."""
        rows, at = self.problem.xs[0].size, self.weights
        p[:, :at] += inner[:, :at]
        p[:, at + t * rows : at + (t + 1) * rows] += inner[:, at:]

    def output_error(self, t: int) -> HostArray:
        """dy_t by the states (S,): the first is the output, zero where step t is masked."""
        q = self.problem
        dy = q.dys[t] if q.mask is None else np.where(q.mask[t][:, None], q.dys[t], 0.0)
        return np.concatenate([dy.ravel(), *(np.zeros(z.size) for z in q.s0[1:])])

    def split(self, flat: HostArray) -> list[HostArray]:
        """One row of all entries as tensors."""
        cuts = np.cumsum([prod(shape) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, cuts), self.shapes, strict=True)]
