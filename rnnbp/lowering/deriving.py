"""The derivative of a forward graph, by the rules of calculus: an oracle for the backward that was derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rnnbp.lowering.nodes import Node, reach

# operation -> (value, its arguments) -> ∂value/∂argument for each; None: no derivative by that argument
RULES: dict[str, Callable[..., tuple[object, ...]]] = {
    "add": lambda y, a, b: (1.0, 1.0),  # noqa: ARG005
    "subtract": lambda y, a, b: (1.0, -1.0),  # noqa: ARG005
    "multiply": lambda y, a, b: (b, a),  # noqa: ARG005
    "divide": lambda y, a, b: (1.0 / b, -(y / b)),  # noqa: ARG005
    "negative": lambda y, a: (-1.0,),  # noqa: ARG005
    "pow": lambda y, a, n: (n * a ** (n.value - 1.0), None),  # noqa: ARG005
    "tanh": lambda y, a: (1.0 - y * y,),  # noqa: ARG005
    "exp": lambda y, a: (y,),  # noqa: ARG005
    "expm1": lambda y, a: (y + 1.0,),  # noqa: ARG005
    "log": lambda y, a: (1.0 / a,),  # noqa: ARG005
    "log1p": lambda y, a: (1.0 / (1.0 + a),),  # noqa: ARG005
    "sqrt": lambda y, a: (0.5 / y,),  # noqa: ARG005
    "where": lambda y, c, a, b: (None, _flag(c), _flag(~c)),  # noqa: ARG005
    "minimum": lambda y, a, b: (_flag(a <= b), _flag(~(a <= b))),  # noqa: ARG005
    "maximum": lambda y, a, b: (_flag(a >= b), _flag(~(a >= b))),  # noqa: ARG005
}


def _flag(condition: Node) -> Node:
    """1 where it holds, else 0; of equal arguments the first is taken."""
    return condition.graph.node("where", condition, 1.0, 0.0)


def derivative(roots: Sequence[Node], errors: Sequence[Node], by: Sequence[Node]) -> list[Node | None]:
    """Σ errors ∘ ∂roots/∂v for every v in `by`; None where nothing depends on it. "detach" and comparisons stop it."""
    error: dict[Node, Node] = {}

    def add(node: Node, d: Node) -> None:
        error[node] = error[node] + d if node in error else d

    for root, d in zip(roots, errors, strict=True):
        add(root, d)
    for node in reversed(reach(roots)):
        if node in error and node.op in RULES:
            for argument, partial in zip(node.args, RULES[node.op](node, *node.args), strict=True):
                if partial is not None and argument.op != "constant":
                    add(argument, error[node] * partial)
    return [error.get(v) for v in by]
