"""What becomes of tangents in functions that move, copy or add up entries."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from rnnbp.checking.methods.tangents.dual import Dual
from rnnbp.checking.methods.tangents.joins import Joined, apart
from rnnbp.checking.methods.tangents.nodes import Item, Moved, Reshaped
from rnnbp.checking.methods.tangents.sums import Contraction
from rnnbp.checking.operands.space import Space, bare
from rnnbp.numerics import Array

# Each rule gets the space, the value that the function gave, and the function's own arguments.


def same(space: Space, value: Array, x: Dual, *how: Any, **more: Any) -> Dual:
    """Real, broadcast_to: the terms broadcast as they are."""
    del space, how, more
    return x.made(value, *x.terms)


def reshape(space: Space, value: Array, x: Dual, *how: Any, **more: Any) -> Dual:
    """Reshape, expand_dims, squeeze: the shape of the value says all."""
    del space, how, more
    return x.of(value, Reshaped(tuple(value.shape), x.node))


def astype(space: Space, value: Array, x: Dual, dtype: Any, **more: Any) -> Dual:
    """Integers and flags have no derivative."""
    del more
    return x.made(value, *(x.terms if space.base.isdtype(dtype, "real floating") else ()))


def getitem(space: Space, value: Array, x: Dual, key: Any) -> Dual:
    """A slice of the last axis is taken of every term."""
    del space
    if tuple(value.shape) == x.shape and all(k is Ellipsis or is_forward(k) for k in flat([key])):
        return x.made(value, *x.terms)  # all of it
    columns, terms = last_columns(key, x.shape), x.columnwise
    if columns is None:
        return x.of(value, Item(tuple(value.shape), x.node, key))
    low, high = columns
    wide = [getattr(t.factor, "ndim", 0) > 0 and t.factor.shape[-1] > 1 for t in terms]
    factors = [t.factor[..., low:high] if w else t.factor for t, w in zip(terms, wide, strict=True)]
    cut = [t._replace(low=t.low + low, high=t.low + high, factor=f) for t, f in zip(terms, factors, strict=True)]
    return x.made(value, *cut)


def moved(value: Array, x: Dual, call: Callable[[Array], Array]) -> Dual:
    """By a function of the tangent as an array."""
    return x.of(value, Moved(tuple(value.shape), call, x.node))


def permute_dims(space: Space, value: Array, x: Dual, axes: Any) -> Dual:
    """The axes of the value in another order."""
    order = (0, *(1 + axis % x.ndim for axis in axes))
    return moved(value, x, lambda t: space.base.permute_dims(t, order))


def matrix_transpose(space: Space, value: Array, x: Dual) -> Dual:
    """The last two axes exchanged."""
    return moved(value, x, space.base.matrix_transpose)


def flip(space: Space, value: Array, x: Dual, *, axis: Any = None) -> Dual:
    """Axes backwards."""
    return moved(value, x, lambda t: space.base.flip(t, axis=behind(x.ndim, axis)))


def roll(space: Space, value: Array, x: Dual, shift: Any, *, axis: Any = None) -> Dual:
    """Entries moved on round an axis; without an axis, those of a vector."""
    if axis is None:
        found: Dual = space.reshape(space.roll(space.reshape(x, (-1,)), shift, axis=0), x.shape)
        return found
    place = 1 + axis % x.ndim if isinstance(axis, int) else behind(x.ndim, axis)
    return moved(value, x, lambda t: space.base.roll(t, shift, axis=place))


def cumulative_sum(space: Space, value: Array, x: Dual, *, axis: int | None = None, **how: Any) -> Dual:
    """Sums of all entries up to each."""
    place = 1 + (0 if axis is None else axis % x.ndim)
    return moved(value, x, lambda t: space.base.cumulative_sum(t, axis=place, **how))


def concat(space: Space, value: Array, xs: Any, *, axis: int | None = 0) -> Dual:
    """One behind the other."""
    some = next(x for x in xs if isinstance(x, Dual))
    if axis is None:
        return concat(space, value, [space.reshape(x, (-1,)) for x in xs], axis=0)
    return some.of(value, Joined(space.base, value, xs, axis % value.ndim, stacked=False))


def stack(space: Space, value: Array, xs: Any, *, axis: int = 0) -> Dual:
    """As entries of a new axis."""
    some = next(x for x in xs if isinstance(x, Dual))
    return some.of(value, Joined(space.base, value, xs, axis % value.ndim, stacked=True))


def take(space: Space, value: Array, x: Dual, indices: Any, *, axis: int | None = None) -> Dual:
    """Rows, columns, … by number; without an axis, entries of a vector."""
    place = 1 + (0 if axis is None else axis % x.ndim)
    return moved(value, x, lambda t: space.base.take(t, bare(indices), axis=place))


def total(space: Space, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
    """Sum; over all axes, the terms are added up as they are, without making the array."""
    if value.ndim or not x.ndim:
        axes = behind(x.ndim, axis)
        return moved(value, x, lambda t: space.base.sum(t, axis=axes, keepdims=keepdims))
    ones = space.base.ones_like(x.value)
    parts = [part for t in x.columnwise for part in apart(t._replace(factor=ones * t.factor))]
    return x.of(value, Contraction(parts))


def mean(space: Space, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
    """The sum over the count."""
    found: Dual = space.sum(x, axis=axis, keepdims=keepdims) * (prod(value.shape) / prod(x.shape))
    return found


def extremum(name: str) -> Callable[..., Dual]:
    """Max or min: the entry that is taken; where several are, each has an equal share."""

    def rule(space: Space, value: Array, x: Dual, *, axis: Any = None, keepdims: bool = False) -> Dual:
        del value
        xp = space.base
        taken = xp.astype(x.value == getattr(xp, name)(x.value, axis=axis, keepdims=True), x.dtype)
        shares = space.constant(taken / xp.sum(taken, axis=axis, keepdims=True))
        found: Dual = space.sum(x * shares, axis=axis, keepdims=keepdims)
        return found

    return rule


def flat(args: Any) -> list[Any]:
    """The arguments, those in lists too."""
    return [x for arg in args for x in (flat(arg) if isinstance(arg, (list, tuple)) else [arg])]


def behind(ndim: int, axis: Any) -> tuple[int, ...]:
    """The axes of a value, with an axis of copies in front."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(1 + k % ndim for k in axes)


def is_forward(key: Any) -> bool:
    """Whether an index is a slice from the front."""
    return isinstance(key, slice) and (key.step is None or key.step > 0)


def last_columns(key: Any, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The bounds where a key takes nothing but a slice of the last axis."""
    if not isinstance(key, tuple) or len(key) != 2 or key[0] is not Ellipsis or not isinstance(key[1], slice):
        return None
    low, high, step = key[1].indices(shape[-1])
    return (low, high) if step == 1 and low < high else None


STRUCTURE: dict[str, Callable[..., Dual]] = {
    "astype": astype,
    "broadcast_to": same,
    "concat": concat,
    "cumulative_sum": cumulative_sum,
    "expand_dims": reshape,
    "flip": flip,
    "getitem": getitem,
    "matrix_transpose": matrix_transpose,
    "max": extremum("max"),
    "mean": mean,
    "min": extremum("min"),
    "permute_dims": permute_dims,
    "real": same,
    "reshape": reshape,
    "roll": roll,
    "squeeze": reshape,
    "stack": stack,
    "sum": total,
    "take": take,
}
