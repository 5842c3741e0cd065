"""A graph evaluated with an array library, operation by operation, as the cell itself would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnbp.lowering.nodes import OPERATORS, Node, reach
from rnnbp.numerics import Array, Namespace


def evaluate(roots: Sequence[Node | None], inputs: Mapping[str, Array], xp: Namespace) -> list[Any]:
    """The value of each root for arrays by the names of the input nodes; None for None.

    A root that is a number becomes an array like the first input. Expressions are evaluated in the order in which the
    cell wrote them, so the bits are those of the cell.
    """
    like = next(iter(inputs.values()))
    values: dict[Node, Any] = {}

    def array(value: Any) -> Array:
        """Functions, other than operators, take arrays only."""
        return value if hasattr(value, "shape") else xp.full_like(like, value)

    for node in reach(roots):
        args = [values[a] for a in node.args]
        if node.op == "input":
            values[node] = inputs[node.value]
        elif node.op == "constant":
            values[node] = node.value
        elif node.op in OPERATORS:
            values[node] = OPERATORS[node.op](*args)
        else:
            values[node] = getattr(xp, node.op)(*map(array, args))
    return [None if root is None else array(values[root]) for root in roots]
