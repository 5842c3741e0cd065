"""Operands whose tangents are recorded: a forward on them leaves a tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from math import prod
from typing import Any

from array_api_compat import device, is_array_api_obj

from rnnbp.checking.operands import Operand, Space, bare
from rnnbp.checking.rules import ELEMENTWISE
from rnnbp.checking.tangents.nodes import Input, Item, LeftProduct, Moved, Node, Product, Reshaped
from rnnbp.checking.tangents.sums import Contraction, Matrix, Sum, Term, is_one
from rnnbp.numerics import Array, Namespace

MOST_TERMS = 8  # a longer sum is made into an array before a function that is not linear takes it


class Dual(Operand):
    """An array and its tangent, as a sum of terms; without terms it is a constant."""

    space: DualSpace

    def __init__(self, space: DualSpace, value: Array, terms: tuple[Term, ...] = ()) -> None:
        super().__init__(space, value)
        self.terms = terms

    @property
    def node(self) -> Node:
        """The tangent as one node; from now on the sum is that node."""
        if len(self.terms) == 1:
            (only,) = self.terms
            if is_one(only.factor) and only.node.shape == self.shape and only.whole:
                return only.node
        node = Sum(self.shape, self.space.fused(self.terms, self.shape))
        self.terms = (whole(node),)
        return node


def whole(node: Node) -> Term:
    """A node as a term."""
    return Term(node, 0, node.shape[-1] if node.shape else 0, 1)


class DualSpace(Space):
    """Records what the forward does to tangents, by the rules of each function.

    room: bytes for matrices that take the place of several terms: h U by a gate's slope, for each row of the batch, is
    one product less and fewer passes over all copies. Without room, terms stay terms.
    """

    def __init__(self, base: Namespace, room: int = 0) -> None:
        super().__init__(base)
        self.room = room

    def constant(self, value: Array) -> Dual:
        return Dual(self, value)

    def variable(self, value: Array) -> tuple[Dual, Input]:
        """An operand that is differentiated by, and its place on the tape."""
        node = Input(tuple(value.shape))
        return Dual(self, value, (whole(node),)), node

    def follow(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Operand:
        if not any(isinstance(arg, Dual) and arg.terms for arg in flat(args)):
            return self.constant(value)
        if name in ELEMENTWISE:
            return self._elementwise(name, value, args, options)
        rule: Callable[..., Dual] = getattr(self, f"_{name}")
        return rule(value, *args, **options)

    def _elementwise(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Dual:
        partials = ELEMENTWISE[name](self.base, value, *map(bare, args), **options)
        terms: dict[tuple[Node, int, int], Term] = {}
        for arg, partial in zip(args, partials, strict=False):
            if partial is None or not isinstance(arg, Dual) or not arg.terms:
                continue
            if len(arg.terms) > MOST_TERMS and is_array_api_obj(partial):
                arg.node  # noqa: B018 - makes the sum one term
            for node, low, high, factor in arg.terms:
                factor = partial if is_one(factor) else factor if is_one(partial) else factor * partial
                key = (node, low, high)
                terms[key] = Term(*key, terms[key].factor + factor if key in terms else factor)
        return Dual(self, value, tuple(terms.values()))

    def fused(self, terms: tuple[Term, ...], shape: tuple[int, ...]) -> list[Term | Matrix]:
        """The terms, those of one product made into one matrix for each row where there is room."""
        parts: list[Term | Matrix] = [t for t in terms if not fusible(t.node, shape)]
        for node in dict.fromkeys(t.node for t in terms if fusible(t.node, shape)):
            own = [t for t in terms if t.node is node]
            assert isinstance(node, Product)
            rows = prod(shape[:-1]) if any(getattr(t.factor, "ndim", 0) > 1 for t in own) else 1
            size = 8 * rows * node.w.shape[0] * shape[-1]
            if size > self.room:
                parts += own
                continue
            self.room -= size
            slabs = [by_row(node.w[:, t.low : t.high], t.factor) for t in own]
            parts.append(Matrix(node.parents[0], sum(slabs[1:], start=slabs[0])))
        return parts

    # ---- functions that move or add up entries; `value` is what they gave -----------------------------------------
    def _real(self, value: Array, x: Dual) -> Dual:
        return Dual(self, value, x.terms)

    def _astype(self, value: Array, x: Dual, dtype: Any, **_: Any) -> Dual:
        return Dual(self, value, x.terms if self.base.isdtype(dtype, "real floating") else ())

    def _broadcast_to(self, value: Array, x: Dual, shape: Any) -> Dual:
        del shape
        return Dual(self, value, x.terms)

    def _getitem(self, value: Array, x: Dual, key: Any) -> Dual:
        if tuple(value.shape) == x.shape and all(k is Ellipsis or is_forward(k) for k in flat([key])):
            return Dual(self, value, x.terms)  # all of it
        columns = last_columns(key, x.shape)
        if columns is None or any(not sliceable(t, x.shape) for t in x.terms):
            return Dual(self, value, (whole(Item(tuple(value.shape), x.node, key)),))
        low, high = columns
        cut = [Term(n, a + low, a + high, f[..., low:high] if wide(f) else f) for n, a, _, f in x.terms]
        return Dual(self, value, tuple(cut))

    def _reshape(self, value: Array, x: Dual, shape: Any, **_: Any) -> Dual:
        del shape
        return Dual(self, value, (whole(Reshaped(tuple(value.shape), x.node)),))

    def _expand_dims(self, value: Array, x: Dual, **_: Any) -> Dual:
        return self._reshape(value, x, None)

    def _squeeze(self, value: Array, x: Dual, *_: Any, **__: Any) -> Dual:
        return self._reshape(value, x, None)

    def _moved(self, value: Array, call: Callable[..., Array], *xs: Dual) -> Dual:
        return Dual(self, value, (whole(Moved(tuple(value.shape), call, *(x.node for x in xs))),))

    def _permute_dims(self, value: Array, x: Dual, axes: Any) -> Dual:
        order = (0, *(1 + axis % x.ndim for axis in axes))
        return self._moved(value, lambda t: self.base.permute_dims(t, order), x)

    def _matrix_transpose(self, value: Array, x: Dual) -> Dual:
        return self._moved(value, self.base.matrix_transpose, x)

    def _flip(self, value: Array, x: Dual, *, axis: Any = None) -> Dual:
        axes = behind(x.ndim, axis)
        return self._moved(value, lambda t: self.base.flip(t, axis=axes), x)

    def _concat(self, value: Array, xs: Any, *, axis: int | None = 0) -> Dual:
        if axis is None:
            return self._concat(value, [self.reshape(x, (-1,)) for x in xs], axis=0)
        return Dual(self, value, (whole(Joined(self.base, value, xs, axis % value.ndim, stacked=False)),))

    def _stack(self, value: Array, xs: Any, *, axis: int = 0) -> Dual:
        return Dual(self, value, (whole(Joined(self.base, value, xs, axis % value.ndim, stacked=True)),))

    def _sum(self, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False, **_: Any) -> Dual:
        axes = behind(x.ndim, axis)
        if value.ndim or not x.ndim:
            return self._moved(value, lambda t: self.base.sum(t, axis=axes, keepdims=keepdims), x)
        ones = self.base.ones_like(x.value)
        terms = x.terms if all(sliceable(t, x.shape) for t in x.terms) else (whole(x.node),)
        parts = [part for t in terms for part in apart(t._replace(factor=ones * t.factor))]
        return Dual(self, value, (whole(Contraction(parts)),))

    def _mean(self, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
        found: Dual = self.sum(x, axis=axis, keepdims=keepdims) * (prod(value.shape) / prod(x.shape))
        return found

    def _max(self, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
        """Where several entries are the largest, each has an equal share."""
        del value
        return self._extremum(self.base.max, x, axis, keepdims)

    def _min(self, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
        del value
        return self._extremum(self.base.min, x, axis, keepdims)

    def _extremum(self, call: Callable[..., Array], x: Dual, axis: Any, keepdims: bool) -> Dual:
        taken = self.base.astype(x.value == call(x.value, axis=axis, keepdims=True), x.dtype)
        shares = taken / self.base.sum(taken, axis=axis, keepdims=True)
        found: Dual = self.sum(x * self.constant(shares), axis=axis, keepdims=keepdims)
        return found

    def _matmul(self, value: Array, a: Any, w: Any) -> Dual:
        if a.ndim == 1:
            return self.squeeze(self.matmul(self.expand_dims(a, axis=0), w), axis=-2)  # type: ignore[no-any-return]
        if w.ndim == 1:
            return self.squeeze(self.matmul(a, self.expand_dims(w, axis=-1)), axis=-1)  # type: ignore[no-any-return]
        shape, terms = tuple(value.shape), []
        if isinstance(a, Dual) and a.terms:
            terms.append(whole(Product(shape, a.node, bare(w))))
        if isinstance(w, Dual) and w.terms:
            terms.append(whole(LeftProduct(shape, bare(a), w.node)))
        return Dual(self, value, tuple(terms))


class Joined(Moved):
    """Several arrays put together along an axis, as new entries of it or one behind the other."""

    def __init__(self, xp: Namespace, value: Array, xs: Any, axis: int, stacked: bool) -> None:
        self.axis, self.stacked, self.xs = axis, stacked, [x if isinstance(x, Dual) else None for x in xs]
        self.starts = list(accumulate((1 if stacked else x.shape[axis] for x in xs), initial=0))
        self.active = [k for k, x in enumerate(self.xs) if x is not None and x.terms]

        def call(*tangents: Array) -> Array:
            like = {"dtype": tangents[0].dtype, "device": device(tangents[0])}
            parts = dict(zip(self.active, tangents, strict=True))
            every = [
                parts[k] if k in parts else xp.zeros((len(tangents[0]), *x.shape), **like) for k, x in enumerate(xs)
            ]
            return (xp.stack if stacked else xp.concat)(every, axis=axis + 1)

        super().__init__(tuple(value.shape), call, *(xs[k].node for k in self.active))

    def split(self, factor: Array) -> list[Term]:
        """Factor ∘ this tangent as terms of what was put together."""
        terms: list[Term] = []
        for k in self.active:
            start, stop = self.starts[k : k + 2]
            own = factor[(slice(None),) * self.axis + (start if self.stacked else slice(start, stop), ...)]
            x = self.xs[k]
            assert x is not None
            kept = x.terms if all(sliceable(t, x.shape) for t in x.terms) else (whole(x.node),)
            terms += [t._replace(factor=own * t.factor) for t in kept]
        return terms


def apart(term: Term) -> list[Term]:
    """A term that is to be summed over, the arrays of a stack each by itself: they need not be put together."""
    if isinstance(term.node, Joined) and term.whole:
        return [part for own in term.node.split(term.factor) for part in apart(own)]
    return [term]


def flat(args: Any) -> list[Any]:
    """The arguments, those in lists too."""
    return [x for arg in args for x in (flat(arg) if isinstance(arg, (list, tuple)) else [arg])]


def behind(ndim: int, axis: Any) -> tuple[int, ...]:
    """The axes of a value, with an axis of copies in front."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(1 + k % ndim for k in axes)


def wide(factor: Any) -> bool:
    """Whether a factor differs along the last axis."""
    return getattr(factor, "ndim", 0) > 0 and factor.shape[-1] != 1


def sliceable(term: Term, shape: tuple[int, ...]) -> bool:
    """Whether the columns of a term are those of the operand: none is broadcast."""
    return bool(term.node.shape) and bool(shape) and term.high - term.low == shape[-1]


def is_forward(key: Any) -> bool:
    """Whether an index is a slice from the front."""
    return isinstance(key, slice) and (key.step is None or key.step > 0)


def last_columns(key: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The bounds where a key takes nothing but a slice of the last axis."""
    if not isinstance(key, tuple) or len(key) != 2 or key[0] is not Ellipsis or not isinstance(key[1], slice):
        return None
    low, high, step = key[1].indices(shape[-1])
    return (low, high) if step == 1 and low < high else None


def fusible(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a term with this node is rows times a matrix."""
    return isinstance(node, Product) and node.w.ndim == 2 and node.shape[:-1] == shape[:-1]


def by_row(w: Array, factor: Any) -> Array:
    """W (R, N) with columns scaled, by factors (..., M, N) for each row."""
    return w * (factor[..., None, :] if getattr(factor, "ndim", 0) else factor)
