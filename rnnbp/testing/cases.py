"""A cell's random problem on a backend, run in several ways, and how two of its results are compared."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, Params, State
from rnnbp.checking.methods.tolerances import tolerance
from rnnbp.checking.metric import compare
from rnnbp.checking.subjects.problems import draw, tensor_names
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import reference, scan
from rnnbp.truncation import Window
from rnnbp.unrolling import unroll

T, B = 5, 3
TOLERANCE = tolerance("complex-step", "float64").value  # that of `rnnbp.gradcheck`: two right results are far below it


class LeftOut(unittest.SkipTest):
    """A check that says nothing about this cell here; pytest counts it as skipped."""


@dataclass(frozen=True)
class Case:
    """A cell, all that its scan is given and the cotangents of all that it returns, as arrays of one backend."""

    cell: Cell
    backend: Backend
    params: Params
    xs: Array  # (T, B, I)
    s0: State
    data: Params  # (T, B, *shape)
    dys: Array  # (T, B, O)
    ds_T: State

    def scan(self, **options: Any) -> Any:
        """Ys, the last state and the backward, by the backend's or the cell's own scan where there is one."""
        data = self.data or None
        return scan(self.cell, self.params, self.xs, self.s0, data=data, backend=self.backend, **options)

    def portable(self, **options: Any) -> Any:
        """The same without the backend's scan: by the cell's own where there is one."""
        return reference(*self._given, **self._usual | options)

    def loop(self, **options: Any) -> Any:
        """The same by the plain loop over time."""
        return unroll(*self._given, **self._usual | options)

    @property
    def _given(self) -> tuple[Any, ...]:
        return self.backend.xp, self.cell, self.params, self.xs, self.s0

    @property
    def _usual(self) -> dict[str, Any]:
        flags = {"mask": None, "resets": None, "reverse": False, "record": False, "keep": True}
        return {**flags, "data": self.data or None}

    def results(
        self, way: Callable[..., Any] | None = None, window: Window | None = None, **options: Any
    ) -> dict[str, Array]:
        """Everything by name: ys, the last states h_T …, and the gradients dW …, dX, dh0 … of Σ ys∘dys + Σ s_T∘ds_T."""
        ys, s_T, backward = (way or self.scan)(**options)
        return self.outputs(ys, s_T) | self.named(*backward(self.dys, self.ds_T, window))

    def on_host(self, **options: Any) -> dict[str, HostArray]:
        """The same as host arrays."""
        return {name: np.asarray(self.backend.to_numpy(a)) for name, a in self.results(**options).items()}

    def outputs(self, ys: Array, s_T: State) -> dict[str, Array]:
        """What a forward returns, by name."""
        return {"ys": ys} | {f"{state}_T": z for state, z in zip(self.cell.states, s_T, strict=True)}

    def named(self, dparams: Params, dxs: Array, ds0: State) -> dict[str, Array]:
        """What a backward returns, by name."""
        _, s0_names = tensor_names(self.cell)
        firsts = {f"d{name}": d for name, d in zip(s0_names, ds0, strict=True)}
        return {f"d{name}": d for name, d in dparams.items()} | {self.dX: dxs} | firsts

    @property
    def dX(self) -> str:
        """The name of the inputs' gradient: dX, unless a parameter is named X."""
        return f"d{tensor_names(self.cell)[0]}"

    def steps(self, start: int, stop: int) -> Case:
        """The same with these steps only; the states are as they were."""
        data = {name: d[start:stop, ...] for name, d in self.data.items()}
        return replace(self, xs=self.xs[start:stop, ...], data=data, dys=self.dys[start:stop, ...])

    def differ(self, found: Mapping[str, Array], wanted: Mapping[str, Array], what: str) -> str:
        """The worst of all tensors that are not the same to rounding, in words; empty if all are."""
        host = self.backend.to_numpy
        return difference({n: host(a) for n, a in found.items()}, {n: host(a) for n, a in wanted.items()}, what)


def difference(found: Mapping[str, HostArray], wanted: Mapping[str, HostArray], what: str) -> str:
    """The worst of all host arrays that are not the same to rounding, in words; empty if all are."""
    worst, said = TOLERANCE, ""
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return f"{name} {what} has shape {found[name].shape}, not {value.shape}"
        d = compare(found[name], value)
        if not d.error <= worst:  # NaN is not
            entry = f"{name}[{', '.join(map(str, d.index))}]"
            worst, said = d.error, f"{entry} {what} is {d.analytic:.10g}, not {d.numeric:.10g}: error {d.error:.1e}"
            if np.isnan(d.error):
                return said
    return said


def case(cell: Cell, backend: Backend, dtype: str = "float64", seed: int = 0, batch: int = B) -> Case:
    """The problem of that seed, its numbers being ones that `dtype` holds."""
    problem = draw(cell, T, batch, seed, dtype, padded=False)

    def move(value: Any) -> Array:
        return backend.asarray(value, dtype)

    return Case(
        cell,
        backend,
        params={name: move(value) for name, value in problem.params.items()},
        xs=move(problem.xs),
        s0=tuple(map(move, problem.s0)),
        data={name: move(value) for name, value in problem.data.items()},
        dys=move(problem.dys),
        ds_T=tuple(map(move, problem.ds_T)),
    )


def flags(backend: Backend, *where: tuple[int, int], inverted: bool = False) -> Array:
    """(T, B): true there and nowhere else, or the other way round."""
    host = np.zeros((T, B), dtype=bool)
    host[tuple(np.transpose(where))] = True
    return backend.asarray(~host if inverted else host)


def mask(backend: Backend) -> Array:
    """One sequence starts late, one has a hole, one ends early."""
    return flags(backend, (0, 0), (2, 1), (3, 2), (4, 2), inverted=True)


def resets(backend: Backend) -> Array:
    """Before the first step, twice in a row, and before the last."""
    return flags(backend, (0, 1), (1, 1), (2, 0), (4, 2))
