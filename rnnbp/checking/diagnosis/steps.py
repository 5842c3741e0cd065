"""Faults inside one step, found on the tape by structure: slopes, exchanged gates, lost paths, peepholes, masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import combinations

import numpy as np

from rnnbp.checking.diagnosis.hypotheses import Hypothesis, Suspects
from rnnbp.checking.diagnosis.squashing import gate_of, owner, squashings
from rnnbp.checking.diagnosis.tape import Change, Node
from rnnbp.checking.diagnosis.transposes import unbroadcast
from rnnbp.checking.diagnosis.unrolled import Unrolled
from rnnbp.checking.operands.space import bare
from rnnbp.numerics import HostArray

New = Callable[[Node, HostArray, HostArray], HostArray | None]  # node, its error, what would flow -> what flows instead

DERIVATIVES: dict[str, Callable[[HostArray], HostArray]] = {"σ": lambda y: y * (1 - y), "tanh": lambda y: 1 - y * y}
FUNCTIONS: dict[str, Callable[[HostArray], HostArray]] = {"σ": lambda y: 0.5 * np.tanh(0.5 * y) + 0.5, "tanh": np.tanh}
# what a wrong slope is, in units of the right one
WRONG_SLOPES: dict[str, Callable[[str, HostArray], HostArray]] = {
    "missing": lambda kind, y: 1 / DERIVATIVES[kind](y),
    "twice": lambda kind, y: DERIVATIVES[kind](y),
    "of-activated": lambda kind, y: DERIVATIVES[kind](FUNCTIONS[kind](y)) / DERIVATIVES[kind](y),
}


def at(places: Collection[tuple[int, int]], new: New) -> Change:
    """Change the edges with these (place, argument), in every step."""

    def change(node: Node, k: int, error: HostArray, share: HostArray) -> HostArray | None:
        return new(node, error, share) if node.step >= 0 and (node.place, k) in places else share

    return change


def slopes(suspects: Suspects) -> Iterator[Hypothesis]:
    """σ' or tanh' missing, taken twice, or taken of the value: at one place, and at all of a kind."""
    every = squashings(suspects.unrolled)
    groups = [[one] for one in every] + [[s for s in every if s.kind == kind] for kind in DERIVATIVES]
    for group in filter(None, groups):
        kind, values = group[0].kind, {s.place: s.value for s in group}
        where = f"of {group[0].owner}" if len(group) == 1 else "everywhere"
        for name, slope in WRONG_SLOPES.items():
            change = at([(place, 0) for place in values], _scaled(kind, values, slope))
            bug = f"{'sigma' if kind == 'σ' else kind}-prime-{name}"
            yield suspects.swept(bug, f"{kind}' {where}", "step", change)


def _scaled(
    kind: str, values: dict[int, Callable[[Node], HostArray]], slope: Callable[[str, HostArray], HostArray]
) -> New:
    def new(node: Node, error: HostArray, share: HostArray) -> HostArray:
        del error
        return share * slope(kind, values[node.place](node))

    return new


def exchanged(suspects: Suspects) -> Iterator[Hypothesis]:
    """The errors of two gates' pre-activations change places."""
    unrolled = suspects.unrolled
    gates, wide = next(iter(suspects.blocks.values()), ()), unrolled.problem.cell.hidden_size
    for one, two in combinations(range(len(gates)), 2):
        moved = {one: two, two: one}

        def change(
            node: Node, k: int, error: HostArray, share: HostArray, moved: dict[int, int] = moved
        ) -> HostArray | None:
            del k, error
            gate = gate_of(unrolled, node) if node.step >= 0 else None
            return np.roll(share, (moved[gate] - gate) * wide, axis=-1) if gate in moved else share

        yield suspects.swept("gates-swapped", f"{gates[one]} and {gates[two]}", "step", change)


def masks(suspects: Suspects) -> Iterator[Hypothesis]:
    """A factor that came with the data is left out of the backward."""
    for node, k, source, other in _factors(suspects.unrolled):
        if other == {"data"}:
            yield suspects.swept(
                "mask-missing",
                f"on the way to {_word(suspects.unrolled, source)}",
                "step",
                at([(node.place, k)], _unmasked),
            )
            users = [n for n in suspects.unrolled.step_nodes if n.name == "matmul" and n.args[0] is node]
            for user in users:
                change = at([(user.place, 1)], _unmasked_weights(k))
                yield suspects.swept("mask-missing", f"in d{_param(user.args[1])}", "step", change)


