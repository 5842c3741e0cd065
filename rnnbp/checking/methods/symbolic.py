"""Gradients whose pointwise part follows the rules of calculus, from the graph that the cell's forward traces.

`rnnbp.lowering` runs the cell's `pointwise` once on symbols; the derivative of the graph takes the place of the
backward that was written by hand, and the plain loop runs over that. So this method shares the affine part and the
plain loop with what it checks, and nothing of the cell's own backward: **a fault inside the pointwise part shows, and
one of a faster loop; one of the plain loop itself does not**. `rnnbp.detach` ends derivatives here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rnnbp.around.base import AroundPointwise
from rnnbp.cellbase import Cell, Cotangents, Data, Params, State
from rnnbp.checking.methods.autodiff import traced
from rnnbp.checking.methods.numeric import Asked, Whole
from rnnbp.checking.metric import compare
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError
from rnnbp.lowering import Node, Untraceable, derivative, evaluate, random_inputs, trace
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.pointwise import PointwiseBackward, PointwiseCell, own_part

ROWS = 16  # of random numbers, at which two backwards are compared


@dataclass(frozen=True)
class Derived(AroundPointwise):
    """Another cell with the same numbers, whose backward is the derivative of the traced forward."""

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        found = trace(self.cell, marks_detached=True)
        inputs = dict(zip((*found.operands, *found.states), (*a, *s), strict=True)) | {n: p[n] for n in found.params}
        inputs |= e

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            given = inputs | {node.value: d for node, d in zip(found.errors.values(), ds1, strict=True)}
            d = iter(evaluate(derived_roots(self.cell), given, xp))
            of_a, of_s, of_p = ([next(d) for _ in part] for part in (found.operands, found.states, found.params))
            return tuple(of_a), tuple(of_s), dict(zip(found.params, of_p, strict=True))

        return tuple(evaluate(tuple(found.new_states.values()), inputs, xp)), backward


def derived(cell: Cell) -> Derived:
    """The cell with its backward derived anew; a cell for which that cannot be done is `Untraceable`."""
    found = trace(cell, marks_detached=True).cell
    if own := own_part(found):
        raise Untraceable(f"it has an affine part of its own ({own})")
    return Derived(found)


@lru_cache(maxsize=256)
def derived_roots(cell: PointwiseCell) -> Sequence[Node | None]:
    """The derivatives by every operand, state and elementwise parameter, as graphs."""
    found = trace(cell, marks_detached=True)
    by = (*found.operands.values(), *found.states.values(), *found.params.values())
    return derivative(tuple(found.new_states.values()), tuple(found.errors.values()), by)


def disagreements(cell: Cell) -> dict[str, float]:
    """How far each gradient of `pointwise` is from the derivative of its forward, max|a−n| / max(|a|,|n|), by name.

    At random numbers on NumPy in float64, by the traced graphs; what is None is zero.
    """
    import array_api_compat.numpy as xp

    found = trace(cell, marks_detached=True)
    inputs = random_inputs(found, np.random.default_rng(0), batch=ROWS)
    names = [f"d{name}" for name in (*found.operands, *found.states, *found.params)]
    by_hand = evaluate([found.gradients.get(name) for name in names], inputs, xp)
    by_rules = evaluate(derived_roots(found.cell), inputs, xp)

    def wide(d: Any) -> HostArray:
        return np.broadcast_to(0.0 if d is None else d, (ROWS, cell.hidden_size))

    pairs = zip(names, by_hand, by_rules, strict=True)
    return {name: compare(wide(hand), wide(rules)).maximum for name, hand, rules in pairs}


class Symbolic(Whole):
    """The rules of calculus on the traced forward of the pointwise part, in the plain loop."""

    name = "symbolic"

    def refuses(self, cell: Cell) -> str:
        try:
            derived(cell)
        except Untraceable as reason:
            return f"method symbolic cannot trace {type(cell).__name__}: {reason}; use method complex-step"
        return ""

    def unsuited(self, subject: Subject) -> str:
        if subject.cell is None:
            return f"method symbolic traces one cell; got level {subject.level} of {subject.name}: use another"
        return self.refuses(subject.cell)

    def gradients(self, asked: Asked) -> dict[str, HostArray]:
        subject = asked.subject
        if subject.cell is None or subject.exchange is None:
            raise UserError(self.unsuited(subject))
        other = subject.exchange(derived(subject.cell), traced(asked.backend))
        return other.claimed(traced(asked.backend), "float64")
