"""From one run of `pointwise` and of the closure that it returned: the graphs of the forward and of the backward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell, PointwiseCell
from rnnbp.lowering.evaluating import evaluate
from rnnbp.lowering.nodes import Graph, Node, Untraceable
from rnnbp.numerics import HostArray
from rnnbp.recording import closure

Named = Mapping[str, Node]
Errors = Mapping[str, Node | None]  # None stands for zero


@dataclass(frozen=True, eq=False)
class Trace:
    """What a cell computes in one step, entry by entry, forward and backward.

    Inputs are nodes that bear these names: `a_<gate>` (`a_<gate>_x` and `a_<gate>_h` where a gate is split), states and
    elementwise parameters and data by their own names, and the errors `d<state>'` of the new states.
    """

    cell: PointwiseCell
    operands: Named  # the pre-activations, in the order of `pointwise`
    states: Named
    params: Named
    data: Named
    new_states: Named  # forward roots, by state
    errors: Named  # of the new states
    da: Errors  # backward roots: by operand, by state, by parameter
    ds: Errors
    dp: Errors
    internals: Named  # what the closure kept, by the names that the cell gave it

    @property
    def gradients(self) -> dict[str, Node | None]:
        """The backward roots by name: da_<gate>, d<state>, d<parameter>."""
        parts = {f"d{name}": node for name, node in self.da.items()}
        return parts | {f"d{name}": node for name, node in {**self.ds, **self.dp}.items()}


@lru_cache(maxsize=256)
def trace(cell: Cell, marks_detached: bool = False) -> Trace:
    """Run a cell on symbols; a cell that cannot be told by elementwise expressions alone is `Untraceable`.

    marks_detached: `rnnbp.detach` leaves a node "detach" behind, where a derivative of the graph is to stop.
    The graph is compared with the cell on random numbers, bit for bit: a cell that looks at what a symbol does not show
    (a global, the type of an operand) is refused, too.
    """
    if not isinstance(cell, PointwiseCell):
        raise Untraceable("it is a plain Cell: only the pointwise part of a PointwiseCell is elementwise")
    graph = Graph(marks_detached)
    names = [n for g in cell.gates for n in ((f"a_{g}_x", f"a_{g}_h") if g in cell.split else (f"a_{g}",))]
    operands, states, params, data = (
        {name: graph.input(name) for name in group} for group in (names, cell.states, cell.elementwise, cell.data)
    )
    errors = {name: graph.input(f"d{name}'") for name in states}
    try:
        s1, backward = cell.pointwise(graph.xp, tuple(operands.values()), tuple(states.values()), params, data)
        internals = {name: value for name, value in closure(backward).items() if isinstance(value, Node)}
        da, ds, dp = backward(tuple(errors.values()))
    except Untraceable:
        raise
    except Exception as error:  # whatever a cell does with what is no array
        told = str(error).partition("\n")[0]
        raise Untraceable(f"it fails on symbols ({type(error).__name__}: {told})") from error
    found = Trace(
        cell,
        operands,
        states,
        params,
        data,
        _named("states", states, s1),
        errors,
        _named("errors of pre-activations", operands, da),
        _named("errors of states", states, ds),
        {name: d for name, d in dp.items() if name in params},
        internals,
    )
    _same_as_cell(found)
    return found


def untraceable(cell: Cell) -> str | None:
    """None if a cell can be traced, else the reason why not."""
    try:
        trace(cell)
    except Untraceable as reason:
        return str(reason)
    return None


def _named(what: str, names: Mapping[str, Any], nodes: Any) -> dict[str, Any]:
    """What came back, by name; a number in place of an array becomes a node."""
    if not isinstance(nodes, (tuple, list)) or len(nodes) != len(names):
        raise Untraceable(f"it does not return {len(names)} {what}")
    graph = next(iter(names.values())).graph
    return {n: d if d is None or isinstance(d, Node) else graph.constant(d) for n, d in zip(names, nodes, strict=True)}


def _same_as_cell(found: Trace) -> None:
    """The graph gives the bits that the cell gives, on two draws of random numbers."""
    cell, rng = found.cell, np.random.default_rng(0)
    for scale in (1.0, 30.0):
        drawn: dict[str, HostArray] = {}
        wide = (*found.operands, *(node.value for node in found.errors.values()))
        drawn |= {name: scale * rng.standard_normal((2, cell.hidden_size)) for name in wide}
        drawn |= dict(zip(found.states, cell.random_state(rng, 2), strict=True))
        drawn |= {n: rng.standard_normal((1, *spec.shape)) for n, spec in cell.elementwise.items()}
        drawn |= {n: rng.random((2, *shape)) for n, shape in cell.data.items()}
        with np.errstate(all="ignore"):  # a draw may lie outside a function's domain: NaN equals NaN here
            groups = (found.operands, found.states, found.params, found.data)
            a, s, p, e = ({name: drawn[name] for name in group} for group in groups)
            s1, backward = cell.pointwise(xp, tuple(a.values()), tuple(s.values()), p, e)
            da, ds, dp = backward(tuple(drawn[node.value] for node in found.errors.values()))
            wanted = [*s1, *da, *ds, *(dp.get(name) for name in found.dp)]
            roots = [*found.new_states.values(), *found.da.values(), *found.ds.values(), *found.dp.values()]
            for got, want in zip(evaluate(roots, drawn, xp), wanted, strict=True):
                if (got is None) != (want is None) or (want is not None and not _same_bits(got, want)):
                    raise Untraceable("on symbols it computes something else than on arrays")


def _same_bits(a: HostArray, b: HostArray) -> bool:
    """Equal entries, NaN for NaN, where what is the same for every entry may have been written once."""
    return bool(np.all((a == b) | ((a != a) & (b != b))))
