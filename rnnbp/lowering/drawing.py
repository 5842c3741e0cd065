"""The two graphs of a cell in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Mapping

from rnnbp.lowering.nodes import INFIX, Node, reach
from rnnbp.lowering.saving import saved
from rnnbp.lowering.tracing import Trace


def dot(trace: Trace) -> str:
    """Forward and backward as clusters; what the forward leaves for the backward is filled."""
    kept = set(saved(trace))
    forward = reach([*trace.new_states.values(), *kept])
    backward = reach(trace.gradients.values(), stop=forward)
    numbers = {node: f"n{k}" for k, node in enumerate(forward + backward)}
    named = {node: name for name, node in trace.internals.items()}
    lines = ["digraph cell {", '  node [shape=box, style="rounded", fontname="Helvetica"];', "  rankdir=BT;"]
    for title, nodes in (("forward", forward), ("backward", backward)):
        lines += [f"  subgraph cluster_{title} {{", f'    label="{title} of {type(trace.cell).__name__}";']
        for node in nodes:
            fill = ', style="rounded,filled", fillcolor="lightgoldenrod"' if node in kept else ""
            lines.append(f'    {numbers[node]} [label="{_label(node, named)}"{fill}];')
        lines.append("  }")
    lines += [f"  {numbers[a]} -> {numbers[node]};" for node in forward + backward for a in node.args]
    new = {f"{state}'": node for state, node in trace.new_states.items()}
    lines += _roots(new, numbers, "forward") + _roots(trace.gradients, numbers, "backward")
    return "\n".join([*lines, "}"])


def _label(node: Node, named: Mapping[Node, str]) -> str:
    does = str(node.value) if node.op in ("input", "constant") else INFIX.get(node.op, (node.op,))[0]
    return f"{named[node]} = {does}" if node in named and node.args else does


def _roots(roots: Mapping[str, Node | None], numbers: Mapping[Node, str], group: str) -> list[str]:
    """What comes out, each with its name; what is zero has no edge."""
    lines = []
    for k, (name, node) in enumerate(roots.items()):
        lines.append(f'  {group}{k} [label="{name}{" = 0" if node is None else ""}", shape=plaintext];')
        lines += [] if node is None else [f"  {numbers[node]} -> {group}{k};"]
    return lines
