"""A cell's two graphs as Numba source: one row of one step forward and backward."""

from __future__ import annotations

import re
from functools import lru_cache
from keyword import iskeyword
from textwrap import fill, indent

import numpy as np

from rnnbp.fastpath import Layout, layout
from rnnbp.lowering import FORMS, FUNCTIONS, Language, Node, Untraceable, reach, statements
from rnnbp.pointwise import PointwiseCell
from rnnbp_numpy.loops import loops

Loads = dict[str, tuple[Node, str]]  # the name of an operand -> its node, and where it lies
_SUFFIXES = ("_row", "_next", "_sum", "_all", "_fresh", "_given", "_error", "_kept", "_new", "_stored")
_LOOPS = {"forward", "backward", "input_of", "product_of"}
_FUNCTIONS = "exp expm1 log log1p sqrt tanh"
NUMBA = Language(
    constant=lambda value: str(value) if isinstance(value, bool) else f"F({value!r})",
    forms=FORMS
    | {"where": "{1} if {0} else {2}", "minimum": "{0} if {0} < {1} else {1}", "maximum": "{0} if {0} > {1} else {1}"}
    | {"logical_and": "{0} and {1}", "logical_or": "{0} or {1}", "logical_not": "not {0}", "pow": "{0} ** {1}"},
    assignment="{name} = {value}",
    reserved=frozenset(f"ax ah bias kept H unit F dz np njit range {_FUNCTIONS}".split()),
)


def source(cell: PointwiseCell, dtype: str) -> str:
    """The module for a cell: `forward` and `backward` over a whole sequence, for rows lo … hi−1 of the batch."""
    plan = layout(cell)
    _require_names(plan)
    for node in reach([*plan.trace.new_states.values(), *plan.trace.gradients.values()]):
        if node.op not in {*NUMBA.forms, *_FUNCTIONS.split(), "input", "constant"}:
            raise Untraceable(f"its operation {node.op} has no form in Numba")
    return "\n\n\n".join([_head(plan, dtype), _forward_row(plan), _backward_row(plan), *loops(plan)]) + "\n"


def _require_names(plan: Layout) -> None:
    """States, parameters and data have names that the code around them leaves free."""
    names = [*plan.cell.states, *plan.cell.elementwise, *plan.cell.data]
    errors = {f"d{name}" for name in names}
    for name in names:
        if not name.isidentifier() or iskeyword(name) or name in _LOOPS or name in errors or name.endswith(_SUFFIXES):
            raise Untraceable(f"it calls a state, a parameter or data {name!r}, a word of the generated code")


def _head(plan: Layout, dtype: str) -> str:
    cell, bits = plan.cell, np.dtype(dtype).itemsize * 8
    names = {node: name for name, node in plan.trace.internals.items()}
    left = [f"{names.get(node, repr(node))} in {_place(k)}" for k, node in enumerate(plan.kept)]
    told = "ax is x W and ah is h U, gate by gate, for H units. kept holds what the backward of a step needs: "
    told += f"{'; '.join(left) or 'nothing'}. dz holds the errors of {', '.join(plan.columns)} side by side."
    return f'''"""{type(cell).__name__} with gates {", ".join(cell.gates)}, in {dtype}: generated from its `pointwise`.

{fill(told, 118)}
"""

import numpy as np
from numba import njit, types

from rnnbp_numpy.functions import FAST, expm1, log, log1p, sqrt
from rnnbp_numpy.functions import exp{bits} as exp, tanh{bits} as tanh
from rnnbp_numpy.products import product

F, FLOAT = np.{dtype}, types.{dtype}
FLAGS = types.Array(types.boolean, 2, "C", readonly=True)
GIVEN = [types.Array(types.{dtype}, n, "C", readonly=True) for n in range(4)]  # what is read, by its number of axes
MADE = [types.Array(types.{dtype}, n, "C") for n in range(4)]  # what is written'''


def _place(k: int) -> str:
    """Where the k-th value that the forward leaves lies."""
    return f"kept[{k} * H + unit]"


def _forward_row(plan: Layout) -> str:
    """The pointwise part of a step for one sequence, from what the graph says."""
    found, cell = plan.trace, plan.cell
    loads: Loads = {}
    for k, gate in enumerate(plan.gates):
        of_x, of_h = f"ax[{k} * H + unit]", f"ah[{k} * H + unit]"
        of_x += f" + bias[{k} * H + unit]" if cell.bias else ""
        parts = {f"a_{gate}": f"{of_x} + {of_h}" if cell.recurrent else of_x}
        if gate in plan.split:
            parts = {f"a_{gate}_x": of_x, f"a_{gate}_h": of_h}
        loads |= {name: (found.operands[name], place) for name, place in parts.items()}
    for group in (found.states, found.params, found.data):
        loads |= {name: (node, f"{name}_row[unit]") for name, node in group.items()}
    roots = {f"{name}_next[unit]": node for name, node in found.new_states.items()}
    roots |= {_place(k): node for k, node in enumerate(plan.kept)}
    inputs = [f"{name}_row" for group in (found.states, found.params, found.data) for name in group]
    outputs = [f"{name}_next" for name in found.new_states]
    return _row("forward_row", ["ax", "ah", "bias", "kept", *inputs, *outputs], plan, loads, roots, staged=True)


