"""Which functions of a step are a gate's σ and which are a tanh, read off the tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rnnbp.checking.diagnosis.tape import Node
from rnnbp.checking.diagnosis.unrolled import Unrolled
from rnnbp.numerics import HostArray


class Squashing(NamedTuple):
    """A σ or a tanh: its place in the step, its value (made from the node there), and whose it is."""

    place: int
    kind: str
    value: Callable[[Node], HostArray]
    owner: str


def squashings(unrolled: Unrolled) -> list[Squashing]:
    """σ is 0.5 tanh(0.5 a) + 0.5, or 1 / (1 + exp(−a)); any other tanh is one."""
    nodes = unrolled.step_nodes
    halved = {id(arg) for node in nodes if _halves(node) for _, arg in node.sources}
    found = []
    for node in nodes:
        source = next((source for _, source in node.sources), None)
        if source is None:
            continue
        if node.name == "tanh" and _halves(source) and id(node) in halved:
            found.append(Squashing(node.place, "σ", lambda n: 0.5 * n.value + 0.5, owner(unrolled, node)))
        elif node.name == "tanh":
            found.append(Squashing(node.place, "tanh", lambda n: n.value, owner(unrolled, node)))
        elif node.name == "exp" and source.name == "negative":
            found.append(Squashing(node.place, "σ", lambda n: 1 / (1 + n.value), owner(unrolled, node)))
    return found


def _halves(node: Node) -> bool:
    return node.name == "multiply" and any(isinstance(arg, float) and arg == 0.5 for arg in node.args)


def owner(unrolled: Unrolled, node: Node) -> str:
    """The gate whose pre-activation a function is applied to, or the state: found back through sums and scalings."""
    gates = next(iter(unrolled.blocks.values()), ())
    states = {id(z): name for z, name in zip(unrolled.left[0], unrolled.problem.cell.states, strict=True)}
    waiting = [source for _, source in node.sources]
    while waiting:
        at = waiting.pop(0)
        if id(at) in states:
            return states[id(at)]
        k = gate_of(unrolled, at)
        if k is not None:
            return f"gate {gates[k]}"
        if at.name in ("add", "subtract", "negative") or _halves(at):
            waiting += [source for _, source in at.sources]
    return "some gate"


def gate_of(unrolled: Unrolled, node: Node) -> int | None:
    """Which gate's columns a node cuts out of an array that holds all gates side by side; None for another node."""
    count, wide = len(next(iter(unrolled.blocks.values()), ())), unrolled.problem.cell.hidden_size
    if node.name != "getitem" or node.args[0].shape[-1:] != (count * wide,) or node.shape[-1:] != (wide,):
        return None
    key: Any = node.args[1][-1] if isinstance(node.args[1], tuple) else node.args[1]
    return (key.start or 0) // wide if isinstance(key, slice) else None
