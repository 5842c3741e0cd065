"""A forward as linear maps between tangents: what is left of it once its values are known.

A node is the tangent of one array of the forward, made by `push` from those of its parents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from array_api_compat import array_namespace, device

from rnnbp.checking.tangents.sparse import Columns, Shape, Tangent, Units, full, lined_up, shifted
from rnnbp.numerics import Array


class Node(ABC):
    """The tangent of an array of that shape, a linear function of its parents'."""

    def __init__(self, shape: Shape, *parents: Node) -> None:
        self.shape, self.parents = tuple(shape), parents

    @abstractmethod
    def push(self, tangents: list[Tangent]) -> Tangent:
        """The tangent, from those of the parents, of which one at least is not zero."""


class Input(Node):
    """What is differentiated by: its tangent is given."""

    def push(self, tangents: list[Tangent]) -> Tangent:
        raise TypeError(f"the tangent of an input is given; got {tangents}")


class Product(Node):
    """X w, with w (..., R, N) known; one GEMM for all copies where w is a plain matrix."""

    def __init__(self, shape: Shape, x: Node, w: Array) -> None:
        super().__init__(shape, x)
        self.w = w

    def push(self, tangents: list[Tangent]) -> Tangent:
        return rows_times(full(tangents[0], self.parents[0].shape), self.w)


class LeftProduct(Node):
    """A w, with a (..., M, R) known; a unit of w picks one column of a, and no matrices are multiplied."""

    def __init__(self, shape: Shape, a: Array, w: Node) -> None:
        super().__init__(shape, w)
        self.a = a

    def push(self, tangents: list[Tangent]) -> Tangent:
        (w,) = tangents
        if isinstance(w, Units) and len(w.shape) == 2:
            return w.after(self.a)
        return array_namespace(self.a).matmul(self.a, lined_up(full(w, self.parents[0].shape), self.a.ndim))


class Reshaped(Node):
    """The same entries in another shape."""

    def push(self, tangents: list[Tangent]) -> Tangent:
        (x,), shape = tangents, self.parents[0].shape
        if isinstance(x, Units):
            return x.reshape(self.shape)
        if isinstance(x, Columns):
            return x.spread(shape).reshape(self.shape)
        x = full(x, shape)
        return array_namespace(x).reshape(x, (x.shape[0], *self.shape))


class Item(Node):
    """What indexing takes."""

    def __init__(self, shape: Shape, x: Node, key: Any) -> None:
        super().__init__(shape, x)
        self.key = key

    def push(self, tangents: list[Tangent]) -> Tangent:
        (x,), shape = tangents, self.parents[0].shape
        if isinstance(x, Units):
            return x.getitem(self.key)
        if isinstance(x, Columns):
            return x.spread(shape).getitem(self.key)
        return full(x, shape)[shifted(self.key)]


class Moved(Node):
    """Entries moved, copied or added up by `call`, which takes the tangents of all parents as arrays."""

    def __init__(self, shape: Shape, call: Callable[..., Array], *parents: Node) -> None:
        super().__init__(shape, *parents)
        self.call = call

    def push(self, tangents: list[Tangent]) -> Tangent:
        known = [None if t is None else full(t, p.shape) for t, p in zip(tangents, self.parents, strict=True)]
        some = next(t for t in known if t is not None)
        xp, copies = array_namespace(some), some.shape[0]
        blank = {"dtype": some.dtype, "device": device(some)}
        pairs = zip(known, self.parents, strict=True)
        return self.call(*(xp.zeros((copies, *p.shape), **blank) if t is None else t for t, p in pairs))


def rows_times(x: Array, w: Array) -> Array:
    """X w for x (K, ..., M, R): one GEMM if w is (R, N); for w (..., M, R, N), a matrix of its own for each row."""
    xp = array_namespace(x)
    if w.ndim == 2:
        return xp.reshape(xp.matmul(xp.reshape(x, (-1, x.shape[-1])), w), (*x.shape[:-1], w.shape[-1]))
    return xp.matmul(lined_up(x, w.ndim), w)


def replay(tape: Sequence[Node], seeds: Mapping[Node, Tangent]) -> Tangent:
    """The tangent of the last node of a tape, in which every node stands behind its parents."""
    last_use = {parent: k for k, node in enumerate(tape) for parent in node.parents}
    known: dict[Node, Tangent] = dict(seeds)
    for k, node in enumerate(tape):
        if node in known:
            continue
        tangents = [known.get(parent) for parent in node.parents]
        known[node] = None if all(t is None for t in tangents) else node.push(tangents)
        for parent in node.parents:
            if last_use[parent] == k:
                known.pop(parent, None)
    return known[tape[-1]]


def schedule(end: Node, inputs: Sequence[Node]) -> list[Node]:
    """The nodes by which the end depends on the inputs, each behind its parents; empty if it does not."""
    depends: dict[Node, bool] = {}
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(end, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            depends[node] = node in inputs or any(depends[p] for p in node.parents)
            order += [node] if depends[node] else []
        elif node not in depends:
            depends[node] = False
            stack.append((node, True))
            stack += [(p, False) for p in node.parents if p not in depends]
    return order if depends[end] else []
