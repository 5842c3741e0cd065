"""The parameters of a cell, a stack or a model, drawn as a scheme says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnbp.cellbase import Cell, Param
from rnnbp.errors import UserError, unknown
from rnnbp.initializers import Initializer, chrono
from rnnbp.model import Model
from rnnbp.numerics import HostArray
from rnnbp.schemes import Scheme, parse
from rnnbp.stacking import Stack


class Part(NamedTuple):
    """A parameter, or a gate's block of one: the cell's prefix, where it lies, and the selectors that mean it."""

    prefix: str
    param: str
    gate: str
    columns: slice
    names: tuple[str, str, str]  # kind, parameter, gate's block; the later, the fewer it means


def drawn(what: Cell | Stack | Model, scheme: Scheme | str, rng: np.random.Generator) -> dict[str, HostArray]:
    """Parameters as `what.init` draws them, and over them what the scheme says, as host arrays in float64.

    A selector that finds nothing is a UserError. What no word names has the numbers that it has without a scheme.
    """
    found = parse(scheme) if isinstance(scheme, str) else scheme
    params, parts = {name: np.array(w) for name, w in what.init(rng).items()}, list(_parts(what))
    ranked: tuple[list[tuple[list[Part], Initializer]], ...] = ([], [], [])
    for selector, init in found.rules:
        name = selector.removesuffix("?")
        if hit := [part for part in parts if name in part.names]:
            ranked[hit[0].names.index(name)].append((hit, init))
        elif name == selector:
            raise unknown("parameter or gate to initialise", name, {n for part in parts for n in part.names if n})
    for rank, rules in enumerate(ranked):
        if rank == 2 and found.t_max is not None:
            _put_chrono(params, dict(_cells(what)), parts, chrono(found.t_max), rng)
        for hit, init in rules:
            for part in hit:
                _put(params, part, init, rng)
    return params


def _put(params: dict[str, HostArray], part: Part, init: Initializer, rng: np.random.Generator) -> None:
    block = params[part.param][..., part.columns]
    try:
        block[...] = init(rng, block.shape)
    except UserError as error:
        raise UserError(f"{part.names[2] or part.names[1]} cannot be drawn so: {error}") from None


def _put_chrono(
    params: dict[str, HostArray],
    cells: dict[str, Cell],
    parts: list[Part],
    init: Initializer,
    rng: np.random.Generator,
) -> None:
    """One draw for all gates of a bias, with the sign of each."""
    for prefix, cell in cells.items():
        signs = cell.memory_gates
        at: dict[str, list[Part]] = {}
        for part in parts:
            if part.prefix == prefix and part.gate in signs and params[part.param].ndim == 1:
                at.setdefault(part.param, []).append(part)
        if not at:
            name = type(cell).__name__
            raise UserError(f"chrono needs biases of gates that keep a memory; {name} has none in its memory_gates")
        for name, blocks in at.items():
            same = init(rng, params[name][blocks[0].columns].shape)
            for part in blocks:
                params[name][part.columns] = signs[part.gate] * same


def _cells(what: Cell | Stack | Model) -> Iterator[tuple[str, Cell]]:
    """Every cell with its prefix."""
    if isinstance(what, Cell):
        yield "", what
    else:
        yield from (what.stack if isinstance(what, Model) else what).cells


def _parts(what: Cell | Stack | Model) -> Iterator[Part]:
    """Every block of every parameter."""
    left = dict(what.params)
    for prefix, cell in _cells(what):
        for name, spec in cell.params.items():
            del left[prefix + name]
            gates = cell.blocks.get(name, ())
            width = spec.shape[-1] // max(1, len(gates))
            for k, gate in enumerate(gates or ("",)):
                names = (_kind(name, spec), name, f"{name}.{gate}" if gate else "")
                yield Part(prefix, prefix + name, gate, slice(k * width, (k + 1) * width), names)
    for name in left:  # the readout's and the embedding's
        yield Part("", name, "", slice(None), ("", name, ""))


def _kind(name: str, spec: Param) -> str:
    """By the first letter, as cells name their parameters, and the number of axes."""
    return {("W", 2): "input", ("U", 2): "recurrent", ("b", 1): "bias"}.get((name[0], len(spec.shape)), "")
