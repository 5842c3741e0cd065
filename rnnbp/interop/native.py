"""Our own files: safetensors whose metadata name the cells, and the checkpoints of training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rnnbp.cellbase import Cell
from rnnbp.errors import UserError, unknown
from rnnbp.interop.description import CLASSES, SIZES, beyond, fit, host, words
from rnnbp.numerics import HostArray
from rnnbp.registry import CELLS
from rnnbp.registry import cell as make_cell
from rnnbp.runs import Checkpoint, read_checkpoint, write_checkpoint
from rnnbp.stacking import Stack
from rnnbp.validation import check_names


def write_native(path: Path, stack: Stack, params: Mapping[str, Any], cells: Mapping[str, str] | None = None) -> None:
    """The parameters by name, and in the metadata every cell: how it is named, and its sizes.

    cells: the specs by the stack's prefixes, "0.", "0.reverse.", …, if they are known; else they are looked for.
    """
    if stack != Stack(stack.layers):
        raise UserError(f"a file of weights holds the cells of a stack alone; got {stack}")
    check_names("parameters of the stack", params, stack.params)
    arrays = {name: fit(name, host(params[name]), *spec.shape) for name, spec in stack.params.items()}
    named = {prefix: checked(cell, (cells or {}).get(prefix) or spec_of(cell)) for prefix, cell in stack.cells}
    layers: list[list[dict[str, Any]]] = [[] for _ in stack.layers]
    for prefix, cell in stack.cells:
        sizes = {size: int(getattr(cell, size)) for size in SIZES}
        layers[int(prefix.partition(".")[0])].append({"cell": named[prefix], **sizes})
    write_checkpoint(path, Checkpoint(arrays, {"layers": layers}))


def read_native(
    path: Path, layers: Sequence[str] = ()
) -> tuple[Stack, dict[str, HostArray], list[str], dict[str, str]]:
    """The stack and the parameters of a file of weights or of a run's checkpoint, the tensors that are none of it, and
    the specs of the cells by prefix.

    A run's folder stands for its best checkpoint. `layers`: numbers of layers, from the bottom up.
    """
    path = path / "best.safetensors" if path.is_dir() else path
    checkpoint = read_checkpoint(path)
    if "layers" in checkpoint.meta:
        (stack, cells), front = _described(path, checkpoint.meta["layers"]), ""
    else:
        (stack, cells), front = _trained(checkpoint), "params/"
    if stack != Stack(stack.layers):
        raise UserError(f"{path} holds more than the cells of a stack: residual layers {stack.residual}")
    known = {str(k): k for k in range(len(stack.layers))}
    for name in layers:
        if name not in known:
            raise unknown("layer", name, known)
    picked = [known[name] for name in layers] or list(known.values())
    check_fed(stack, picked)
    part = Stack(tuple(stack.layers[k] for k in picked))
    stored = {name: in_whole(name, picked) for name in part.params}
    arrays = {name: checkpoint.arrays.get(front + stored[name]) for name in part.params}
    params = {n: fit(f"{path}: {front}{stored[n]}", arrays[n], *spec.shape) for n, spec in part.params.items()}
    beside = ("moments/", "state/", *(front + name for name in stored.values()))
    left_out = [name for name in checkpoint.arrays if not name.startswith(beside)]
    return part, params, left_out, {prefix: cells[in_whole(prefix, picked)] for prefix, _ in part.cells}


def in_whole(name: str, picked: Sequence[int]) -> str:
    """The name, or the prefix, that something of the part has in the whole."""
    layer, _, rest = name.partition(".")
    return f"{picked[int(layer)]}.{rest}"


def check_fed(stack: Stack, picked: Sequence[int]) -> None:
    """Layers on top of each other fit."""
    for below, above in pairwise(picked):
        width = sum(cell.output_size for cell in stack.layers[below])
        if stack.layers[above][0].input_size != width:
            raise UserError(f"layer {above} does not take the {width} outputs of layer {below}: name others")


def _described(path: Path, layers: Any) -> tuple[Stack, dict[str, str]]:
    """The stack that the metadata of a file of weights describe, and the specs of its cells by prefix."""
    try:
        made = [tuple(make_cell(c["cell"], *(c[size] for size in SIZES)) for c in layer) for layer in layers]
        specs = [c["cell"] for layer in layers for c in layer]
    except (TypeError, KeyError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged, its metadata describe no cells: use another one") from None
    if not made or not all(1 <= len(layer) <= 2 for layer in made):
        raise UserError(f"{path} is damaged, a layer has one direction or two: use another one")
    stack = Stack(tuple(made))
    return stack, {prefix: spec for (prefix, _), spec in zip(stack.cells, specs, strict=True)}


def _trained(checkpoint: Checkpoint) -> tuple[Stack, dict[str, str]]:
    """The stack of the model that a run trains, and the specs of its cells by prefix.

    How errors were cut and clipped on their way back is no part of what was learnt.
    """
    from rnnbp.training.config import Config
    from rnnbp.training.setup import build_model  # lies above this package
    from rnnbp.training.state import complete

    meta = complete(checkpoint)
    config, data = replace(Config.from_dict(meta["config"]), truncation="full", clip_step=None), meta["data"]
    stack = build_model(config, data["inputs"], data["input_size"], data["output_size"], data["loss"]).stack
    return stack, {prefix: config.cell for prefix, _ in stack.cells}


def spec_of(cell: Cell) -> str:
    """NAME[:option=value,…] for a cell: the registered name that makes it, with the options it needs."""
    kind, stands_for, name = CLASSES.get(type(cell)) or ("", {}, registered(cell))
    own = {f.name: getattr(cell, f.name) for f in fields(cell) if f.init and f.name not in SIZES}
    own = {f.name: own[f.name] for f in fields(cell) if f.name in own and own[f.name] != f.default}
    typed = words(beyond(kind, stands_for) | own)
    return checked(cell, name + ":" * bool(typed) + typed)


def checked(cell: Cell, spec: str) -> str:
    """The spec, if it makes the cell."""
    if make_cell(spec, *(getattr(cell, size) for size in SIZES)) != cell:
        raise UserError(f"a file of weights names its cells; {spec} is not {cell}")
    return spec


def registered(cell: Cell) -> str:
    """The name of a plugin's class, or of a function that makes such cells."""
    for name in CELLS:
        try:
            if type(CELLS.make(name, *(getattr(cell, size) for size in SIZES))) is type(cell):
                return name
        except UserError:  # a broken plugin, or a cell that does not come in this size, did not make this one
            continue
    raise UserError(f"a file of weights names its cells, and no registered name makes a {type(cell).__name__}")
