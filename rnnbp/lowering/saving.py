"""What a forward must leave for its backward."""

from __future__ import annotations

from rnnbp.lowering.nodes import FUNCTIONS, Node, reach
from rnnbp.lowering.tracing import Trace


def saved(trace: Trace, recompute: bool = True) -> tuple[Node, ...]:
    """The values of the forward that its backward needs, beyond what a scan keeps anyway: states, parameters, data.

    An LSTM's: i, f, g, o and tanh(c'). With `recompute`, what a few operations make of these is not kept but computed
    again (a GRU's h − n); what took a tanh or an exp is always kept.
    """
    forward = set(reach([*trace.new_states.values(), *trace.internals.values()])) | set(trace.operands.values())
    free = {*trace.states.values(), *trace.params.values(), *trace.data.values(), *trace.new_states.values()}
    backward = reach(trace.gradients.values(), stop=forward)
    used = dict.fromkeys(a for node in backward for a in node.args)  # in the order of the backward
    used |= dict.fromkeys(node for node in trace.gradients.values() if node in forward)
    kept = {a: None for a in used if a in forward and a not in free and a.op != "constant"}
    if not recompute:
        return tuple(kept)
    cheap = [node for node in reversed(reach(kept)) if node in kept and node.op not in (*FUNCTIONS, "input")]
    for node in cheap:
        others = free | kept.keys() - {node}
        if all(leaf in others for leaf in reach([node], stop=others) if leaf.op in ("input", *FUNCTIONS)):
            del kept[node]
    return tuple(kept)
