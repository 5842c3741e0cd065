"""The kernel of one step forward."""

from __future__ import annotations

from rnnbp.fastpath import Layout
from rnnbp.lowering import Node
from rnnbp_cupy.kernels import Kernel, Writer

# step: of this launch; enter, leave: the slots of the states before and after it; next: the step that follows, or −1
NUMBERS = ("step", "enter", "leave", "next", "keep")


def forward_kernel(plan: Layout) -> Kernel:
    """Reads x W, h U and the states before the step; writes those after it, the output and what the backward needs."""
    write, found = Writer(plan), plan.trace
    xw = write.array("storage", "xW", "xW")
    hu = write.array("const real", "hU", "hU") if plan.cell.recurrent else None
    bias = write.array("const real", "bias", "bias") if plan.cell.bias else None
    mask, resets = write.array("const bool", "mask", "mask"), write.array("const bool", "resets", "resets")
    write.thread()
    wide = f"{len(plan.gates)} * H"
    write.say(
        f"const bool on = !{mask} || {mask}[flag], fresh = {resets} && {resets}[flag];",
        f"const long long gates = flag * {wide} + unit" + (f", fed = (long long)row * {wide} + unit;" if hu else ";"),
        "",
        "// what the step starts from",
    )
    known, entered = _states(write)
    known |= write.inputs((*found.params, *found.data), plan.used)
    write.say("", "// the pre-activations")
    known |= _preactivations(write, xw, hu, bias)
    write.say("", f"// {type(plan.cell).__name__}")
    roots = {f"state {name}": node for name, node in found.new_states.items()}
    roots |= {f"kept {k}": node for k, node in enumerate(plan.kept)}
    named = {name: node for name, node in found.internals.items() if node in plan.used and node not in known}
    values = write.statements(roots, known, named)
    _leave(write, values, entered)
    _keep(write, values, xw)
    return write.kernel(f"{type(plan.cell).__name__}_forward", "One step forward.", NUMBERS)


def _states(write: Writer) -> tuple[dict[Node, str], dict[str, str]]:
    """Load the states: those that the last step left, or new ones after a reset."""
    known, entered = {}, {}
    for name, node in write.plan.trace.states.items():
        known[node] = entered[name] = write.names(name)
        all_of = write.array("real", f"states {name}", write.names(f"all_{name}"))
        start = write.array("const real", f"start {name}", write.names(f"start_{name}"))
        write.say(f"const real {known[node]} = fresh ? {start}[at] : {all_of}[enter * size + at];")
    return known, entered


def _preactivations(write: Writer, xw: str, hu: str | None, bias: str | None) -> dict[Node, str]:
    """Load x W + b and h U, apart where a gate is split; those that nothing depends on are left out."""
    known: dict[Node, str] = {}
    plan = write.plan
    for k, gate in enumerate(plan.gates):
        of_x = f"load({xw}[gates + {k} * H])" + (f" + {bias}[unit + {k} * H]" if bias else "")
        of_h = f"{hu}[fed + {k} * H]"
        parts = {f"a_{gate}": f"{of_x} + {of_h}" if hu else of_x}
        if gate in plan.split:
            parts = {f"a_{gate}_x": of_x, f"a_{gate}_h": of_h}
        for name, value in parts.items():
            node = plan.trace.operands[name]
            if node in plan.used:
                known[node] = write.names(name)
                write.say(f"const real {known[node]} = {value};")
    return known


def _leave(write: Writer, values: dict[str, str], entered: dict[str, str]) -> None:
    """Store the new states, which a masked step leaves as they were, the output, and what U multiplies next."""
    plan = write.plan
    ys = write.array("storage", "ys", "ys")
    context = write.array("storage", "context", "context") if plan.cell.recurrent else None
    resets = write.array("const bool", "resets")
    write.say("", "// what the step leaves; a masked one leaves the state as it was, and its output is zero")
    left = {}
    for name in plan.trace.states:
        left[name] = write.names(f"{name}_left")
        all_of = write.array("real", f"states {name}")
        write.say(f"const real {left[name]} = on ? {values[f'state {name}']} : {entered[name]};")
        write.say(f"{all_of}[leave * size + at] = {left[name]};")
    output = left[next(iter(left))]
    write.say(f"{ys}[step * size + at] = store(on ? {output} : real(0));")
    if context:
        write.say(f"if ({context}) {{  // what U multiplies at the next step, where that is not a state as it lies")
        write.say(f"const bool over = next >= 0 && {resets} && {resets}[(long long)next * B + row];", indent=2)
        for k, name in enumerate(plan.cell.recurrent):
            start = write.array("const real", f"start {name}")
            place = f"(leave * (long long)B + row) * {len(plan.cell.recurrent)} * H + {k} * H + unit"
            fed = f"over ? {start}[at] : {left[name]}"
            if drop := write.drop(name, "next"):
                fed = f"({fed}) * {drop}"
            write.say(f"{context}[{place}] = store({fed});", indent=2)
        write.say("}")


def _keep(write: Writer, values: dict[str, str], xw: str) -> None:
    """Store what the backward needs over x W, the rest beside it."""
    plan = write.plan
    extra = write.array("storage", "extra", "extra") if plan.extra else None
    if not plan.kept:
        return
    write.say("if (keep) {  // for the backward")
    for k in range(len(plan.kept)):
        beyond = k - len(plan.gates)
        place = f"{xw}[gates + {k} * H]" if beyond < 0 else f"{extra}[(flag * {plan.extra} + {beyond}) * H + unit]"
        write.say(f"{place} = store({values[f'kept {k}']});", indent=2)
    write.say("}")
