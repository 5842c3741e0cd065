"""From one run of `pointwise` and of the closure that it returned: the graphs of the forward and of the backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.lowering.evaluating import evaluate
from rnnbp.lowering.nodes import Graph, Node, Untraceable
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.pointwise import PointwiseCell
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
        return {f"d{name}": node for part in (self.da, self.ds, self.dp) for name, node in part.items()}


def trace(cell: Cell, marks_detached: bool = False) -> Trace:
    """Run a cell on symbols; a cell that cannot be told by elementwise expressions alone is `Untraceable`.

    marks_detached: `rnnbp.detach` leaves a node "detach" behind, where a derivative of the graph is to stop.
    The graph is compared with the cell on random numbers, bit for bit: a cell that looks at what a symbol does not show
    (a global, the type of an operand) is refused, too.
    """
    if not isinstance(cell, PointwiseCell):
        raise Untraceable("it is a plain Cell: only the pointwise part of a PointwiseCell is elementwise")
    try:
        hash(cell)
    except TypeError as error:
        raise Untraceable(f"it is not hashable ({error})") from error
    return _trace(cell, marks_detached)


@lru_cache(maxsize=256)
def _trace(cell: PointwiseCell, marks_detached: bool) -> Trace:
    graph = Graph(marks_detached)
    names = [n for g in cell.gates for n in ((f"a_{g}_x", f"a_{g}_h") if g in cell.split else (f"a_{g}",))]
    groups = (names, cell.states, cell.elementwise, cell.data)
    if twice := [name for name, count in Counter(chain(*groups)).items() if count > 1]:
        raise Untraceable(f"it has two things of the name {twice[0]}")
    a, s, p, e = ({name: graph.input(name) for name in group} for group in groups)
    errors = {name: graph.input(f"d{name}'") for name in s}
    try:
        s1, backward = cell.pointwise(graph.xp, tuple(a.values()), tuple(s.values()), p, e)
        internals = {name: value for name, value in closure(backward).items() if isinstance(value, Node)}
        da, ds, dp = backward(tuple(errors.values()))
        new = _named(graph, "states", s, s1)
        of_a, of_s = _named(graph, "errors of pre-activations", a, da), _named(graph, "errors of states", s, ds)
        of_p = _named(graph, "errors of parameters", [name for name in dp if name in p], tuple(dp.values()))
    except Untraceable:
        raise
    except Exception as error:  # whatever a cell does with what is no array
        told = str(error).partition("\n")[0]
        raise Untraceable(f"it fails on symbols ({type(error).__name__}: {told})") from error
    found = Trace(cell, a, s, p, e, new, errors, of_a, of_s, of_p, internals)
    _same_as_cell(found)
    return found


def untraceable(cell: Cell) -> str | None:
    """None if a cell can be traced, else the reason why not."""
    try:
        trace(cell)
    except Untraceable as reason:
        return str(reason)
    return None


def random_inputs(found: Trace, rng: np.random.Generator, scale: float = 1.0, batch: int = 2) -> dict[str, HostArray]:
    """Host arrays for every input of a trace; pre-activations and errors are normal numbers times `scale`."""
    cell = found.cell
    wide = (*found.operands, *(node.value for node in found.errors.values()))
    drawn: dict[str, HostArray] = {name: scale * rng.standard_normal((batch, cell.hidden_size)) for name in wide}
    drawn |= dict(zip(found.states, cell.random_state(rng, batch), strict=True))
    drawn |= {name: rng.standard_normal((1, *spec.shape)) for name, spec in cell.elementwise.items()}
    return drawn | {name: rng.random((batch, *shape)) for name, shape in cell.data.items()}


def run_on(found: Trace, inputs: Mapping[str, Array], xp: Namespace) -> list[Any]:
    """What the cell itself makes of such arrays: the new states, then its gradients in the order of `gradients`."""
    a, s, p, e = ({n: inputs[n] for n in group} for group in (found.operands, found.states, found.params, found.data))
    s1, backward = found.cell.pointwise(xp, tuple(a.values()), tuple(s.values()), p, e)
    da, ds, dp = backward(tuple(inputs[node.value] for node in found.errors.values()))
    return [*s1, *da, *ds, *(dp.get(name) for name in found.dp)]


def _named(graph: Graph, what: str, names: Collection[str], nodes: Any) -> dict[str, Any]:
    """What came back, by name; a number in place of an array becomes a node."""
    if not isinstance(nodes, (tuple, list)) or len(nodes) != len(names):
        raise Untraceable(f"it does not return {len(names)} {what}")
    return {n: d if d is None or isinstance(d, Node) else graph.constant(d) for n, d in zip(names, nodes, strict=True)}


def _same_as_cell(found: Trace) -> None:
    """The graph gives the bits that the cell gives, on two draws of random numbers; a constant may have any shape."""
    rng, roots = np.random.default_rng(0), (*found.new_states.values(), *found.gradients.values())
    for scale in (1.0, 30.0):
        drawn = random_inputs(found, rng, scale)
        with np.errstate(all="ignore"):  # a draw may lie outside a function's domain: NaN equals NaN here
            for a, b in zip(evaluate(roots, drawn, xp), run_on(found, drawn, xp), strict=True):
                if not (a is b if a is None or b is None else np.all((a == b) | ((a != a) & (b != b)))):
                    raise Untraceable("on symbols it computes something else than on arrays")
