"""Symbols: what a cell's arithmetic becomes when it is run once on names in place of arrays.

A `Node` is one operation on other nodes. Equal ones are one object (common subexpressions merge while they are made),
what is made of numbers alone is folded, and what a symbol cannot tell (its shape, whether it is true, one of its
entries) is refused with `Untraceable`: nothing is guessed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, NoReturn

from rnnbp.errors import UserError


class Untraceable(UserError):
    """A cell that does what no single elementwise expression says; the portable path runs it."""


class NoAttribute(Untraceable, AttributeError):
    """What a symbol does not have; `hasattr` says so."""


# operation -> its sign, and what it does to arrays and numbers alike
INFIX: dict[str, tuple[str, Callable[..., Any]]] = {
    "add": ("+", operator.add),
    "subtract": ("-", operator.sub),
    "multiply": ("*", operator.mul),
    "divide": ("/", operator.truediv),
    "less": ("<", operator.lt),
    "less_equal": ("<=", operator.le),
    "greater": (">", operator.gt),
    "greater_equal": (">=", operator.ge),
    "equal": ("==", operator.eq),
    "not_equal": ("!=", operator.ne),
}
COMPARISONS = tuple(INFIX)[4:]
# operation -> the same on arrays, by Python's operators: they take numbers beside arrays, functions may not
OPERATORS: dict[str, Callable[..., Any]] = {op: does for op, (_, does) in INFIX.items()} | {
    "negative": operator.neg,
    "pow": operator.pow,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_not": operator.invert,
    "detach": lambda a: a,
}
FUNCTIONS = ("tanh", "exp", "expm1", "log", "log1p", "sqrt")
"""The operations that cost more than a few cycles."""
# operation -> the same on Python's numbers; "detach" is no function of the standard
FOLDS = {op: does for op, does in OPERATORS.items() if op != "detach"} | {op: getattr(math, op) for op in FUNCTIONS}
FOLDS |= {"minimum": min, "maximum": max, "logical_not": operator.not_, "where": lambda c, a, b: a if c else b}


def _operator(op: str) -> Callable[..., Node]:
    return lambda self, *others: self.graph.node(op, self, *others)


def _reflected(op: str) -> Callable[[Node, Any], Node]:
    return lambda self, other: self.graph.node(op, other, self)


def _refused(why: str) -> Callable[..., NoReturn]:
    def method(*_: Any) -> NoReturn:
        raise Untraceable(why)

    return method


class Node:
    """One operation; an "input" has a name as its value, a "constant" a number. Python's operators give more nodes."""

    __array_ufunc__ = None  # NumPy then leaves `number * node` to the node

    def __init__(self, graph: Graph, op: str, args: tuple[Node, ...], value: Any = None) -> None:
        self.graph, self.op, self.args, self.value = graph, op, args, value

    def __repr__(self) -> str:
        return str(self.value) if not self.args else f"{self.op}({', '.join(map(repr, self.args))})"

    def detach(self) -> Node:
        """The same value: hand-written backwards have cut the error already; a graph to be derived marks the cut."""
        return self.graph.node("detach", self) if self.graph.marks_detached else self

    def __getattr__(self, name: str) -> NoReturn:
        raise NoAttribute(f"it asks for .{name} of an operand")

    __bool__ = _refused("it branches on a value: write xp.where")
    __float__ = __int__ = __index__ = __len__ = _refused("it takes a number out of an array")
    __getitem__ = _refused("it takes an operand apart by index")
    __iter__ = _refused("it goes through an operand entry by entry")
    __matmul__ = __rmatmul__ = _refused("it multiplies matrices inside pointwise")
    __hash__ = object.__hash__

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _operator("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _operator("divide"), _reflected("divide")
    __pow__, __rpow__ = _operator("pow"), _reflected("pow")
    __and__, __or__ = _operator("logical_and"), _operator("logical_or")
    __lt__, __le__, __gt__, __ge__, __eq__, __ne__ = map(_operator, COMPARISONS)  # type: ignore[assignment]
    __neg__, __invert__ = _operator("negative"), _operator("logical_not")


class Graph:
    """All nodes of one trace, and the namespace that a cell runs on: `graph.xp.tanh(node)`."""

    def __init__(self, marks_detached: bool = False) -> None:
        self.marks_detached = marks_detached
        self.xp = Functions(self)
        self._known: dict[Any, Node] = {}

    def input(self, name: str) -> Node:
        """An operand by name."""
        return self._unique("input", (), name)

    def constant(self, value: Any) -> Node:
        """A number, or True or False."""
        if not isinstance(value, Real):
            raise Untraceable(f"it mixes an operand with a {type(value).__name__}")
        return self._unique("constant", (), bool(value) if isinstance(value, bool) else float(value))

    def node(self, op: str, *args: Any) -> Node:
        """One operation, unless it is there already or only numbers take part."""
        nodes = tuple(a if isinstance(a, Node) else self.constant(a) for a in args)
        if op == "pow" and nodes[1].op != "constant":
            raise Untraceable("it raises to a power that is no constant")
        if all(a.op == "constant" for a in nodes) and op in FOLDS:
            return self.constant(FOLDS[op](*(a.value for a in nodes)))
        same = self._same_value(op, nodes)
        return self._unique(op, nodes) if same is None else same

    def _same_value(self, op: str, args: tuple[Node, ...]) -> Node | None:
        """The argument that the result equals bit for bit, if one does (not x ± 0: −0 + 0 is +0)."""
        last = args[-1].value if args[-1].op == "constant" else None
        if op in ("multiply", "divide", "pow") and last == 1.0:
            return args[0]
        if op == "multiply" and args[0].op == "constant" and args[0].value == 1.0:
            return args[1]
        if op == "negative" and args[0].op == "negative":
            return args[0].args[0]
        if op == "where" and args[0].op == "constant":
            return args[1] if args[0].value else args[2]
        return args[1] if op == "where" and args[1] is args[2] else None

    def _unique(self, op: str, args: tuple[Node, ...], value: Any = None) -> Node:
        key = (op, *map(id, args), type(value), value, math.copysign(1, value) if isinstance(value, float) else None)
        if key not in self._known:
            self._known[key] = Node(self, op, args, value)
        return self._known[key]


class Functions:
    """The functions of the array standard that act on each entry by itself."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        node, constant = graph.node, graph.constant
        self._made: dict[str, Callable[..., Node]] = {
            "real": lambda a: a,  # what is traced is real
            "positive": lambda a: a,
            "square": lambda a: node("multiply", a, a),
            "reciprocal": lambda a: node("divide", 1.0, a),
            "zeros_like": lambda a: constant(0.0),  # noqa: ARG005
            "ones_like": lambda a: constant(1.0),  # noqa: ARG005
            "full_like": lambda a, value: constant(value),  # noqa: ARG005
        }

    def __getattr__(self, name: str) -> Callable[..., Node]:
        if name in self._made:
            return self._made[name]
        if name in FOLDS:
            return lambda *args: self._graph.node(name, *args)
        raise NoAttribute(f"it uses xp.{name}, which is not one of the elementwise functions that can be traced")


def reach(roots: Iterable[Node | None], stop: Iterable[Node] = ()) -> list[Node]:
    """All nodes that the roots are made of, arguments before what uses them; those in `stop` are left out."""
    seen, order = set(stop), []
    todo = [(node, False) for node in reversed(list(roots)) if node is not None]
    while todo:
        node, ready = todo.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            todo += [(node, True), *((a, False) for a in reversed(node.args))]
    return order
