"""What a scan in generated kernels works on: the caller's arrays laid out for kernels, and what the forward leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnnbp.cellbase import Params, State
from rnnbp.fastpath import copied
from rnnbp.lowering import Untraceable
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseCell
from rnnbp_cupy.devices import Device
from rnnbp_cupy.dialect import REAL
from rnnbp_cupy.generating import Kernels, kernels


@dataclass(frozen=True, eq=False)
class Problem:
    """A scan's arguments, laid out row by row, and the numbers that follow from them."""

    device: Device
    cell: PointwiseCell
    kernels: Kernels
    params: Params
    xs: Array  # (T, B, I), blank where masked
    s0: State
    mask: Array | None
    resets: Array | None
    data: Mapping[str, Array]
    start: Mapping[str, Array]  # the initial state, for resets
    reverse: bool
    keep: bool

    @property
    def xp(self) -> Namespace:
        """The device's array library."""
        return self.device.xp

    @property
    def real(self) -> str:
        """The dtype of all arithmetic, of the states and of sums."""
        return self.kernels.real

    @cached_property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, B, I, H."""
        return (*self.xs.shape, self.cell.hidden_size)

    def time(self, k: int) -> int:
        """The time step that is the k-th to be run; −1 if there is none."""
        steps = self.sizes[0]
        return -1 if not 0 <= k < steps else steps - 1 - k if self.reverse else k

    def slot(self, k: int) -> int:
        """Where the state lies that the k-th step starts from, and the one before it leaves."""
        if not self.keep:
            return k % 2
        return self.sizes[0] - k if self.reverse else k

    def launcher(self, which: str, arrays: Mapping[str, Array | None]) -> Callable[..., None]:
        """A kernel on arrays by their keys, as a function of the numbers of a step."""
        kernel = self.kernels.forward if which == "forward" else self.kernels.backward
        _, batch, _, n = self.sizes
        launch = self.device.launcher(self.kernels, kernel, batch * n, [arrays[key] for key in kernel.arrays])
        return lambda *numbers: launch(batch, n, *numbers)

    @cached_property
    def given(self) -> dict[str, Array | None]:
        """The arrays that both kernels may read, by their keys."""
        given = {"mask": self.mask, "resets": self.resets, "bias": self.wide("b") if self.cell.bias else None}
        given |= {f"parameter {name}": self.wide(name) for name in self.cell.elementwise}
        given |= {f"data {name}": d for name, d in self.data.items()}
        return given | {f"start {name}": self.start.get(name) for name in self.cell.states}

    def drop(self, state: str, k: int) -> Array | None:
        """What multiplies a state before U does at the k-th step, (B, H); None for nothing."""
        name = self.cell.dropped.get(state)
        return None if name is None else self.data[name][self.time(k)].astype(self.real, copy=False)

    def wide(self, name: str) -> Array:
        """A parameter in the dtype of the arithmetic."""
        return self.params[name].astype(self.real, copy=False)


@dataclass(frozen=True, eq=False)
class Left:
    """What a forward leaves for its backward."""

    xw: Array  # (T, B, GH): x W, written over with the kept values
    extra: Array | None  # (T, B, E, H)
    states: Mapping[str, Array]  # (T+1, B, H) each, by slot
    context: Array | None  # (T+1, B, R), by slot: what U multiplies


def problem_of(
    device: Device,
    cell: Any,
    params: Params,
    xs: Array,
    s0: State,
    *,
    mask: Array | None,
    resets: Array | None,
    data: Params | None,
    reverse: bool,
    record: bool,
    keep: bool,
) -> Problem | None:
    """The problem as kernels take it, or None: a record, copies, complex numbers, a cell that has no kernels."""
    xp, dtype, data = device.xp, xs.dtype, data or {}
    try:
        found = kernels(cell, dtype.name) if dtype.name in REAL and not record else None
    except Untraceable:
        found = None
    arrays = [*params.values(), *s0, *data.values()]
    if found is None or copied(cell, params, xs, s0, data) or any(a.dtype != dtype for a in arrays):
        return None
    if xs.shape[1] * cell.hidden_size >= 2**31:  # kernels count units with 32 bits
        return None
    if mask is not None:  # what pads a sequence may be anything: a NaN there, times an error of zero, would be NaN
        xs = xp.where(mask[:, :, None], xs, xp.zeros_like(xs))
    rows: Callable[[Array], Array] = xp.ascontiguousarray
    start = cell.initial_state(xp, xs.shape[1], xs) if resets is not None else ()
    return Problem(
        device,
        cell,
        found,
        params={name: rows(p) for name, p in params.items()},
        xs=rows(xs),
        s0=s0,
        mask=None if mask is None else rows(mask),
        resets=None if resets is None else rows(resets),
        data={name: rows(d) for name, d in data.items()},
        start={name: rows(z.astype(REAL[dtype.name])) for name, z in zip(cell.states, start, strict=False)},
        reverse=reverse,
        keep=keep,
    )
