"""The numeric method `tangent`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.methods.numeric import MOST_COPIES, Asked, NumericMethod
from rnnbp.checking.methods.tangents.dual import Dual
from rnnbp.checking.methods.tangents.space import DualSpace
from rnnbp.checking.methods.tangents.sparse import Columns, Tangent, Units
from rnnbp.checking.methods.tangents.tape import Tape, tape
from rnnbp.checking.operands.arithmetic import Arithmetic
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

CACHE = 2**19  # bytes that the tangents of one array of the forward may take, all copies together


class Tangents(NumericMethod):
    """Σ ∂L/∂v ∘ d by tangents that follow the forward (forward mode; Wengert 1964): exact to rounding, in real numbers.

    The forward is recorded once; then tangents of many directions, or of many single entries, go through its linear
    maps together. `detach` ends them, and at a kink they take the branch that the forward took.
    """

    name = "tangent"

    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        return in_parts(asked, tensor, directions, lambda few: few)

    def along_columns(self, asked: Asked, tensor: str, part: HostArray, start: int) -> HostArray:
        """No array is made of the zeros beside the columns."""
        shape, xp = asked.subject.tensors[tensor].shape, asked.backend.xp
        if part.shape[1:] == shape:
            return self.along(asked, tensor, part)
        return in_parts(asked, tensor, part, lambda few: Columns(xp, few, start, shape[-1]))

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        shape, own = asked.subject.tensors[tensor].shape, recorded(asked, "entries", asked.memory // 4)[tensor]
        return by_rows(asked, own, shape) if own.rows > 1 else by_units(asked, own, shape)


def in_parts(asked: Asked, tensor: str, directions: HostArray, tangent: Callable[[Array], Tangent]) -> HostArray:
    """The slopes of as many directions at a time as fit, where each holds `work` numbers on its way."""
    backend, own = asked.backend, recorded(asked, "directions", 0)[tensor]
    each = 8 * (prod(directions.shape[1:]) + asked.subject.work)
    copies = max(1, min(asked.memory // each, MOST_COPIES))
    parts = [directions[k : k + copies] for k in range(0, len(directions), copies)]
    seeds = (tangent(backend.asarray(few, "float64")) for few in parts)
    return np.concatenate([slopes_of(backend, own, seed, len(few)) for seed, few in zip(seeds, parts, strict=True)])


def by_units(asked: Asked, tape: Tape, shape: tuple[int, ...]) -> HostArray:
    """A tangent for each entry. The entries of a matrix go column by column: neighbours then share a column."""
    order = np.arange(prod(shape))
    order = order.reshape(shape).T.reshape(-1) if len(shape) == 2 else order
    found = np.zeros(prod(shape))
    for entries in chunks(asked, tape, order):
        found[entries] = slopes_of(asked.backend, tape, Units(asked.backend, entries, shape), len(entries))
        asked.advance(len(entries))
    return found.reshape(shape)


def by_rows(asked: Asked, tape: Tape, shape: tuple[int, ...]) -> HostArray:
    """A tangent for the same entry of each row of the batch, where rows do not meet before the loss."""
    rows, rest = shape[-2], (*shape[:-2], shape[-1])
    found = np.zeros((prod(rest), rows))
    for entries in chunks(asked, tape, np.arange(prod(rest))):
        units = np.zeros((len(entries), prod(rest)))
        units[np.arange(len(entries)), entries] = 1.0
        every = np.broadcast_to(units.reshape(-1, *rest)[..., None, :], (len(entries), *shape))
        seed = asked.backend.asarray(np.ascontiguousarray(every), "float64")
        slopes = slopes_of(asked.backend, tape, seed, len(entries) * rows, apart=True)
        found[entries] = slopes.reshape(-1, rows)
        asked.advance(len(entries) * rows)
    return np.moveaxis(found.reshape(*rest, rows), -1, -2)


def slopes_of(backend: Backend, tape: Tape, seed: Tangent, count: int, apart: bool = False) -> HostArray:
    """What the tape makes of tangents of its input, on the host."""
    out = tape.replay(backend.xp, seed, apart) if tape.nodes else None
    return np.zeros(count) if out is None else backend.to_numpy(out)


def chunks(asked: Asked, tape: Tape, order: HostArray) -> Iterator[HostArray]:
    """So many entries at a time that the usual array of tangents stays in the cache, and all of them in memory."""
    sizes = sorted(prod(node.shape) for node in tape.nodes) or [1]
    copies = max(1, min(CACHE // (8 * sizes[len(sizes) // 2]), asked.memory // (8 * sum(sizes))))
    return (order[first : first + copies] for first in range(0, len(order), copies))


def recorded(asked: Asked, kind: str, room: int) -> dict[str, Tape]:
    """The tape from each tensor of a subject to its loss; the forward runs once for all of them."""
    if ("tape", kind) not in asked.memo:
        space = DualSpace(asked.backend.xp, room)
        pairs = {n: space.variable(asked.backend.asarray(v, "float64")) for n, v in asked.subject.tensors.items()}
        loss = evaluated(asked, space, {n: operand for n, (operand, _) in pairs.items()})
        if not isinstance(loss, Dual):
            raise UserError(
                f"tangents need a forward of array functions; the loss came back {type(loss).__name__}: something on "
                "the way made other arrays of its arguments: use method five-point"
            )
        if loss.shape:
            raise UserError(f"the loss must be one number; got shape {loss.shape}")
        asked.memo["tape", kind] = {
            n: tape(loss.node, place) if loss.terms else Tape(()) for n, (_, place) in pairs.items()
        }
    found: dict[str, Tape] = asked.memo["tape", kind]
    return found


def evaluated(asked: Asked, space: DualSpace, tensors: Mapping[str, Dual]) -> Any:
    """The loss of operands; what a forward raises that takes arrays alone is a UserError."""
    try:
        return asked.subject.loss(Arithmetic(asked.backend, space))(tensors)
    except UserError:
        raise
    except Exception as error:  # whatever a forward does that arrays can and operands cannot
        why = str(error).partition("\n")[0]
        raise UserError(
            "tangents need a forward of array functions, which takes operands in place of arrays; this one stops with "
            f"{type(error).__name__}: {why}: use method five-point"
        ) from error
