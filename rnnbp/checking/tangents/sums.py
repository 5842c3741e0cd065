"""Weighted sums of tangents: what chains of elementwise functions come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from array_api_compat import array_namespace, is_jax_array

from rnnbp.checking.tangents.sparse import Columns, Shape, Tangent, Units, full, lined_up
from rnnbp.checking.tangents.tape import Node, rows_times
from rnnbp.numerics import Array


class Term(NamedTuple):
    """Factor ∘ (columns low … high − 1 of a node's tangent), broadcast."""

    node: Node
    low: int
    high: int
    factor: Any  # an array without copies, or a number


class Matrix(NamedTuple):
    """A matrix of its own for each row: what becomes of several terms that begin with one product."""

    node: Node
    w: Array  # (R, N) or (..., M, R, N)


class Sum(Node):
    """Σ of terms and of rows times matrices, of that shape."""

    def __init__(self, shape: Shape, parts: Sequence[Term | Matrix]) -> None:
        super().__init__(shape, *(part.node for part in parts))
        self.parts = sorted(parts, key=lambda part: isinstance(part, Term))  # a product makes a new array to add to
        self.parents = tuple(part.node for part in self.parts)

    def push(self, tangents: list[Tangent]) -> Tangent:
        pairs = zip(self.parts, tangents, strict=True)
        found = [scaled(p, t) if isinstance(p, Term) else own_rows(p, t) for p, t in pairs if t is not None]
        found = [t for t in found if t is not None]
        if len(found) > 1:
            return added(found, self.shape)
        only = found[0] if found else None
        return only.dense if isinstance(only, Units) and only.shape != self.shape else only


class Contraction(Node):
    """Σ over all axes of terms whose factors have the shape that is summed over: one number per copy."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__((), *(term.node for term in terms))
        self.terms = terms

    def push(self, tangents: list[Tangent]) -> Tangent:
        total: Any = 0.0
        for term, tangent in zip(self.terms, tangents, strict=True):
            if tangent is not None:
                total = total + self._one(term, tangent)
        return None if isinstance(total, float) else total

    def _one(self, term: Term, tangent: Tangent) -> Any:
        factor = term.factor
        if isinstance(tangent, Columns):
            cut = tangent.within(term.low, term.high)
            if cut is None:
                return 0.0
            tangent, factor = cut.part, factor[..., cut.start : cut.stop]
        else:
            tangent = full(tangent, term.node.shape)[..., term.low : term.high]
        xp = array_namespace(tangent)
        shape = tuple(factor.shape)
        tangent = lined_up(tangent, len(shape))
        if tuple(tangent.shape[1:]) != shape:
            tangent = xp.broadcast_to(tangent, (tangent.shape[0], *shape))
        by_row = xp.matmul(rows_first(xp, tangent), factor[..., None])  # (..., M, K, 1)
        return xp.sum(by_row, axis=(*range(by_row.ndim - 2), by_row.ndim - 1))


def rows_first(xp: Any, x: Array) -> Array:
    """(K, ..., M, R) -> (..., M, K, R), a view where the library has them."""
    return xp.permute_dims(x, (*range(1, x.ndim - 1), 0, x.ndim - 1))


def own_rows(part: Matrix, tangent: Tangent) -> Array:
    """Every row times its own matrix, (K, ..., M, R) by (..., M, R, N)."""
    x, w = full(tangent, part.node.shape), part.w
    if w.ndim == 2:
        return rows_times(x, w)
    xp = array_namespace(x)
    y = xp.matmul(rows_first(xp, x), w)  # (..., M, K, N)
    return xp.permute_dims(y, (y.ndim - 2, *range(y.ndim - 2), y.ndim - 1))


def scaled(term: Term, tangent: Tangent) -> Tangent:
    """One term; what is sparse stays so as far as it can."""
    factor, whole = term.factor, (term.low, term.high) == (0, term.node.shape[-1] if term.node.shape else 0)
    if isinstance(tangent, Columns):
        cut = tangent.within(term.low, term.high)
        if cut is None or is_one(factor):
            return cut
        if getattr(factor, "ndim", 0) and factor.shape[-1] != 1:
            factor = factor[..., cut.start : cut.stop]
        return Columns(lined_up(cut.part, getattr(factor, "ndim", 0)) * factor, cut.start, cut.size)
    if isinstance(tangent, Units) and is_one(factor):
        return tangent if whole else tangent.getitem((..., slice(term.low, term.high)))
    array = tangent.dense if isinstance(tangent, Units) else tangent
    if array.ndim > 1 and not whole:
        array = array[..., term.low : term.high]
    return array if is_one(factor) else lined_up(array, getattr(factor, "ndim", 0)) * factor


def is_one(factor: Any) -> bool:
    """Whether a factor is the number 1."""
    return isinstance(factor, (int, float)) and factor == 1


def added(found: list[Tangent], shape: Shape) -> Array:
    """The sum of several tangents (K, *shape)."""
    thick = [t for t in found if not isinstance(t, (Columns, Units))]
    thick += [t.dense for t in found if isinstance(t, Units)]
    thin = [t for t in found if isinstance(t, Columns)]
    if not thick:
        thick, thin = [thin[0].dense], thin[1:]
    total = full(thick[0], shape)
    xp = array_namespace(total)
    total = total + full(thick[1], shape) if len(thick) > 1 else xp.asarray(total, copy=True)
    for more in thick[2:]:
        total += full(more, shape)  # a new array, made above
    for more in thin:
        total = with_columns(total, more.spread(shape))
    return total


def with_columns(total: Array, more: Columns) -> Array:
    """The sum; in place, where arrays can be written to."""
    if is_jax_array(total):
        return total + more.dense
    total[..., more.start : more.stop] += more.part
    return total
