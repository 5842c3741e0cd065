"""Tangents that are zero almost everywhere, held by what is not zero; K copies, as on the first axis of a dense one."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.numerics import Array, HostArray, Namespace, zeros

Shape: TypeAlias = tuple[int, ...]
Tangent: TypeAlias = Any  # None for zero, an array (K, *shape) or one that broadcasts to it, Units or Columns


class Units:
    """Copy k is one at entry k of `entries`, flat in a tensor of that shape, and zero elsewhere; all zero for −1."""

    def __init__(self, backend: Backend, entries: HostArray, shape: Shape) -> None:
        self.backend, self.entries, self.shape = backend, entries, shape

    @cached_property
    def dense(self) -> Array:
        """The same as an array (K, *shape)."""
        units = np.zeros((len(self.entries), prod(self.shape)))
        alive = np.flatnonzero(self.entries >= 0)
        units[alive, self.entries[alive]] = 1.0
        return self.backend.asarray(units.reshape(-1, *self.shape), "float64")

    def reshape(self, shape: Shape) -> Units:
        """The same entries, counted in another shape."""
        return Units(self.backend, self.entries, shape)

    def getitem(self, key: Any) -> Tangent:
        """The part that basic indexing takes."""
        taken = np.arange(prod(self.shape)).reshape(self.shape)[key]
        place = np.full(prod(self.shape) + 1, -1)  # the last one is where −1 looks
        place[taken.reshape(-1)] = np.arange(taken.size)
        entries = place[self.entries]
        return Units(self.backend, entries, taken.shape) if np.any(entries >= 0) else None

    def after(self, a: Array) -> Columns:
        """A @ units, (..., M, R) @ (R, N): column i_k of A, standing at column j_k."""
        xp, (rows, flags, start) = self.backend.xp, self._rows_and_flags
        picked = xp.permute_dims(xp.take(a, rows, axis=-1), (a.ndim - 1, *range(a.ndim - 1)))[
            ..., None
        ]  # (K, ..., M, 1)
        flags = xp.reshape(flags, (-1, *[1] * (a.ndim - 1), flags.shape[-1]))
        return Columns(xp, picked * flags, start, self.shape[-1])

    @cached_property
    def _rows_and_flags(self) -> tuple[Array, Array, int]:
        """Each copy's row in the matrix, its column among those of all copies (K, w), and where these start."""
        alive = self.entries >= 0
        rows, columns = np.divmod(np.where(alive, self.entries, 0), self.shape[-1])
        low, high = columns[alive].min(), columns[alive].max()
        flags = alive[:, None] & (columns[:, None] == np.arange(low, high + 1))
        return self.backend.asarray(rows), self.backend.asarray(flags.astype(np.float64)), int(low)


class Columns:
    """A tangent (K, ..., N) that is zero outside the columns start … start + w − 1: part (K, ..., w)."""

    def __init__(self, xp: Namespace, part: Array, start: int, size: int) -> None:
        self.xp, self.part, self.start, self.size = xp, part, start, size
        self.stop: int = start + part.shape[-1]

    @property
    def dense(self) -> Array:
        """The same as an array (K, ..., N)."""
        blank = [zeros(self.xp, (*self.part.shape[:-1], n), self.part) for n in (self.start, self.size - self.stop)]
        return self.xp.concat([blank[0], self.part, blank[1]], axis=-1)

    def _with(self, part: Array) -> Columns:
        return Columns(self.xp, part, self.start, self.size)

    def spread(self, shape: Shape) -> Columns:
        """Leading axes broadcast to those of a value of that shape."""
        wide = (self.part.shape[0], *shape[:-1], self.part.shape[-1])
        if tuple(self.part.shape) == wide:
            return self
        return self._with(self.xp.broadcast_to(lined_up(self.xp, self.part, len(shape)), wide))

    def reshape(self, shape: Shape) -> Tangent:
        """Leading axes in another shape; a last axis that changes makes it dense."""
        if shape[-1:] != (self.size,):
            return self.xp.reshape(self.dense, (self.part.shape[0], *shape))
        return self._with(self.xp.reshape(self.part, (self.part.shape[0], *shape[:-1], self.part.shape[-1])))

    def getitem(self, key: Any) -> Tangent:
        """The part that basic indexing of leading axes takes; other keys make it dense."""
        return self._with(self.part[shifted(key)]) if keeps_last(key, self.part.ndim - 1) else self.dense[shifted(key)]

    def within(self, low: int, high: int) -> Columns | None:
        """The columns low … high − 1 of the tangent."""
        first, last = max(low, self.start), min(high, self.stop)
        if first >= last:
            return None
        part = self.part[..., first - self.start : last - self.start]
        return Columns(self.xp, part, first - low, high - low)

    def times(self, factor: Any) -> Columns:
        """Multiplied by a number, or by an array that broadcasts with values."""
        ndim = getattr(factor, "ndim", 0)
        if ndim and factor.shape[-1] != 1:
            factor = factor[..., self.start : self.stop]
        return self._with(lined_up(self.xp, self.part, ndim) * factor)


def keeps_last(key: Any, ndim: int) -> bool:
    """Whether an index takes the whole last axis of an array, and leaves it the last."""
    return isinstance(key, tuple) and key[-1:] == (slice(None),) and (... in key or len(key) - key.count(None) == ndim)


def shifted(key: Any) -> tuple[Any, ...]:
    """The key that takes the same with an axis of copies in front."""
    return (slice(None), *key) if isinstance(key, tuple) else (slice(None), key)


def lined_up(xp: Namespace, tangent: Array, ndim: int) -> Array:
    """A dense tangent of a value with fewer axes, made to broadcast with values of `ndim` axes."""
    short = 1 + ndim - tangent.ndim
    return tangent if short <= 0 else xp.reshape(tangent, (tangent.shape[0], *[1] * short, *tangent.shape[1:]))


def full(xp: Namespace, tangent: Tangent, shape: Shape) -> Array:
    """A tangent that is not zero as an array (K, *shape)."""
    array = tangent.dense if isinstance(tangent, (Units, Columns)) else tangent
    wide = (array.shape[0], *shape)
    return array if tuple(array.shape) == wide else xp.broadcast_to(lined_up(xp, array, len(shape)), wide)
