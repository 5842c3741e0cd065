"""From descriptions of cells to a stack with its parameters, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnbp.cellbase import Cell
from rnnbp.errors import UserError, unknown
from rnnbp.interop.description import CLASSES, Direction, Layers, beyond, defaults, described, fit, host, words
from rnnbp.numerics import HostArray
from rnnbp.registry import CELLS, parse_spec
from rnnbp.stacking import Stack
from rnnbp.validation import check_names


def assembled(layers: Layers, cell: str | None = None) -> tuple[Stack, dict[str, HostArray]]:
    """The stack, and its parameters by name. `cell` (NAME[:option=value,…]) says what a file leaves open."""
    made: list[tuple[Cell, ...]] = []
    params: dict[str, HostArray] = {}
    for k, layer in enumerate(layers):
        for prefix, one in zip((f"{k}.", f"{k}.reverse."), layer, strict=False):
            width = sum(below.output_size for below in made[-1]) if made else one.input_size
            if one.input_size != width:
                raise UserError(
                    f"{one.where} must take the {width} outputs of the layer below; it takes {one.input_size}"
                )
            params |= {prefix + name: value for name, value in one.params.items()}
        made.append(tuple(made_cell(one, cell) for one in layer))
    stack = Stack(tuple(made))
    return stack, {name: params[name] for name in stack.params}


def made_cell(one: Direction, cell: str | None) -> Cell:
    """The cell of a direction, checked against what the file says of it."""
    name = next(registered for kind, _, registered in CLASSES.values() if kind == one.kind)
    strange = sorted(set(one.options) - set(defaults(one.kind)))
    if strange:
        raise UserError(f"{one.where} has {words({o: one.options[o] for o in strange})}, which no {one.kind} here has")
    if cell is None and one.unsaid:
        ways = [f"--cell {name}:{option}={value}" for option, values in one.unsaid.items() for value in values]
        raise UserError(f"{one.where} does not say its {' and '.join(one.unsaid)}: add {' or '.join(ways)}")
    spec, said = cell or name, one.options
    typed = parse_spec(spec)[1]
    given = {o: v for o, v in beyond(one.kind, said).items() if o not in typed}
    made: Cell = CELLS.make(spec, one.input_size, one.hidden_size, **given)
    kind, options = described(made)
    wrong = {o: v for o, v in said.items() if kind == one.kind and options[o] != v}
    if kind != one.kind or wrong:
        says = words(wrong) or f"a cell of kind {one.kind}"
        raise UserError(f"{one.where} has {says}; got cell {spec}: name one that fits, such as {name}")
    for param, wanted in made.params.items():
        fit(f"{one.where}: {param}", one.params.get(param), *wanted.shape)
    return made


def chosen(found: Mapping[str, Layers], wanted: Sequence[str], what: str) -> Layers:
    """The layers of the parts that were named, from the bottom up; without names there may be one part only."""
    if not found:
        raise UserError(f"{what} holds no RNN, LSTM or GRU: name another file")
    for name in wanted:
        if name not in found:
            raise unknown("layer", name, found)
    if not wanted and len(found) > 1:
        names = ", ".join(name or "''" for name in found)
        raise UserError(f"{what} holds {names}: name one, or several from the bottom up, with --layer")
    return [layer for name in wanted or found for layer in found[name]]


def taken(
    stack: Stack, params: Mapping[str, Any], library: str, takes: Mapping[str, Sequence[str]]
) -> list[tuple[Direction, ...]]:
    """The stack as directions, if the library can say it: `takes` are the options that it has, for each kind."""
    if stack != Stack(stack.layers):
        raise UserError(f"{library} gets the cells of a stack alone: leave out what stands around them; got {stack}")
    check_names("parameters of the stack", params, stack.params)
    layers = []
    for k, layer in enumerate(stack.layers):
        own = []
        for prefix, cell in zip((f"{k}.", f"{k}.reverse."), layer, strict=False):
            kind, options = described(cell)
            if kind not in takes:
                raise UserError(f"{library} has no {kind}: cell {prefix[:-1]} cannot go there")
            if strange := {o: v for o, v in beyond(kind, options).items() if o not in takes[kind]}:
                raise UserError(f"{library} has no {kind} with {words(strange)}: cell {prefix[:-1]} cannot go there")
            arrays = {n: fit(prefix + n, host(params[prefix + n]), *spec.shape) for n, spec in cell.params.items()}
            sizes = (cell.input_size, cell.hidden_size)
            own.append(Direction(kind, *sizes, options, arrays, where=f"cell {prefix[:-1]}"))
        if len({(one.kind, one.hidden_size, words(one.options)) for one in own}) > 1:
            raise UserError(f"{library} has the same cell in both directions of a layer; layer {k} has two kinds")
        layers.append(tuple(own))
    return layers
