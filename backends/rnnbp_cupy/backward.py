"""The kernel of one step backward."""

from __future__ import annotations

from rnnbp.fastpath import Layout
from rnnbp.lowering import Node, reach
from rnnbp_cupy.kernels import Kernel, Writer

# slot: the step's place in dz; enter, leave: the slots of the states before and after the step;
# later: the step whose errors come in, or −1 at the end of the window; with_dys: whether errors of outputs count here
NUMBERS = ("step", "slot", "enter", "leave", "later", "with_dys")


def backward_kernel(plan: Layout) -> Kernel:
    """Reads the errors of the states after the step, and what the forward left; writes dz and the errors before it."""
    write, found = Writer(plan), plan.trace
    mask, resets = write.array("const bool", "mask", "mask"), write.array("const bool", "resets", "resets")
    dys, dz = write.array("const storage", "dys", "dys"), write.array("storage", "dz", "dz")
    write.thread()
    write.say(
        f"const bool on = !{mask} || {mask}[flag];",
        f"const bool over = later >= 0 && {resets} && {resets}[(long long)later * B + row];",
        f"const long long wide = ((long long)slot * B + row) * {len(plan.columns)} * H + unit;",
        "",
        "// the errors of the states after the step: nothing flows back over a reset",
    )
    errors = _errors(write)
    write.say("if (!on) {  // a masked step: the error passes it by")
    for k, _ in enumerate(plan.columns):
        write.say(f"{dz}[wide + {k} * H] = store(real(0));", indent=2)
    for name in found.states:
        write.say(f"{write.array('real', f'error {name}')}[at] = {errors[name]};", indent=2)
    write.say("return;", indent=2)
    write.say("}")
    first = write.names(f"d{next(iter(found.states))}_total")
    output = f"{errors[next(iter(errors))]} + (with_dys ? load({dys}[step * size + at]) : real(0))"
    write.say(f"const real {first} = {output};  // the output's own error")
    errors[next(iter(errors))] = first
    known = {found.errors[name]: text for name, text in errors.items()} | _left_by_forward(write)
    write.say("", f"// {type(plan.cell).__name__}")
    roots = {name: node for name, node in found.gradients.items() if node is not None}
    values = write.statements(roots, known, {n: node for n, node in roots.items() if node.args and node not in known})
    _store(write, values)
    return write.kernel(f"{type(plan.cell).__name__}_backward", "One step backward.", NUMBERS)


def _errors(write: Writer) -> dict[str, str]:
    """Load what came back to each state directly, and through U from the later step."""
    plan, texts = write.plan, {}
    feeds = set(plan.cell.gates) - set(plan.cell.cut)
    back = write.array("const real", "fed back", "hU_back") if plan.cell.recurrent and feeds else None
    for name in plan.trace.states:
        texts[name] = write.names(f"d{name}'")
        value = f"{write.array('real', f'error {name}', write.names(f'error_{name}'))}[at]"
        if back and name in plan.cell.recurrent:
            place = f"(long long)row * {len(plan.cell.recurrent)} * H + {plan.cell.recurrent.index(name)} * H + unit"
            drop = write.drop(name, "later")
            value = f"{value} + (later >= 0 ? {back}[{place}]{f' * {drop}' if drop else ''} : real(0))"
        write.say(f"const real {texts[name]} = over ? real(0) : {value};")
    return texts


def _left_by_forward(write: Writer) -> dict[Node, str]:
    """Load the states, the parameters, the data and the kept values that the backward names."""
    plan, found, known = write.plan, write.plan.trace, {}
    stops = {*plan.kept, *found.states.values(), *found.new_states.values(), *found.params.values()}
    used = frozenset(reach(found.gradients.values(), stop=stops - {n for n in stops if not n.args}))
    used |= {a for node in used for a in node.args} | {n for n in found.gradients.values() if n is not None}
    write.say("", "// what the forward left")
    own = {node: name for name, node in found.internals.items()}
    if any(node in used for node in found.states.values()):
        write.say("const bool fresh = resets && resets[flag];")
    for name, node in found.states.items():
        all_of = write.array("const real", f"states {name}", write.names(f"all_{name}"))
        start = write.array("const real", f"start {name}", write.names(f"start_{name}"))
        if node in used:
            known[node] = write.names(name)
            write.say(f"const real {known[node]} = fresh ? {start}[at] : {all_of}[enter * size + at];")
        after = found.new_states[name]
        if after in used and after not in known and after.op not in ("constant", "input"):
            known[after] = write.names(own.get(after, f"{name}'"))
            write.say(f"const real {known[after]} = {all_of}[leave * size + at];")
    known |= write.inputs((*found.params, *found.data), used)
    for k, node in enumerate(plan.kept):
        known[node] = write.names(own.get(node, f"kept{k}"))
        write.say(f"const real {known[node]} = load({_place(write, k)});")
    return known


def _place(write: Writer, k: int) -> str:
    """Where the forward left the k-th kept value."""
    plan = write.plan
    if k < len(plan.gates):
        return f"{write.array('const storage', 'xW', 'xW')}[(flag * {len(plan.gates)} + {k}) * H + unit]"
    extra = write.array("const storage", "extra", "extra")
    return f"{extra}[(flag * {plan.extra} + {k - len(plan.gates)}) * H + unit]"


def _store(write: Writer, values: dict[str, str]) -> None:
    """Store dz, the errors of the states before the step, and add to those of the elementwise parameters."""
    plan, dz = write.plan, write.array("storage", "dz")
    write.say("", "// the errors of the pre-activations, of the states before the step, and of the parameters")
    for k, name in enumerate(plan.columns):
        write.say(f"{dz}[wide + {k} * H] = store({values.get(f'd{name}', 'real(0)')});")
    for name in plan.trace.states:
        write.say(f"{write.array('real', f'error {name}')}[at] = {values.get(f'd{name}', 'real(0)')};")
    for name in plan.trace.params:
        if f"d{name}" in values:
            total = write.array("real", f"gradient {name}", write.names(f"sum_d{name}"))
            write.say(f"{total}[at] += {values[f'd{name}']};")