def peepholes(suspects: Suspects) -> Iterator[Hypothesis]:
    """What flows through a parameter times a state is lost; or the parameter meets the state of another step."""
    unrolled = suspects.unrolled
    before = {id(z): j for entered in unrolled.entered for j, z in enumerate(entered)}
    after = {id(z): j for left in unrolled.left for j, z in enumerate(left)}
    paths: list[tuple[int, int]] = []
    for node, k, source, other in _factors(unrolled):
        if other == {"param"} and source.kinds != {"param"}:
            paths.append((node.place, k))
            detail = f"{_word(unrolled, source)} → {_user(unrolled, node)}"
            yield suspects.swept("peephole-path-missing", detail, "step", at(paths[-1:], _nothing))
        seen = node.args[1 - k]
        if source.kinds == {"param"} and id(seen) in before | after:
            moved = _moved(1 - k, before, after, unrolled)
            change = at([(node.place, k)], moved)
            yield suspects.swept("peephole-of-wrong-c", f"d{_param(source)}", "step", change)
    if len(paths) > 1:
        yield suspects.swept("peephole-path-missing", "all of them", "step", at(paths, _nothing))


def _moved(seen: int, before: dict[int, int], after: dict[int, int], unrolled: Unrolled) -> New:
    """Of a product's two factors, take the state before the step for the one after, or after for before."""

    def new(node: Node, error: HostArray, share: HostArray) -> HostArray:
        state = id(node.args[seen])
        other = (
            unrolled.left[node.step][before[state]] if state in before else unrolled.entered[node.step][after[state]]
        )
        return unbroadcast(error * other.value, share.shape)

    return new


def paths(suspects: Suspects) -> Iterator[Hypothesis]:
    """One edge of the step, through which the error of a state or of the input flows, is left out."""
    for node in suspects.unrolled.step_nodes:
        for k, source in node.sources:
            if source.kinds & {"state", "x"}:
                detail = f"{_word(suspects.unrolled, source)} → {_user(suspects.unrolled, node)}"
                yield suspects.swept("path-missing", detail, "step", at([(node.place, k)], _nothing))


def returns(suspects: Suspects) -> Iterator[Hypothesis]:
    """The error of one gate does not flow back through the weights to the state or the input that they multiply."""
    unrolled = suspects.unrolled
    gates, wide = next(iter(suspects.blocks.values()), ()), unrolled.problem.cell.hidden_size
    for node in unrolled.step_nodes:
        if node.name != "matmul" or node.args[1].kinds != {"param"} or node.shape[-1] != len(gates) * wide:
            continue
        for k, gate in enumerate(gates):
            detail = f"gate {gate} → {_word(unrolled, node.args[0])}"
            yield suspects.swept("path-missing", detail, "step", at([(node.place, 0)], _without(k * wide, wide)))


def _without(start: int, wide: int) -> New:
    """The transpose of a product less that of some columns."""

    def new(node: Node, error: HostArray, share: HostArray) -> HostArray:
        columns = slice(start, start + wide)
        lost: HostArray = error[..., columns] @ np.swapaxes(bare(node.args[1])[..., columns], -1, -2)
        return share - lost

    return new


def _unmasked(node: Node, error: HostArray, share: HostArray) -> HostArray:
    del node
    return unbroadcast(error, share.shape)


def _unmasked_weights(kept: int) -> New:
    """The gradient of weights that multiply a masked value, made with the value before its mask."""

    def new(node: Node, error: HostArray, share: HostArray) -> HostArray:
        value: HostArray = node.args[0].args[kept].value
        return np.asarray(np.swapaxes(value, -1, -2) @ error).reshape(share.shape)

    return new


def _nothing(node: Node, error: HostArray, share: HostArray) -> None:
    del node, error, share


def _factors(unrolled: Unrolled) -> Iterator[tuple[Node, int, Node, frozenset[str]]]:
    """Every factor of every elementwise product of a step: node, which, the factor, and what the other comes from."""
    for node in unrolled.step_nodes:
        sources = dict(node.sources)
        if node.name == "multiply" and len(sources) == 2:
            for k, source in sources.items():
                yield node, k, source, sources[1 - k].kinds


def _param(node: Node) -> str:
    return str(node.leaf[1]) if node.leaf else _param(next(source for _, source in node.sources))


def _word(unrolled: Unrolled, node: Node) -> str:
    """A node in words: a state, before the step or (primed) after it, a gate's pre-activation, or a function."""
    for nodes, mark in ((unrolled.entered[0], ""), (unrolled.left[0], "'")):
        for name, z in zip(unrolled.problem.cell.states, nodes, strict=True):
            if z is node:
                return name + mark
    gate = gate_of(unrolled, node)
    if gate is not None:
        return f"pre-activation {next(iter(unrolled.blocks.values()))[gate]}"
    return "x" if node.leaf else node.name


def _user(unrolled: Unrolled, node: Node) -> str:
    """What a product goes into: the gate behind it, else the product itself."""
    users = [n for n in unrolled.step_nodes if any(source is node for _, source in n.sources)]
    found = {owner(unrolled, user) for user in users if user.name == "add"} - {"some gate"}
    return found.pop() if len(found) == 1 else _word(unrolled, node)


FAMILIES = (slopes, exchanged, masks, peepholes, paths, returns)
