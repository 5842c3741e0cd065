"""Arrays put together: stacks and concatenations, which a sum over everything can take apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from array_api_compat import device

from rnnbp.checking.methods.tangents.dual import Dual, active
from rnnbp.checking.methods.tangents.nodes import Moved
from rnnbp.checking.methods.tangents.sums import Term
from rnnbp.numerics import Array, Namespace


class Joined(Moved):
    """Several arrays along one axis, as its new entries or one behind the other."""

    def __init__(self, xp: Namespace, value: Array, xs: Sequence[Any], axis: int, stacked: bool) -> None:
        self.axis, self.stacked = axis, stacked
        starts = list(accumulate((1 if stacked else x.shape[axis] for x in xs), initial=0))
        self.duals: dict[int, Dual] = {start: x for start, x in zip(starts, xs, strict=False) if active(x)}

        def call(*tangents: Array) -> Array:
            like: dict[str, Any] = {"dtype": tangents[0].dtype, "device": device(tangents[0])}
            parts = dict(zip(self.duals, tangents, strict=True))
            copies = tangents[0].shape[0]
            pairs = zip(starts, xs, strict=False)
            every = [parts[k] if k in parts else xp.zeros((copies, *x.shape), **like) for k, x in pairs]
            return (xp.stack if stacked else xp.concat)(every, axis=axis + 1)

        super().__init__(tuple(value.shape), call, *(x.node for x in self.duals.values()))

    def split(self, factor: Array) -> list[Term]:
        """Factor ∘ this tangent, as terms of what was put together."""
        terms: list[Term] = []
        for start, x in self.duals.items():
            place = start if self.stacked else slice(start, start + x.shape[self.axis])
            own = factor[(slice(None),) * self.axis + (place, ...)]
            terms += [t._replace(factor=own * t.factor) for t in x.columnwise]
        return terms


def apart(term: Term) -> list[Term]:
    """A term that is to be summed over, with joined arrays each by itself: they need not be put together."""
    if isinstance(term.node, Joined) and term.whole:
        return [part for own in term.node.split(term.factor) for part in apart(own)]
    return [term]
