"""The numeric method `tangent`."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from rnnbp.checking.arithmetic import Arithmetic
from rnnbp.checking.numeric import Asked, NumericMethod, in_chunks
from rnnbp.checking.tangents.space import Dual, DualSpace
from rnnbp.checking.tangents.sparse import Units
from rnnbp.checking.tangents.tape import Input, Node, replay, schedule
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

CACHE = 2**18  # bytes that the tangents of one array of the forward may take, all copies together


class Tangents(NumericMethod):
    """Σ ∂L/∂v ∘ d by tangents that follow the forward (forward mode; Wengert 1964): exact to rounding, in real numbers.

    The forward is recorded once; then tangents of many directions, or of many single entries, go through its linear
    maps together. `detach` ends them, and at a kink they take the branch that the forward took.
    """

    name = "tangent"

    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        tape, inputs = recorded(asked, "directions", 0)
        nodes = schedule(tape, [inputs[tensor]])

        def slopes(few: HostArray) -> HostArray:
            if not nodes:
                return np.zeros(len(few))
            return asked.backend.to_numpy(replay(nodes, {inputs[tensor]: asked.backend.asarray(few, "float64")}))

        return in_chunks(asked, tensor, directions, slopes)

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        backend, shape = asked.backend, asked.subject.tensors[tensor].shape
        tape, inputs = recorded(asked, "entries", asked.memory // 4)
        nodes = schedule(tape, [inputs[tensor]])
        order = by_column(shape)
        found = np.zeros(prod(shape))
        copies = chunk(asked, nodes)
        for first in range(0, len(order), copies if nodes else len(order)):
            entries = order[first : first + copies]
            if nodes:
                found[entries] = backend.to_numpy(replay(nodes, {inputs[tensor]: Units(backend, entries, shape)}))
            asked.advance(len(entries))
        return found.reshape(shape)


def by_column(shape: tuple[int, ...]) -> HostArray:
    """The entries of a matrix column by column: neighbours then share a column. Others in their own order."""
    entries = np.arange(prod(shape))
    return entries.reshape(shape).T.reshape(-1) if len(shape) == 2 else entries


def chunk(asked: Asked, nodes: list[Node]) -> int:
    """How many copies at a time: the usual array stays in the cache, and all of them in memory."""
    sizes = sorted(prod(node.shape) for node in nodes) or [1]
    return max(1, min(CACHE // (8 * sizes[len(sizes) // 2]), asked.memory // (8 * sum(sizes))))


def recorded(asked: Asked, kind: str, room: int) -> tuple[Node, dict[str, Input]]:
    """The tape of a subject's loss, every tensor being an input; made once."""
    if ("tape", kind) not in asked.memo:
        space = DualSpace(asked.backend.xp, room)
        where = Arithmetic(asked.backend, space)
        pairs = {n: space.variable(asked.backend.asarray(v, "float64")) for n, v in asked.subject.tensors.items()}
        loss: Any = asked.subject.loss(where)({name: operand for name, (operand, _) in pairs.items()})
        if not isinstance(loss, Dual):
            raise UserError(
                f"tangents need a forward of array functions; the loss came back {type(loss).__name__}: something on "
                "the way made other arrays of its arguments: use method five-point"
            )
        if loss.shape:
            raise UserError(f"the loss must be one number; got shape {loss.shape}")
        node = loss.node if loss.terms else Input(())
        asked.memo["tape", kind] = node, {name: place for name, (_, place) in pairs.items()}
    found: tuple[Node, dict[str, Input]] = asked.memo["tape", kind]
    return found
