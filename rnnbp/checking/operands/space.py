"""Operands that go through a forward in place of arrays and carry more than a value: a tangent, or a history.

An `Operand` holds an array. A `Space` is a namespace of the array API that computes with the values, and asks `follow`
what becomes of the rest for the functions through which a derivative passes. So a cell, a loss or a whole model runs on
operands without knowing it; comparisons and whatever else has no derivative give constants.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from array_api_compat import device, is_array_api_obj

from rnnbp.checking.operands.rules import ELEMENTWISE
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace

# functions that move, copy or add up entries: with the elementwise ones, all through which a derivative passes
STRUCTURAL = (
    "astype",
    "broadcast_to",
    "concat",
    "cumulative_sum",
    "expand_dims",
    "flip",
    "getitem",
    "matmul",
    "matrix_transpose",
    "max",
    "mean",
    "min",
    "permute_dims",
    "real",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "sum",
    "take",
)
# what the operators of Python are called in the standard; they take numbers, too, where the functions may not
_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "pow": operator.pow,
    "negative": operator.neg,
    "matmul": operator.matmul,
    "getitem": operator.getitem,
}
# the rest that takes arrays: its result is a constant
_CONSTANT = {
    "argmax",
    "argmin",
    "argsort",
    "floor",
    "ceil",
    "round",
    "sign",
    "isnan",
    "isfinite",
    "isinf",
    "any",
    "all",
}
_CONSTANT |= {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or"}
_CONSTANT |= {
    "logical_not",
    "count_nonzero",
    "isdtype",
    "result_type",
    "can_cast",
    "finfo",
    "iinfo",
    "arange",
    "asarray",
}
_CONSTANT |= {"zeros", "ones", "full", "eye", "zeros_like", "ones_like", "full_like", "empty", "empty_like"}


class NoRule(UserError):
    """A function whose derivative is not known."""


class Operand:
    """An array and what goes with it. Python's operators and indexing work as on the array."""

    __array_ufunc__ = None  # NumPy then leaves `array * operand` to the operand

    def __init__(self, space: Space, value: Array) -> None:
        self.space, self.value = space, value
        self.shape, self.ndim, self.dtype = tuple(value.shape), value.ndim, value.dtype

    def __array_namespace__(self, api_version: str | None = None) -> Space:
        del api_version
        return self.space

    @property
    def device(self) -> Any:
        """Where the value is."""
        return device(self.value)

    @property
    def size(self) -> int | None:
        """How many entries."""
        found: int | None = self.value.size if isinstance(self.value.size, int) else None
        return found

    def detach(self) -> Operand:
        """The value, as a constant."""
        return self.space.constant(self.value)

    def __add__(self, other: Any) -> Operand:
        return self.space.apply("add", self, other)

    def __radd__(self, other: Any) -> Operand:
        return self.space.apply("add", other, self)

    def __sub__(self, other: Any) -> Operand:
        return self.space.apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Operand:
        return self.space.apply("subtract", other, self)

    def __mul__(self, other: Any) -> Operand:
        return self.space.apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Operand:
        return self.space.apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Operand:
        return self.space.apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Operand:
        return self.space.apply("divide", other, self)

    def __pow__(self, other: Any) -> Operand:
        return self.space.apply("pow", self, other)

    def __matmul__(self, other: Any) -> Operand:
        return self.space.apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Operand:
        return self.space.apply("matmul", other, self)

    def __neg__(self) -> Operand:
        return self.space.apply("negative", self)

    def __getitem__(self, key: Any) -> Operand:
        return self.space.apply("getitem", self, key)

    def __abs__(self) -> Operand:
        return self.space.apply("abs", self)

    def __lt__(self, other: Any) -> Any:
        return self.space.settle(operator.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return self.space.settle(operator.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return self.space.settle(operator.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return self.space.settle(operator.ge, self, other)

    def __eq__(self, other: Any) -> Any:
        return self.space.settle(operator.eq, self, other)

    def __ne__(self, other: Any) -> Any:
        return self.space.settle(operator.ne, self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Any:
        return self.space.settle(operator.and_, self, other)

    def __or__(self, other: Any) -> Any:
        return self.space.settle(operator.or_, self, other)

    def __invert__(self) -> Any:
        return self.space.settle(operator.invert, self)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)


class Space(ABC):
    """A namespace for operands over the namespace `base` of the arrays that they hold."""

    def __init__(self, base: Namespace) -> None:
        self.base = base
        self.__name__ = (
            f"{type(self).__name__} over {getattr(base, '__name__', base)}"  # namespaces are told apart by it
        )

    @abstractmethod
    def constant(self, value: Array) -> Operand:
        """An operand without a derivative."""

    @abstractmethod
    def follow(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Operand:
        """The operand of `value`, which function `name` of `args` gave; at least one of them is an operand."""

    def apply(self, name: str, *args: Any, **options: Any) -> Operand:
        """A function through which a derivative passes."""
        call = _OPERATORS.get(name) or getattr(self.base, name)
        return self.follow(name, call(*map(bare, args), **options), args, options)

    def settle(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """A function whose result is a constant."""
        found = call(*map(bare, args), **{name: bare(option) for name, option in options.items()})
        return self.constant(found) if is_array_api_obj(found) else found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ELEMENTWISE or name in STRUCTURAL:
            return partial(self.apply, name)
        found = getattr(self.base, name)
        if isinstance(found, ModuleType):
            raise NoRule(f"no rule is known for the functions of {name}: use method complex-step, or others")
        if not callable(found) or isinstance(found, type):
            return found
        if name in _CONSTANT:
            return partial(self.settle, found)
        return self.underivable(name)

    def underivable(self, name: str) -> Callable[..., Any]:
        """What to do about a function whose derivative is not known."""
        raise NoRule(f"no rule is known for the derivative of {name}: use method complex-step, or write it with others")


def bare(arg: Any) -> Any:
    """The arrays in place of the operands, in lists and tuples too."""
    if isinstance(arg, Operand):
        return arg.value
    return type(arg)(map(bare, arg)) if isinstance(arg, (list, tuple)) else arg
