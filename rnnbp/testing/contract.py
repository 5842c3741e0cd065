"""What a cell says about itself: its version, its options, its parameters and its states."""

from __future__ import annotations

from copy import copy
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
from array_api_compat import device

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.registry import API
from rnnbp.testing.cases import B


def api_version(cell: Cell, backend: Backend) -> str:
    """`api` is the version of the contract that this rnnbp has."""
    del backend
    return "" if cell.api == API else f"the cell is written for contract {cell.api}, this is contract {API}"


def value(cell: Cell, backend: Backend) -> str:
    """A cell is a value: frozen, equal to a cell with the same options, hashable. Write @dataclass(frozen=True)."""
    del backend
    twin = replace(cell)
    if twin != cell:
        return f"two cells with the same options are not equal: {cell!r} and {twin!r}"
    try:
        if hash(twin) != hash(cell):
            return "two equal cells have different hashes"
    except TypeError as error:
        return f"the cell is not hashable ({error}): options must be, so a tuple in place of a list"
    for field in fields(cell):
        try:
            setattr(copy(cell), field.name, getattr(cell, field.name))
        except FrozenInstanceError:
            continue
        return f"the option {field.name} can be written to"
    return ""


def initial_draws(cell: Cell, backend: Backend) -> str:
    """`init` draws what `params` declares, as finite float64 host arrays, the same for the same generator."""
    del backend
    drawn, again = (cell.init(np.random.default_rng(0)) for _ in range(2))
    if list(drawn) != list(cell.params):
        return f"init draws {', '.join(drawn) or 'nothing'}; params declares {', '.join(cell.params) or 'nothing'}"
    for name, spec in cell.params.items():
        w = drawn[name]
        if not isinstance(w, np.ndarray) or w.dtype != np.float64:
            return f"{name} is drawn as {getattr(w, 'dtype', type(w).__name__)}; it must be a NumPy array of float64"
        if w.shape != tuple(spec.shape):
            return f"{name} is drawn with shape {w.shape}; params declares {tuple(spec.shape)}"
        if not np.all(np.isfinite(w)):
            return f"{name} is drawn with entries that are not finite"
        if not np.array_equal(w, again[name]):
            return f"{name} differs from draw to draw with the same generator: draw from `rng` only"
    return ""


def states(cell: Cell, backend: Backend) -> str:
    """`initial_state` and `random_state` have the shapes of `states`; the first has the dtype and device of `like`."""
    shapes = {name: (B, *shape) for name, shape in cell.states.items()}
    if not shapes:
        return "a cell needs a state: the first one is its output"
    first, width = next(iter(cell.states.items()))
    if len(width) != 1 or cell.output_size != width[0]:
        return f"the first state, {first}, is the output and needs the shape ({cell.output_size},); got {width}"
    for dtype in ("float32", "float64"):
        like = backend.asarray([1.0], dtype)
        found = cell.initial_state(backend.xp, B, like)
        if wrong := _misfit("initial_state", found, shapes):
            return wrong
        for name, z in zip(shapes, found, strict=True):
            if z.dtype != like.dtype or device(z) != device(like):
                return (
                    f"initial_state gives {name} as {z.dtype} on {device(z)}; `like` is {like.dtype} on {device(like)}"
                )
    drawn = cell.random_state(np.random.default_rng(0), B)
    if wrong := _misfit("random_state", drawn, shapes):
        return wrong
    for name, z in zip(shapes, drawn, strict=True):
        if not np.all(np.isfinite(z)) or not np.any(z):
            return f"random_state gives {name} zero throughout or not finite: a check would see nothing"
    return ""


def _misfit(what: str, found: Any, shapes: dict[str, tuple[int, ...]]) -> str:
    """What makes a tuple of states other than declared, in words; empty if nothing does."""
    if not isinstance(found, tuple) or len(found) != len(shapes):
        return f"{what} must give a tuple of one array for each of {', '.join(shapes)}; got {type(found).__name__}"
    for (name, shape), z in zip(shapes.items(), found, strict=True):
        if tuple(z.shape) != shape:
            return f"{what} gives {name} with shape {tuple(z.shape)}; `states` declares {shape}"
    return ""
