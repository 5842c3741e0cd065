"""The scan of a cell by the NumPy backend, called back from JAX's compiled code.

What a backward keeps cannot go through JAX, and a table of it would grow for ever: the backward runs the scan anew.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from rnnbp.cellbase import Cell, State
from rnnbp.numerics import Array
from rnnbp.scanning import run, scan
from rnnbp_jax.looping import Given


def forward(cell: Cell, reverse: bool, given: Given) -> tuple[Array, State, None]:
    """Ys (T, B, O), the last state, and nothing kept."""
    steps, batch, _ = given.xs.shape
    shapes = [(steps, batch, cell.output_size), *((batch, *shape) for shape in cell.states.values())]

    def call(given: Given) -> Any:
        params, xs, s0, *flags = _host(given)
        ys, last = run(cell, params, xs, s0, **_options(flags, reverse))
        return [ys, *last]

    ys, *last = _called(call, [jax.ShapeDtypeStruct(shape, given.xs.dtype) for shape in shapes], given)
    return ys, tuple(last), None


def backward(
    cell: Cell, reverse: bool, given: Given, left: None, dys: Array | None, ds_T: tuple[Array | None, ...]
) -> tuple[dict[str, Array], Array, State]:
    """Dparams, dxs and ds0; None stands for zero."""
    del left
    batch, dtype = given.xs.shape[1], given.xs.dtype
    states = tuple(jax.ShapeDtypeStruct((batch, *shape), dtype) for shape in cell.states.values())
    params = {name: jax.ShapeDtypeStruct(spec.shape, dtype) for name, spec in cell.params.items()}

    def call(given: Given, errors: Any) -> Any:
        params, xs, s0, *flags = _host(given)
        return scan(cell, params, xs, s0, **_options(flags, reverse))[2](*_host(errors))

    found: tuple[dict[str, Array], Array, State] = _called(
        call, (params, jax.ShapeDtypeStruct(given.xs.shape, dtype), states), given, (dys, ds_T)
    )
    return found


def _called(call: Any, shapes: Any, *given: Any) -> Any:
    return jax.pure_callback(call, shapes, *given, vmap_method="sequential")


def _host(given: Any) -> Any:
    return jax.tree.map(np.asarray, given)


def _options(flags: list[Any], reverse: bool) -> dict[str, Any]:
    mask, resets, data = flags
    return {"mask": mask, "resets": resets, "data": data, "reverse": reverse}
