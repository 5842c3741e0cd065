"""A backward is linear: cotangents with leading axes are taken one by one, complex ones in two parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from rnnbp.cellbase import Cell, Params, State
from rnnbp.numerics import Array, Namespace

Gradients: TypeAlias = tuple[dict[str, Array], Array, State]
One: TypeAlias = Callable[[Any, tuple[Any, ...]], Gradients]  # dys (T, B, O), ds_T (B, H) each, or None -> gradients


def copied(cell: Cell, params: Params, xs: Array, s0: State, data: Params) -> bool:
    """Whether any of a scan's arguments has axes beyond its own: a copy of the problem for each entry of these."""
    axes = [(xs, 3), *((params[name], len(spec.shape)) for name, spec in cell.params.items())]
    axes += [*((z, 2) for z in s0), *((d, 3) for d in data.values())]
    return any(a.ndim > own for a, own in axes)


def linear(xp: Namespace, one: One, dys: Array | None, ds_T: Sequence[Array | None]) -> Gradients:
    """What `one`, a backward of real cotangents without copies, gives for any."""
    given = [dys, *ds_T]
    if any(d is not None and d.dtype.kind == "c" for d in given):
        real = linear(xp, one, *_first_and_rest([None if d is None else d.real for d in given]))
        complex_ones = [None if d is None or d.dtype.kind != "c" else d.imag for d in given]
        return _join([real, linear(xp, one, *_first_and_rest(complex_ones))], lambda parts: parts[0] + 1j * parts[1])
    trailing = [3, *(2 for _ in ds_T)]
    pairs = list(zip(given, trailing, strict=True))
    lead = np.broadcast_shapes(*(d.shape[: d.ndim - n] for d, n in pairs if d is not None))
    if not lead:
        return one(dys, tuple(ds_T))
    wide = [None if d is None else _flat(xp, d, lead, n) for d, n in pairs]
    each = [one(*_first_and_rest([None if d is None else d[k] for d in wide])) for k in range(prod(lead))]
    return _join(each, lambda parts: xp.stack(parts).reshape(*lead, *parts[0].shape))


def _first_and_rest(given: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    return given[0], tuple(given[1:])


def _flat(xp: Namespace, d: Array, lead: tuple[int, ...], trailing: int) -> Array:
    """All leading axes as one."""
    ending = d.shape[d.ndim - trailing :]
    return xp.broadcast_to(d, (*lead, *ending)).reshape(-1, *ending)


def _join(each: list[Gradients], how: Callable[[list[Array]], Array]) -> Gradients:
    """Gradients of several runs, made one."""
    dp = {name: how([found[0][name] for found in each]) for name in each[0][0]}
    dxs = how([found[1] for found in each])
    return dp, dxs, tuple(how(list(parts)) for parts in zip(*(found[2] for found in each), strict=True))
