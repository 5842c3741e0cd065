"""A small reverse-mode tape over a forward, whose rules can be changed edge by edge.

It knows calculus and no cell. What a backward with one wrong line returns is what the tape returns with one edge
changed; so every fault that one can think of costs one sweep over a forward recorded once. It runs on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.checking.diagnosis.transposes import TRANSPOSES, unbroadcast
from rnnbp.checking.operands.rules import ELEMENTWISE
from rnnbp.checking.operands.space import Operand, Space, bare
from rnnbp.numerics import HostArray

# (node, which argument, error of the node, what would flow to the argument) -> what flows there instead, None: nothing
Change: TypeAlias = Callable[["Node", int, HostArray, HostArray], HostArray | None]


class Node(Operand):
    """A value with the function and the arguments that it came from; `step` and `place` say where in the loop."""

    def __init__(
        self, tape: Tape, value: HostArray, name: str = "leaf", args: tuple[Any, ...] = (), options: Any = None
    ) -> None:
        super().__init__(tape, np.asarray(value))
        self.name, self.args, self.options = name, args, options or {}
        self.step, self.place = tape.step, tape.place
        self.leaf: Any = None  # (kind, name), of what is differentiated by: param, x, state or data
        self.kinds: frozenset[str] = frozenset().union(*(source.kinds for _, source in self.sources))  # it comes from

    @property
    def sources(self) -> Iterator[tuple[int, Node]]:
        """The arguments that are nodes, numbered; those in a list too."""
        flat = self.args[0] if self.args and isinstance(self.args[0], (list, tuple)) else self.args
        return ((k, arg) for k, arg in enumerate(flat) if isinstance(arg, Node))


class Tape(Space):
    """Records every function of nodes, in order."""

    def __init__(self) -> None:
        super().__init__(xp)
        self.nodes: list[Node] = []
        self.step, self.place = -1, 0

    def constant(self, value: Any) -> Node:
        return Node(self, value, "constant")

    def leaf(self, value: HostArray, kind: str, name: str) -> Node:
        """A node to differentiate by."""
        node = self._keep(Node(self, value))
        node.leaf, node.kinds = (kind, name), frozenset({kind})
        return node

    def enter(self, step: int) -> None:
        """What follows belongs to that time step: the same function of two steps has the same `place`."""
        self.step, self.place = step, 0

    def follow(self, name: str, value: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Node:
        return self._keep(Node(self, value, name, args, options))

    def _keep(self, node: Node) -> Node:
        self.place += 1
        self.nodes.append(node)
        return node

    def sweep(self, errors: Sequence[tuple[Node, HostArray]], change: Change | None = None) -> dict[int, HostArray]:
        """The error of every node that the errors of some reach, by id: one pass backwards over the tape."""
        found: dict[int, HostArray] = {}

        def receive(node: Node, error: HostArray) -> None:
            found[id(node)] = found[id(node)] + error if id(node) in found else error

        for node, error in errors:
            receive(node, error)
        for node in reversed(self.nodes):
            if id(node) not in found or not node.args:
                continue
            error = found[id(node)]
            for k, source in node.sources:
                if source.name == "constant":
                    continue
                share = pull(node, k, error)
                if share is not None and change is not None:
                    share = change(node, k, error, share)
                if share is not None:
                    receive(source, share)
        return found


def pull(node: Node, k: int, error: HostArray) -> HostArray | None:
    """The error of argument k of a node, from the node's: the transpose of its linearisation."""
    values = [bare(arg) for arg in node.args]
    if node.name in ELEMENTWISE:
        slope = ELEMENTWISE[node.name](xp, node.value, *values, **node.options)[k]
        return None if slope is None else unbroadcast(error * slope, np.shape(values[k]))
    return TRANSPOSES[node.name](k, error, node.value, values, node.options)
