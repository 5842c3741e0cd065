"""A problem run once on a backend's own arrays: what comes out, and the gradients by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rnnbp.checking.problems import Problem, tensor_names
from rnnbp.checking.verdicts import Setting
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import scan

Make: TypeAlias = Callable[[HostArray], Array]  # a host array, floating or boolean -> one of the backend


class Trial:
    """The forward of a problem through `rnnbp.scan`, with inputs and cotangents that `make` made of the host's.

    hosts and given hold them all by name, `tensors` names those that have a gradient; ys and s_T are the outputs.
    """

    def __init__(self, problem: Problem, how: Setting, make: Make) -> None:
        self.problem, self.how, self.make = problem, how, make
        q, cell = problem, problem.cell
        self.xs_name, self.s0_names = tensor_names(cell)
        data, last = {f"data {n}": n for n in cell.data}, [f"ds_T {n}" for n in cell.states]
        self.hosts = {**q.params, self.xs_name: q.xs, **dict(zip(self.s0_names, q.s0, strict=True))}
        self.tensors = tuple(self.hosts)
        self.hosts |= {said: q.data[n] for said, n in data.items()} | ({} if q.mask is None else {"mask": q.mask})
        self.hosts |= {"dys": q.dys, **dict(zip(last, q.ds_T, strict=True))}
        self.given = given = {n: make(v) for n, v in self.hosts.items()}
        self.dys, self.ds_T = given["dys"], tuple(given[n] for n in last)
        s0, params = tuple(given[n] for n in self.s0_names), {n: given[n] for n in q.params}
        options: dict[str, Any] = {"mask": given.get("mask"), "data": {n: given[said] for said, n in data.items()}}
        self.ys, self.s_T, self._pull = scan(cell, params, given[self.xs_name], s0, backend=how.backend, **options)

    @property
    def rounding(self) -> float:
        """What equal gradients may differ by, relative to their norm: half of the digits, √eps. Sums that cancel lose
        some of the others, and what is not equal is off by far more.
        """
        return float(np.sqrt(np.finfo(self.how.dtype).eps))

    def backward(self, dys: Array | None, ds_T: tuple[Array | None, ...] | None) -> dict[str, Array]:
        """The gradients by the names of their tensors."""
        dp, dxs, ds = self._pull(dys, ds_T)
        return {**dp, self.xs_name: dxs, **dict(zip(self.s0_names, ds, strict=True))}

    def of(self, dys: HostArray | None, ds_T: Any) -> dict[str, HostArray]:
        """The gradients for cotangents from the host, each of which may be None, as host arrays."""

        def made(d: HostArray | None) -> Array | None:
            return None if d is None else self.make(d)

        found = self.backward(made(dys), None if ds_T is None else tuple(map(made, ds_T)))
        return {n: np.asarray(self.how.backend.to_numpy(d)) for n, d in found.items()}


def owned(how: Setting) -> Make:
    """Arrays that nobody else holds and that may be written to, floating ones in the dtype that is checked."""
    return lambda value: how.backend.asarray(np.array(value, dtype=_dtype(value, how)))


def read_only(how: Setting) -> Make:
    """Arrays that cannot be written to, where the library has such (NumPy's, and all of JAX's)."""

    def make(value: HostArray) -> Array:
        host = np.array(value, dtype=_dtype(value, how))
        host.flags.writeable = False
        return how.backend.asarray(host)

    return make


def strided(how: Setting) -> Make:
    """Views whose entries lie apart, and the last axis slowest, where the library has views."""
    xp, make = how.backend.xp, owned(how)

    def spread(value: HostArray) -> Array:
        turned = make(np.ascontiguousarray(value.T))  # np.array keeps the order that it finds
        apart = xp.stack([turned, xp.zeros_like(turned)], axis=-1)[..., 0]
        return xp.permute_dims(apart, tuple(reversed(range(value.ndim))))

    return spread


def _dtype(value: HostArray, how: Setting) -> str:
    return "bool" if value.dtype == bool else how.dtype