def _backward_row(plan: Layout) -> str:
    """The hand-written backward of the same, from the last step's errors to the errors of this one's operands."""
    found = plan.trace
    loads = {f"d{name}_next": (node, f"d{name}_row[unit]") for name, node in found.errors.items()}
    first = next(iter(found.errors))
    loads[f"d{first}_next"] = (found.errors[first], f"d{first}_row[unit] + dy[unit]")
    names = {node: name for name, node in found.internals.items()}
    taken = {*found.states, *found.params, *found.data}
    for k, node in enumerate(plan.kept):
        name = names.get(node, f"kept{k}")
        loads[name if name not in taken else f"{name}_kept"] = (node, _place(k))
    for group in (found.states, found.params, found.data):
        loads |= {name: (node, f"{name}_row[unit]") for name, node in group.items()}
    for name, node in found.new_states.items():
        if not any(node is known for known, _ in loads.values()):
            loads[f"{name}_new"] = (node, f"{name}_next[unit]")
    zero = next(iter(found.operands.values())).graph.constant(0.0)
    roots = {f"dz[{k} * H + unit]": found.da[name] for k, name in enumerate(plan.columns)}
    roots |= {f"d{name}_row[unit]": d for name, d in found.ds.items()}
    roots |= {f"d{name}_sum[unit] +": d for name, d in found.dp.items() if d is not None}
    inputs = [f"{name}_row" for group in (found.states, found.params, found.data) for name in group]
    inputs += [f"{name}_next" for name in found.new_states] + ["dy"]
    outputs = ["dz", *(f"d{name}_row" for name in found.ds), *(f"d{name}_sum" for name in found.params)]
    filled = {place: zero if node is None else node for place, node in roots.items()}
    return _row("backward_row", ["kept", *inputs, *outputs], plan, loads, filled)


def _stages(plan: Layout, loads: Loads, roots: dict[str, Node]) -> list[tuple[Loads, dict[str, Node]]]:
    """The loads and the roots of each loop over the units, by how many functions lie on the way to a root.

    A processor overlaps as many units as its window of instructions reaches: the tanh of a tanh waits for it in one
    loop, and not in a loop of its own. There is one loop where a later one would need what has not been stored.
    """
    stages: list[tuple[Loads, dict[str, Node]]] = []
    stored: Loads = {}
    names = {node: name for name, node in plan.trace.internals.items()}
    inputs = {node for node, _ in loads.values()}
    for level in sorted({_stage(node) for node in roots.values()}):
        now = {place: node for place, node in roots.items() if _stage(node) == level}
        given = loads | stored
        needed = reach(now.values(), stop={node for node, _ in stored.values()})
        if any(node.op in FUNCTIONS and _stage(node) < level for node in needed):
            return [(loads, roots)]
        stages.append((given, now))
        for place, node in now.items():
            if node not in inputs:  # a cell may call a gate as it calls a state
                name = names.get(node, f"stored{len(stored)}")
                stored[name + "_stored" * (name in loads or name in NUMBA.reserved)] = (node, place)
    return stages


@lru_cache(maxsize=4096)
def _functions(node: Node) -> int:
    """How many functions lie on the longest way from the operands to a value, itself included."""
    return max(map(_functions, node.args), default=0) + (node.op in FUNCTIONS)


def _stage(node: Node) -> int:
    """When a value is known: after how many functions, one upon another."""
    return max(1, _functions(node))


def _row(
    name: str, arguments: list[str], plan: Layout, loads: Loads, roots: dict[str, Node], staged: bool = False
) -> str:
    """A function that goes through the units of one row: in one loop, or in one for each stage of functions."""
    head = f"@njit(**FAST)\ndef {name}(H, {', '.join(arguments)}):\n"
    language = Language(NUMBA.constant, NUMBA.forms, NUMBA.assignment, NUMBA.reserved | set(arguments))
    loads = {name + "_" * (name in NUMBA.reserved): load for name, load in loads.items()}
    stages = _stages(plan, loads, roots) if staged else [(loads, roots)]
    parts = [_loop(plan, language, given, now) for given, now in stages]
    return head + "\n".join(parts)


def _loop(plan: Layout, language: Language, loads: Loads, roots: dict[str, Node]) -> str:
    """What it loads, the statements of the graph, what it stores."""
    known = {node: operand for operand, (node, _) in loads.items()}
    internals = {n: node for n, node in plan.trace.internals.items() if node not in known}
    lines, values = statements(roots, known, internals, language)
    stores = [f"{place}= {value}" if place.endswith("+") else f"{place} = {value}" for place, value in values.items()]
    text = "\n".join([*lines, *stores])
    loaded = [f"{operand} = {place}" for operand, (_, place) in loads.items() if _mentions(text, operand)]
    return "    for unit in range(H):\n" + indent("\n".join([*loaded, *lines, *stores]), " " * 8)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None
