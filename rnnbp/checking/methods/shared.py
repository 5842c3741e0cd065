"""Complex steps in single entries of a matrix: copies share one matrix, and each has a correction of rank one.

A copy W + ih e_i e_jᵀ is never made: x (W + ih e_i e_jᵀ) = x W + ih x_i e_jᵀ, one product for all copies and one column
for each. So neither memory nor time has a factor of copies × entries of W.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.operands.space import Operand, Space, bare
from rnnbp.numerics import Array, HostArray, Namespace, detach, matmul


class Stepped(Operand):
    """An array whose copies carry complex steps."""

    def detach(self) -> Operand:
        return self.space.constant(detach(self.value))


class Shared(Stepped):
    """W + rows columns, the copies (K, R, N) of a matrix (R, N), by factors (K, R, 1) and (K, 1, N)."""

    def __init__(self, space: Space, w: Array, rows: Array, columns: Array) -> None:
        self.space, self.w, self.rows, self.columns = space, w, rows, columns
        self.shape, self.ndim, self.dtype = (rows.shape[0], *w.shape), 3, w.dtype

    def __getattr__(self, name: str) -> Any:
        if name != "value":
            raise AttributeError(name)
        return self.w + self.rows * self.columns  # for a function that has no way of its own


class SharingSpace(Space):
    """A namespace for `Stepped` operands: functions act on arrays with copies, products with `Shared` on fewer."""

    def constant(self, value: Array) -> Stepped:
        return Stepped(self, value)

    def follow(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Stepped:
        del name, args, options
        return Stepped(self, value)

    def apply(self, name: str, *args: Any, **options: Any) -> Operand:
        if name == "matmul":  # the function, not the operator: it takes a complex and a real argument everywhere
            a, w = args
            if not isinstance(w, Shared):
                return Stepped(self, self.base.matmul(bare(a), bare(w)))
            return self._product(bare(a), w)
        if name == "getitem" and isinstance(args[0], Shared) and _is_columns(args[1]):
            x, key = args
            return Shared(self, x.w[key], x.rows, x.columns[key])
        return super().apply(name, *args, **options)

    def _product(self, a: Array, w: Shared) -> Stepped:
        a = self.base.astype(a, w.dtype)
        return Stepped(self, matmul(self.base, a, w.w) + self.base.matmul(a, w.rows) * w.columns)

    def result_type(self, *args: Any) -> Any:
        """The dtype of all arguments together, without making any."""
        return self.base.result_type(*(arg.dtype if isinstance(arg, Operand) else arg for arg in args))

    def __getattr__(self, name: str) -> Any:
        """Functions without a rule for derivatives, too: here they need none."""
        try:
            return super().__getattr__(name)
        except ValueError:
            found: Callable[..., Any] = getattr(self.base, name)
            return partial(self.settle, found)


def _is_columns(key: Any) -> bool:
    return isinstance(key, tuple) and len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], slice)


def shared(space: Namespace, backend: Backend, value: HostArray, entries: HostArray, step: float) -> Shared:
    """A matrix (R, N) with a step in one entry for each copy, flat indices (K,)."""
    i, j = np.divmod(entries, value.shape[1])
    rows, columns = (place[:, None] == np.arange(size) for place, size in zip((i, j), value.shape, strict=True))
    asarray = partial(backend.asarray, dtype="complex128")
    return Shared(space, asarray(value), asarray(rows[:, :, None]), asarray(1j * step * columns[:, None, :]))
