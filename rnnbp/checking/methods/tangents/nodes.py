"""The linear maps that a forward leaves between tangents, once its values are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from array_api_compat import device

from rnnbp.checking.methods.tangents.sparse import Columns, Shape, Tangent, Units, full, lined_up, shifted
from rnnbp.numerics import Array, Namespace


class Node(ABC):
    """The tangent of an array of that shape, a linear function of its parents'."""

    def __init__(self, shape: Shape, *parents: Node) -> None:
        self.shape, self.parents = tuple(shape), parents

    @abstractmethod
    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        """The tangent, from those of the parents, of which one at least is not zero."""


class Input(Node):
    """What is differentiated by: its tangent is given."""

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        del xp, tangents
        raise TypeError("the tangent of an input is given")


class Product(Node):
    """X w, with w (..., R, N) known; one GEMM for all copies where w is a plain matrix."""

    def __init__(self, shape: Shape, x: Node, w: Array) -> None:
        super().__init__(shape, x)
        self.w = w

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        return rows_times(xp, full(xp, tangents[0], self.parents[0].shape), self.w)


class LeftProduct(Node):
    """A w, with a (..., M, R) known; a unit of w picks one column of a, and no matrices are multiplied."""

    def __init__(self, shape: Shape, a: Array, w: Node) -> None:
        super().__init__(shape, w)
        self.a = a

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        (w,) = tangents
        if isinstance(w, Units) and len(w.shape) == 2:
            return w.after(self.a)
        if isinstance(w, Columns):
            return Columns(xp, xp.matmul(self.a, lined_up(xp, w.part, self.a.ndim)), w.start, self.shape[-1])
        return xp.matmul(self.a, lined_up(xp, full(xp, w, self.parents[0].shape), self.a.ndim))


class Reshaped(Node):
    """The same entries in another shape."""

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        (x,), shape = tangents, self.parents[0].shape
        if isinstance(x, Units):
            return x.reshape(self.shape)
        if isinstance(x, Columns):
            return x.spread(shape).reshape(self.shape)
        return xp.reshape(full(xp, x, shape), (x.shape[0], *self.shape))


class Item(Node):
    """What indexing takes. A part without a single entry is zero: states before an input's own step need no work."""

    def __init__(self, shape: Shape, x: Node, key: Any) -> None:
        super().__init__(shape, x)
        self.key = key

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        (x,), shape = tangents, self.parents[0].shape
        if isinstance(x, Units):
            return x.getitem(self.key)
        if isinstance(x, Columns):
            return x.spread(shape).getitem(self.key)
        part = full(xp, x, shape)[shifted(self.key)]
        return part if bool(xp.any(part != 0)) else None


class Moved(Node):
    """Entries moved, copied or added up by `call`, which takes the tangents of all parents as arrays."""

    def __init__(self, shape: Shape, call: Callable[..., Array], *parents: Node) -> None:
        super().__init__(shape, *parents)
        self.call = call

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        known = [None if t is None else full(xp, t, p.shape) for t, p in zip(tangents, self.parents, strict=True)]
        some = next(t for t in known if t is not None)
        like: dict[str, Any] = {"dtype": some.dtype, "device": device(some)}
        pairs = zip(known, self.parents, strict=True)
        return self.call(*(xp.zeros((some.shape[0], *p.shape), **like) if t is None else t for t, p in pairs))


def rows_times(xp: Namespace, x: Array, w: Array) -> Array:
    """X w for x (K, ..., M, R): one GEMM if w is (R, N), else a product for each of the leading indices of w."""
    if w.ndim == 2:
        return xp.reshape(xp.matmul(xp.reshape(x, (-1, x.shape[-1])), w), (*x.shape[:-1], w.shape[-1]))
    return xp.matmul(lined_up(xp, x, w.ndim), w)
