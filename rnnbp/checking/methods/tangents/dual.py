"""An array with its tangent, as a sum of terms that is not made into an array before it must be."""

from __future__ import annotations

from math import prod
from typing import Any

from rnnbp.checking.methods.tangents.nodes import Node, Product
from rnnbp.checking.methods.tangents.sums import Matrix, Sum, Term, is_one
from rnnbp.checking.operands.space import Operand, Space
from rnnbp.numerics import Array


class Room:
    """Bytes that are left for matrices that take the place of terms."""

    def __init__(self, size: int) -> None:
        self.left = size

    def fused(self, terms: tuple[Term, ...], shape: tuple[int, ...]) -> list[Term | Matrix]:
        """The terms of a sum of that shape, those of one product made into a matrix for each row while there is room.

        Gates' slopes times parts of h U are h times a matrix: one product less, and fewer passes over all copies.
        """
        products = {t.node: t.node for t in terms if isinstance(t.node, Product) and fits(t.node, shape)}
        parts: list[Term | Matrix] = [t for t in terms if t.node not in products]
        for node in products.values():
            own = [t for t in terms if t.node is node]
            rows = prod(shape[:-1]) if any(getattr(t.factor, "ndim", 0) > 1 for t in own) else 1
            size = 8 * rows * node.w.shape[0] * shape[-1]
            if size > self.left:
                parts += own
                continue
            self.left -= size
            slabs = [by_row(node.w[:, t.low : t.high], t.factor) for t in own]
            parts.append(Matrix(node.parents[0], sum(slabs[1:], start=slabs[0])))
        return parts


def fits(node: Product, shape: tuple[int, ...]) -> bool:
    """Whether a product's rows are those of a sum, and all times one matrix."""
    return bool(node.w.ndim == 2 and node.shape[:-1] == shape[:-1])


def by_row(w: Array, factor: Any) -> Array:
    """W (R, N) with columns scaled, by factors (..., M, N) for each row."""
    return w * (factor[..., None, :] if getattr(factor, "ndim", 0) else factor)


class Dual(Operand):
    """An array and the terms of its tangent; without terms it is a constant."""

    def __init__(self, space: Space, room: Room, value: Array, terms: tuple[Term, ...] = ()) -> None:
        super().__init__(space, value)
        self.room, self.terms = room, terms

    def made(self, value: Array, *terms: Term) -> Dual:
        """Another operand beside this one."""
        return Dual(self.space, self.room, value, terms)

    def of(self, value: Array, node: Node) -> Dual:
        """Another operand, with a node for its tangent."""
        return self.made(value, whole(node))

    @property
    def node(self) -> Node:
        """The tangent as one node; from then on the sum is that node."""
        if len(self.terms) == 1:
            (only,) = self.terms
            if is_one(only.factor) and only.node.shape == self.shape and only.whole:
                return only.node
        node = Sum(self.shape, self.room.fused(self.terms, self.shape))
        self.terms = (whole(node),)
        return node

    @property
    def columnwise(self) -> tuple[Term, ...]:
        """Terms of which each column is that of the operand: none is broadcast along the last axis."""
        if not self.shape or any(not t.node.shape or t.high - t.low != self.shape[-1] for t in self.terms):
            return (whole(self.node),)
        return self.terms


def whole(node: Node) -> Term:
    """A node as a term."""
    return Term(node, 0, node.shape[-1] if node.shape else 0, 1)


def active(x: Any) -> bool:
    """Whether something has a tangent."""
    return isinstance(x, Dual) and bool(x.terms)
