"""A cell as a function of JAX's, whose gradient is the backward that was derived by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from rnnbp.cellbase import Cell, Params, State
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array
from rnnbp.validation import check_scan
from rnnbp_jax import calling_back, looping, refuse_narrowing
from rnnbp_jax.looping import Given

Function: TypeAlias = Callable[..., tuple[Array, State]]
WAYS = {"jax": looping, "numpy": calling_back}


def custom_vjp(cell: Cell, backend: str = "jax") -> Function:
    """f(params, xs, s0=None, *, mask=None, resets=None, data=None, reverse=False) -> (ys, last).

    It computes what `rnnbp.scan` does, for xs (T, B, I), under `jax.grad`, `jax.jit` and `jax.vmap`. Gradients go to
    params, xs and s0; data have none, and to ask for one is refused. Make it once: each keeps what it has compiled.

    backend: "jax" runs `jax.lax.scan` over the cell's steps, forward and backward, on any device; its gradient can be
    differentiated again. "numpy" calls the NumPy backend's scan on this machine's CPU, through `jax.pure_callback`:
    the loops that it generates, but a forward more for each gradient, and no second derivative.
    64-bit numbers are as JAX has them: where they are off, host arrays in float64 are refused, not narrowed.
    """
    if not isinstance(cell, Cell):
        raise UserError(f"cell must be an rnnbp.Cell; got {type(cell).__name__}: rnnbp.cell(name, I, H) makes one")
    if backend not in WAYS:
        raise unknown("backend of custom_vjp", backend, WAYS)
    directions = [_operation(WAYS[backend], cell, reverse) for reverse in (False, True)]

    def scan(
        params: Params,
        xs: Array,
        s0: State | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: Params | None = None,
        reverse: bool = False,
    ) -> tuple[Array, State]:
        s0 = tuple(s0) if isinstance(s0, list) else s0
        leaves, structure = jax.tree.flatten(Given(params, xs, s0, mask, resets, data))
        refuse_narrowing(*(a for a in leaves if isinstance(a, np.ndarray)))
        given: Given = jax.tree.unflatten(structure, map(jnp.asarray, leaves))
        check_scan(cell, *given)
        _refuse_copies(cell, given)
        ys, last = directions[bool(reverse)](given)
        return ys, last

    return scan


def _operation(way: Any, cell: Cell, reverse: bool) -> Any:
    """Given -> ys, last, with its gradient. Compiled here, or each call outside of a jit would compile a loop."""
    forward = jax.jit(partial(way.forward, cell, reverse))
    backward = jax.jit(partial(way.backward, cell, reverse))

    def value(given: Given) -> tuple[Array, State]:
        ys, last, _ = forward(given)
        return ys, last

    def kept(given: Given) -> Any:  # of each array its value, and whether a gradient is wanted
        if any(a.perturbed for a in jax.tree.leaves(given.data)):
            raise UserError("data get no gradient; one is asked for: pass jax.lax.stop_gradient(data)")
        values = jax.tree.map(lambda a: a.value, given)
        ys, last, left = forward(values)
        return (ys, last), (values, left)

    def gradients(left: Any, errors: Any) -> tuple[Given]:
        given: Given = left[0]
        dys, ds_T = jax.tree.map(lambda d: None if isinstance(d, SymbolicZero) else d, errors, is_leaf=_is_zero)
        dparams, dxs, ds = backward(*left, dys, ds_T)
        return (Given(dparams, dxs, None if given.s0 is None else ds, None, None, None),)

    operation = jax.custom_vjp(value)
    operation.defvjp(kept, gradients, symbolic_zeros=True)
    return operation


def _is_zero(error: Any) -> bool:
    return isinstance(error, SymbolicZero)


def _refuse_copies(cell: Cell, given: Given) -> None:
    """Axes before T and B are `jax.vmap`'s."""
    states, data = cell.states.values(), given.data or {}
    axes = {"xs": (given.xs, 3)} | {name: (given.params[name], len(s.shape)) for name, s in cell.params.items()}
    axes |= {f"s0 ({n})": (z, 1 + len(s)) for n, s, z in zip(cell.states, states, given.s0 or (), strict=False)}
    axes |= {name: (data[name], 2 + len(shape)) for name, shape in cell.data.items()}
    for name, (a, n) in axes.items():
        if a.ndim > n:
            raise UserError(f"{name} must have {n} axes; got shape {a.shape}: jax.vmap takes copies")
