"""Operands whose tangents are recorded: a forward on them leaves a tape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from array_api_compat import is_array_api_obj

from rnnbp.checking.methods.tangents.dual import Dual, Room, active, whole
from rnnbp.checking.methods.tangents.nodes import Input, LeftProduct, Node, Product
from rnnbp.checking.methods.tangents.structure import STRUCTURE, flat
from rnnbp.checking.methods.tangents.sums import Term, is_one
from rnnbp.checking.operands.rules import ELEMENTWISE
from rnnbp.checking.operands.space import Space, bare
from rnnbp.numerics import Array, Namespace

MOST_TERMS = 8  # a longer sum is made into an array before a function that is not linear takes it


class DualSpace(Space):
    """Records what the forward does to tangents, by the rules of each function; `room` is that of `dual.Room`."""

    def __init__(self, base: Namespace, room: int = 0) -> None:
        super().__init__(base)
        self.room = Room(room)

    def constant(self, value: Array) -> Dual:
        return Dual(self, self.room, value)

    def variable(self, value: Array) -> tuple[Dual, Input]:
        """An operand that is differentiated by, and its place on the tape."""
        node = Input(tuple(value.shape))
        return Dual(self, self.room, value, (whole(node),)), node

    def follow(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Dual:
        if not any(map(active, flat(args))):
            return self.constant(value)
        if name in ELEMENTWISE:
            return self._elementwise(name, value, args, options)
        if name == "matmul":
            return self._matmul(value, *args)
        return STRUCTURE[name](self, value, *args, **options)

    def _elementwise(self, name: str, value: Array, args: tuple[Any, ...], options: Mapping[str, Any]) -> Dual:
        """Each argument's terms times the partial derivative by it."""
        partials = ELEMENTWISE[name](self.base, value, *map(bare, args), **options)
        terms: dict[tuple[Node, int, int], Term] = {}
        for arg, partial in zip(args, partials, strict=False):
            if partial is None or not active(arg):
                continue
            long = len(arg.terms) > MOST_TERMS and is_array_api_obj(partial)
            for node, low, high, factor in (whole(arg.node),) if long else arg.terms:
                factor = partial if is_one(factor) else factor if is_one(partial) else factor * partial
                key = (node, low, high)
                terms[key] = Term(*key, terms[key].factor + factor if key in terms else factor)
        return Dual(self, self.room, value, tuple(terms.values()))

    def _matmul(self, value: Array, a: Any, w: Any) -> Dual:
        found: Dual
        if a.ndim == w.ndim == 1:
            found = self.sum(a * w)
            return found
        if a.ndim == 1:
            found = self.squeeze(self.matmul(self.expand_dims(a, axis=0), w), axis=-2)
            return found
        if w.ndim == 1:
            found = self.squeeze(self.matmul(a, self.expand_dims(w, axis=-1)), axis=-1)
            return found
        shape = tuple(value.shape)
        terms = [whole(Product(shape, a.node, bare(w)))] if active(a) else []
        terms += [whole(LeftProduct(shape, bare(a), w.node))] if active(w) else []
        return Dual(self, self.room, value, tuple(terms))
