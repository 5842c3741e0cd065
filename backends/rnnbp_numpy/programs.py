"""A graph as a list of NumPy calls that all write into buffers: each is taken again after its last use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from rnnbp.lowering import FUNCTIONS, Node, Untraceable, reach
from rnnbp.numerics import HostArray

_FLAGS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
_FLAGS |= {"logical_and", "logical_or", "logical_not"}
_NUMBERS = {"add", "subtract", "multiply", "divide", "negative", *FUNCTIONS}
_EXTREMES = {"minimum": np.minimum, "maximum": np.maximum}
_ONES = {kind: np.ones((), kind) for kind in "fd"}
_POWERS = {2.0: np.square, 0.5: np.sqrt, -1.0: np.reciprocal}  # what `**` itself makes of these, to the bit


@dataclass(frozen=True, eq=False)
class Program:
    """Calls on the slots of a list: inputs, outputs, constants, and buffers for what lies between."""

    calls: tuple[tuple[Callable[..., Any], Callable[[Sequence[Any]], tuple[Any, ...]]], ...]
    constants: tuple[float | bool, ...]
    buffers: tuple[type | None, ...]  # bool, or None for the dtype of the scan

    def made(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> list[HostArray]:
        """What fills the slots behind inputs and outputs."""
        numbers = [np.array(value, bool if isinstance(value, bool) else dtype) for value in self.constants]
        return [*numbers, *(np.empty(shape, kind or dtype) for kind in self.buffers)]

    def run(self, slots: list[Any]) -> None:
        """Every call, in the order of the cell; in that of a logistic function exp may overflow."""
        for call, chosen in self.calls:
            call(*chosen(slots))


def program(inputs: Sequence[Node], outputs: Sequence[Node | None]) -> Program:
    """The calls that make the outputs, which share no memory with the inputs; for None nothing is written."""
    places = dict(zip(inputs, range(len(inputs)), strict=True))
    order = _needed(reach(outputs, stop=inputs), outputs)
    constants = [node for node in order if node.op == "constant"]
    places |= {node: len(inputs) + len(outputs) + k for k, node in enumerate(constants)}
    work = [node for node in order if node not in places]
    copies = []
    for k, node in enumerate(outputs, len(inputs)):
        if node is not None and node in places:
            copies.append((_copy, itemgetter(places[node], k)))
        elif node is not None:
            places[node] = k
    buffers = _Buffers(len(inputs) + len(outputs) + len(constants))
    last = {a: k for k, node in enumerate(work) for a in _args(node)}
    calls = []
    for k, node in enumerate(work):
        kind = bool if _is_flag(node) else None
        done = [a for a in dict.fromkeys(_args(node)) if last[a] == k]
        if node.op != "where":  # which writes before it has read all
            buffers.free(places[a] for a in done)
        if node not in places:
            places[node] = buffers.take(kind)
        if node.op == "where":
            buffers.free(places[a] for a in done)
        calls.append(_call(node, places))
    return Program((*calls, *copies), tuple(node.value for node in constants), tuple(buffers.kinds))


def _logistic(node: Node) -> Node | None:
    """The a of a node that is 0.5 tanh(0.5 a) + 0.5."""
    for op in ("add", "multiply", "tanh", "multiply"):
        if node.op != op:
            return None
        rest = [a for a in node.args if a.op != "constant" or a.value != 0.5]
        if len(rest) != 1:
            return None
        node = rest[0]
    return node


def _args(node: Node) -> tuple[Node, ...]:
    """What the call for a node reads."""
    a = _logistic(node)
    return node.args if a is None else (a,)


def _needed(order: Sequence[Node], roots: Sequence[Node | None]) -> list[Node]:
    """What is left of a graph, arguments first, where a logistic function is one call."""
    used = set(roots)
    for node in reversed(order):
        if node in used:
            used.update(_args(node))
    return [node for node in order if node in used]


class _Buffers:
    """Slots from a first one on, each taken for what needs it next."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.kinds: list[type | None] = []
        self._spare: dict[type | None, list[int]] = {bool: [], None: []}

    def take(self, kind: type | None) -> int:
        if self._spare[kind]:
            return self._spare[kind].pop()
        self.kinds.append(kind)
        return self.first + len(self.kinds) - 1

    def free(self, places: Any) -> None:
        for place in places:
            if place >= self.first:
                kind = self.kinds[place - self.first]
                self._spare[kind].append(place)


def _is_flag(node: Node) -> bool:
    if node.op == "constant":
        return isinstance(node.value, bool)
    return node.op in _FLAGS or (node.op == "where" and all(_is_flag(a) for a in node.args[1:]))


def _call(node: Node, places: dict[Node, int]) -> tuple[Callable[..., Any], Any]:
    """One operation: the function, and the slots it reads and writes."""
    args = _args(node)
    if _logistic(node) is not None:
        function: Callable[..., Any] = _sigmoid
    elif node.op == "where":
        function = _where
    elif node.op == "pow":
        exponent, args = args[1].value, args[:1]
        function = _POWERS.get(exponent) or partial(_power, exponent)
    elif node.op in _EXTREMES and not all(_is_flag(a) for a in args):
        function = partial(_extreme, _EXTREMES[node.op])
    elif node.op in _FLAGS or (node.op in _NUMBERS and not all(_is_flag(a) for a in args)):
        function = getattr(np, node.op)
    else:
        raise Untraceable(f"its operation {node.op} has no buffered form")
    return function, itemgetter(*(places[a] for a in args), places[node])


def _extreme(which: np.ufunc, a: HostArray, b: HostArray, out: HostArray) -> None:
    which(a, b, out=out)


def _power(exponent: float, a: HostArray, out: HostArray) -> None:
    np.power(a, exponent, out)


def _sigmoid(a: HostArray, out: HostArray) -> None:
    """1 / (1 + exp(−a)): NumPy's exp takes half the time of its tanh. Where exp overflows, 0 is right."""
    one = _ONES[out.dtype.char]
    np.negative(a, out)
    np.exp(out, out)
    np.add(out, one, out)
    np.divide(one, out, out)


def _where(condition: HostArray, a: HostArray, b: HostArray, out: HostArray) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition.astype(bool, copy=False))  # what is kept for the backward is a number


def _copy(a: HostArray, out: HostArray) -> None:
    np.copyto(out, a)
