"""The whole Hessian, taken through a hand-written backward by complex steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from typing import TypeAlias

import numpy as np

from rnnbp.checking.methods.numeric import Asked, copies_within
from rnnbp.checking.products import RULE, pushed
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

SAME = 1e-3  # far above the rounding of float32: what takes no copies gives other numbers altogether

Change: TypeAlias = Callable[[HostArray, tuple[int, ...]], HostArray]  # unit tensors, their copies axis -> (copies, N)


def hessian(asked: Asked) -> tuple[HostArray, dict[str, slice]]:
    """The whole Hessian (N, N), and where each tensor is in it: row k is how the gradients change with entry k.

    Perturbed copies go through the backward on a leading axis, as many as `memory` holds; it must hold the matrix, too.
    A backward that takes no copies is run entry by entry. Tensors whose gradients are missing or have another shape are
    left out.
    """
    subject, backend = asked.subject, asked.backend
    given = {name: backend.asarray(value, asked.dtype) for name, value in subject.tensors.items()}
    claimed = subject.gradients(given)
    names = [n for n, v in given.items() if claimed.get(n) is not None and claimed[n].shape == v.shape]
    if not names:
        return np.zeros((0, 0)), {}
    edges = np.cumsum([0, *(subject.tensors[n].size for n in names)])
    entries = int(edges[-1])
    if 16 * entries**2 > asked.memory:
        raise UserError(
            f"method hessian keeps a matrix of {entries} × {entries} numbers, with its transpose "
            f"{16 * entries**2 / 2**20:.3g} MiB, and may take {asked.memory / 2**20:.3g}: "
            "make the sizes smaller, or the memory larger"
        )
    stayed_real: list[bool] = []

    def change(name: str, units: HostArray, lead: tuple[int, ...]) -> HostArray:
        """How all gradients change with a tensor along unit tensors (*lead, *shape): (copies, N)."""
        found = pushed(subject.gradients, given, {name: backend.asarray(units, asked.dtype)})
        stayed_real.append(all(found[n][0] for n in names))
        parts = [np.asarray(backend.to_numpy(found[n][1]), np.float64) for n in names]
        shapes = [(*lead, *given[n].shape) for n in names]
        if any(part.shape not in (want, want[len(lead) :]) for part, want in zip(parts, shapes, strict=True)):
            raise UserError(f"the backward of {subject.name} takes no copies")
        spread = [np.broadcast_to(part, want) for part, want in zip(parts, shapes, strict=True)]
        return np.concatenate([part.reshape(*lead, -1) for part in spread], axis=-1).reshape(-1, entries)

    rows = [_rows(partial(change, name), given[name].shape, _copies(asked, name, entries), asked) for name in names]
    if all(stayed_real):
        raise UserError(f"{RULE}; every gradient of {subject.name} came back real")
    return np.concatenate(rows), {n: slice(int(a), int(b)) for n, (a, b) in zip(names, pairwise(edges), strict=True)}


def _copies(asked: Asked, name: str, entries: int) -> int:
    """How many copies of a tensor fit, each with a backward that keeps its forward, and all its gradients."""
    return max(1, min(copies_within(asked, name) // 4, asked.memory // (64 * entries)))


def _rows(change: Change, shape: tuple[int, ...], copies: int, asked: Asked) -> HostArray:
    """`change` along every unit tensor, `copies` at a time; one by one if that gives something else for the first."""
    size = prod(shape)

    def units(first: int, count: int) -> HostArray:
        """All of one size, for what compiles for each: beyond the last entry they are zero."""
        return np.eye(count, size, first).reshape(count, *shape)

    first = change(units(0, 1)[0], ())
    try:
        some = change(units(0, copies), (copies,))
        scale = np.max(np.abs(first), initial=0.0, where=np.isfinite(first))
        together = np.allclose(some[0], first[0], rtol=0, atol=SAME * scale, equal_nan=True)
    except UserError:
        together = False
    if not together:
        copies, some = 1, first
    found = [some]
    for k in range(copies, size, copies):
        found.append(change(units(k, copies), (copies,)) if together else change(units(k, 1)[0], ()))
        asked.advance(min(copies, size - k))
    asked.advance(min(copies, size))
    return np.concatenate(found)[:size]
