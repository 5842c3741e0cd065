"""A graph evaluated with an array library, operation by operation, as the cell itself would be."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnbp.lowering.nodes import Node, reach
from rnnbp.numerics import Array, Namespace

# what Python's operators say takes numbers beside arrays, which the functions of the standard may not
_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "pow": operator.pow,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_not": operator.invert,
    "detach": lambda a: a,
}


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
        elif node.op in _OPERATORS:
            values[node] = _OPERATORS[node.op](*args)
        else:
            values[node] = getattr(xp, node.op)(*map(array, args))
    return [None if root is None else array(values[root]) for root in roots]
