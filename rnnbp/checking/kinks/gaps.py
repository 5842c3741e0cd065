"""Where a forward bends: how far the nearest kink is, and whether a difference method steps across one.

A kink is where the derivative jumps: where the two numbers are equal that a comparison, `maximum`, `minimum`, `max`,
`min`, `clip`, `abs` or `sign` looks at. A complex step and a tangent stay on one side of it; a difference that does not
is wrong, whatever the backward is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from array_api_compat import is_array_api_obj

from rnnbp.checking.operands.space import Operand, Space, bare
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace

_PAIRS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "maximum", "minimum"}
_PAIRS |= {"lt", "le", "gt", "ge", "eq", "ne"}  # as the operators are called
_ZEROS = {"abs", "sign"}

Hear = Callable[[Array], None]  # is given a gap: the signed distance from a kink, elementwise


class Watched(Operand):
    """A value; `live` if it depends on what is differentiated: a comparison of constants cannot turn."""

    space: Watch

    def __init__(self, space: Watch, value: Array, live: bool) -> None:
        super().__init__(space, value)
        self.live = live

    def detach(self) -> Operand:
        self.space.detaches |= self.live
        return super().detach()


class Watch(Space):
    """A namespace that tells `hear` the gap of every kink that live values pass.

    With `reductions`, `max` and `min` over an axis are kinks, too. In a softmax they are none: it subtracts its largest
    argument, and does not depend on it. `detaches` is set where a live value is detached.
    """

    def __init__(self, base: Namespace, hear: Hear, reductions: bool = True) -> None:
        super().__init__(base)
        self.hear, self.reductions, self.detaches = hear, reductions, False

    def constant(self, value: Array) -> Watched:
        return Watched(self, value, live=False)

    def follow(self, name: str, value: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        self._look(name, args, options)
        return self._held(value, any(operand.live for operand in _operands((*args, *options.values()))))

    def _held(self, found: Any, live: bool) -> Any:
        if isinstance(found, (list, tuple)):
            return type(found)(self._held(part, live) for part in found)
        return Watched(self, found, live) if is_array_api_obj(found) else found

    def settle(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._look(getattr(call, "__name__", ""), args, options)
        return super().settle(call, *args, **options)

    def underivable(self, name: str) -> Callable[..., Any]:
        """It is taken for smooth."""
        return partial(self.apply, name)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except UserError:  # no rule for its derivative, which is not asked for here
            return partial(self._through, getattr(self.base, name))

    def _through(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        value = call(*map(bare, args), **{name: bare(option) for name, option in options.items()})
        return self.follow("", value, args, options)

    def _look(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        if any(self._bends(operand) for operand in _operands(args)):
            for gap in self._gaps(name, *map(bare, args), **options):
                self.hear(gap)

    def _bends(self, operand: Watched) -> bool:
        return operand.live and bool(self.base.isdtype(operand.dtype, "real floating"))

    def _gaps(self, name: str, *args: Any, **options: Any) -> Iterator[Array]:
        xp = self.base
        if name in _PAIRS:
            yield args[0] - args[1]
        elif name in _ZEROS:
            yield args[0]
        elif name == "clip":
            limits = [*args[1:], *(options.get(end) for end in ("min", "max"))]
            yield from (args[0] - bare(limit) for limit in limits if limit is not None)
        elif name in ("max", "min") and self.reductions:
            ordered = xp.sort(xp.moveaxis(*_one_axis(xp, args[0], options.get("axis"))), axis=-1)
            if ordered.shape[-1] > 1:
                yield (ordered[..., -1] - ordered[..., -2]) if name == "max" else (ordered[..., 1] - ordered[..., 0])


def _operands(args: Any) -> Iterator[Watched]:
    for arg in args:
        if isinstance(arg, Watched):
            yield arg
        elif isinstance(arg, (list, tuple)):
            yield from _operands(arg)


def _one_axis(xp: Namespace, a: Array, axis: Any) -> tuple[Array, int, int]:
    """The array with all that is reduced on one axis, for `moveaxis` to the end."""
    if axis is None:
        return xp.reshape(a, (-1,)), 0, 0
    if isinstance(axis, int):
        return a, axis, -1
    kept = [k for k in range(a.ndim) if k not in {j % a.ndim for j in axis}]
    turned = xp.permute_dims(a, (*kept, *(j % a.ndim for j in axis)))
    return xp.reshape(turned, (*(a.shape[k] for k in kept), -1)), -1, -1
