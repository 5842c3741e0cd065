"""Symbols as inputs: class numbers (T, B) to one-hot rows, or to rows of a table."""

from __future__ import annotations

from collections.abc import Callable

from array_api_compat import device

from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace


def check_symbols(xp: Namespace, ids: Array, size: int) -> None:
    """Symbols are integers in 0 … size−1, shape (T, B)."""
    if ids.ndim != 2 or not xp.isdtype(ids.dtype, "integral"):
        raise UserError(f"symbols must be integers of shape (T, B); got {ids.dtype} of shape {tuple(ids.shape)}")
    low, high = int(xp.min(ids)), int(xp.max(ids))
    if low < 0 or high >= size:
        raise UserError(f"symbols must lie in 0 … {size - 1}; got {low if low < 0 else high}")


def one_hot(xp: Namespace, ids: Array, size: int, like: Array) -> Array:
    """(T, B) -> (T, B, size) with one 1 in each row, in the real dtype of `like`."""
    classes = xp.arange(size, device=device(ids))  # in the default integers, which hold any size
    return xp.astype(classes == xp.astype(ids, classes.dtype)[..., None], xp.real(like).dtype)


def embed(xp: Namespace, table: Array, ids: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Rows of a table (..., V, I) by number: xs (..., T, B, I), and backward(dxs) -> dtable.

    The backward is a product with the one-hot rows: no scatter, so it is the same on every backend; its cost grows
    with T·B·V·I.
    """
    rows = xp.take(table, xp.reshape(ids, (-1,)), axis=-2)  # (..., TB, I)
    xs = xp.reshape(rows, (*rows.shape[:-2], *ids.shape, rows.shape[-1]))

    def backward(dxs: Array) -> Array:
        hot = xp.reshape(one_hot(xp, ids, table.shape[-2], dxs), (-1, table.shape[-2]))  # (TB, V)
        return xp.matmul(xp.matrix_transpose(hot), xp.reshape(dxs, (*dxs.shape[:-3], -1, dxs.shape[-1])))

    return xs, backward
