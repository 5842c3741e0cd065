"""Weighted sums of tangents: what chains of elementwise functions come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from array_api_compat import is_jax_array

from rnnbp.checking.methods.tangents.nodes import Node, rows_times
from rnnbp.checking.methods.tangents.sparse import Columns, Shape, Tangent, Units, full, lined_up
from rnnbp.numerics import Array, Namespace


class Term(NamedTuple):
    """Factor ∘ (columns low … high − 1 of a node's tangent), broadcast."""

    node: Node
    low: int
    high: int
    factor: Any  # an array without copies, or a number

    @property
    def whole(self) -> bool:
        """Whether it takes all columns."""
        return not self.node.shape or (self.low, self.high) == (0, self.node.shape[-1])


class Matrix(NamedTuple):
    """A matrix of its own for each row: what becomes of several terms that begin with one product."""

    node: Node
    w: Array  # (R, N) or (..., M, R, N)


class Sum(Node):
    """Σ of terms and of rows times matrices, of that shape."""

    def __init__(self, shape: Shape, parts: Sequence[Term | Matrix]) -> None:
        self.parts = sorted(parts, key=lambda part: isinstance(part, Term))  # a product makes a new array to add to
        super().__init__(shape, *(part.node for part in self.parts))

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        pairs = [(part, t) for part, t in zip(self.parts, tangents, strict=True) if t is not None]
        made = [scaled(xp, p, t) if isinstance(p, Term) else own_rows(xp, p, t) for p, t in pairs]
        found = [t for t in made if t is not None]
        if len(found) > 1:
            return added(xp, found, self.shape)
        only = found[0] if found else None
        return only.dense if isinstance(only, Units) and only.shape != self.shape else only


class Contraction(Node):
    """Σ over all axes of terms, whose factors have the shape that is summed over: one number per copy."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__((), *(term.node for term in terms))
        self.terms = terms

    def push(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        by_row = self._by_row(xp, tangents)
        return None if by_row is None else xp.sum(by_row, axis=0)

    def push_apart(self, xp: Namespace, *tangents: Tangent) -> Tangent:
        """As many copies as there were, times the rows of the last but one axis: each row has a sum of its own."""
        by_row = self._by_row(xp, tangents)
        return None if by_row is None else xp.reshape(xp.matrix_transpose(by_row), (-1,))

    def _by_row(self, xp: Namespace, tangents: Sequence[Tangent]) -> Any:
        """The sum for each row of the last but one axis, (M, K); (1, K) where shapes differ."""
        total: Any = None
        for term, tangent in zip(self.terms, tangents, strict=True):
            part = None if tangent is None else row_sums(xp, term, tangent)
            if total is None or part is None:
                total = part if total is None else total
            elif total.shape == part.shape:
                total = total + part
            else:
                total = xp.sum(total, axis=0, keepdims=True) + xp.sum(part, axis=0, keepdims=True)
        return total


def row_sums(xp: Namespace, term: Term, tangent: Tangent) -> Any:
    """Σ factor ∘ tangent over all axes but the last but one, (M, K); None for zero."""
    factor = term.factor
    if isinstance(tangent, Columns):
        cut = tangent.within(term.low, term.high)
        if cut is None:
            return None
        array, factor = cut.part, factor[..., cut.start : cut.stop]
    else:
        array = full(xp, tangent, term.node.shape)[..., term.low : term.high]
    if factor.ndim < 2:
        array, factor = lined_up(xp, array, 2), xp.reshape(factor, (1, -1))
    array = full(xp, array, tuple(factor.shape))
    sums = xp.matmul(rows_first(xp, array), factor[..., None])[..., 0]  # (..., M, K)
    return xp.sum(sums, axis=tuple(range(sums.ndim - 2))) if sums.ndim > 2 else sums


def rows_first(xp: Namespace, x: Array) -> Array:
    """(K, ..., M, R) -> (..., M, K, R), a view where the library has them."""
    return xp.permute_dims(x, (*range(1, x.ndim - 1), 0, x.ndim - 1))


def own_rows(xp: Namespace, part: Matrix, tangent: Tangent) -> Array:
    """Every row times its own matrix, (K, ..., M, R) by (..., M, R, N)."""
    x, w = full(xp, tangent, part.node.shape), part.w
    if w.ndim == 2:
        return rows_times(xp, x, w)
    y = xp.matmul(rows_first(xp, x), w)  # (..., M, K, N)
    return xp.permute_dims(y, (y.ndim - 2, *range(y.ndim - 2), y.ndim - 1))


def scaled(xp: Namespace, term: Term, tangent: Tangent) -> Tangent:
    """One term; what is sparse stays so as far as it can."""
    factor = term.factor
    if isinstance(tangent, Columns):
        cut = tangent.within(term.low, term.high)
        return cut if cut is None or is_one(factor) else cut.times(factor)
    if isinstance(tangent, Units) and is_one(factor):
        return tangent if term.whole else tangent.getitem((..., slice(term.low, term.high)))
    array = tangent.dense if isinstance(tangent, Units) else tangent
    if not term.whole:
        array = array[..., term.low : term.high]
    return array if is_one(factor) else lined_up(xp, array, getattr(factor, "ndim", 0)) * factor


def is_one(factor: Any) -> bool:
    """Whether a factor is the number 1."""
    return isinstance(factor, (int, float)) and factor == 1


def added(xp: Namespace, found: list[Tangent], shape: Shape) -> Array:
    """The sum of several tangents (K, *shape)."""
    thin = [t for t in found if isinstance(t, Columns)]
    thick = [full(xp, t, shape) for t in found if not isinstance(t, Columns)]
    if not thick:
        thick, thin = [full(xp, thin[0], shape)], thin[1:]
    total = thick[0] + thick[1] if len(thick) > 1 else xp.asarray(thick[0], copy=True)
    for more in thick[2:]:
        total += more  # into the array made above
    for few in thin:
        total = with_columns(total, few.spread(shape))
    return total


def with_columns(total: Array, more: Columns) -> Array:
    """The sum; in place, where arrays can be written to."""
    if is_jax_array(total):
        return total + more.dense
    total[..., more.start : more.stop] += more.part
    return total
