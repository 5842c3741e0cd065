"""The peer: jax.lax.scan under jit, and jax.vjp of it, for the LSTM, the GRU and the Elman network.

Written as in JAX's own examples, with the input product of all steps made before the loop. JAX is imported when one is
built, and the functions are compiled then, so that no call and no peak of memory has the compiler in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rnnbp.backends import Backend
from rnnbp.benching.contenders import BOTH, FORWARD, Contender
from rnnbp.benching.problems import Problem
from rnnbp.benching.timing import host_seconds
from rnnbp.benching.torch_peer import layer_of
from rnnbp.cells.elman import Elman
from rnnbp.cells.gru import GRU
from rnnbp.cells.lstm import LSTM
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray


def lacks(cell: Any) -> str:
    """Why there is no such scan; "" where there is."""
    return "" if layer_of(cell) else "no jax.lax.scan is written for it"  # they are written for the same cells


def elman(jax: Any, activation: str, p: dict[str, Array], s: Any, ax: Array) -> Any:
    """One step of the Elman network: s, a_x -> s', y."""
    (h,) = s
    a = ax + h @ p["U"]
    h = jax.nn.relu(a) if activation == "relu" else jax.numpy.tanh(a)
    return (h,), h


def lstm(jax: Any, p: dict[str, Array], s: Any, ax: Array) -> Any:
    """One step of long short-term memory."""
    h, c = s
    sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
    i, f, g, o = jax.numpy.split(ax + h @ p["U"], 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h, c), h


def gru(jax: Any, p: dict[str, Array], s: Any, ax: Array) -> Any:
    """One step of the gated recurrent unit, reset after the product."""
    (h,) = s
    sigmoid, split = jax.nn.sigmoid, jax.numpy.split
    (r, z, v), (hr, hz, u) = split(ax, 3, axis=-1), split(h @ p["U"], 3, axis=-1)
    r, z = sigmoid(r + hr), sigmoid(z + hz)
    n = jax.numpy.tanh(v + r * (u + p.get("bu", 0)))
    h = (1 - z) * n + z * h
    return (h,), h


def jax_peer(problem: Problem, on: Backend) -> Contender:
    """The scan of a problem's cell on a device of the jax backend, compiled."""
    import jax

    cell, dtype = problem.cell, problem.xs.dtype.name
    if note := lacks(cell):
        raise UserError(f"{type(cell).__name__} has no peer, {note}: time it alone")
    options = (cell.activation,) if type(cell) is Elman else ()
    kinds: dict[type, Callable[..., Any]] = {Elman: elman, LSTM: lstm, GRU: gru}
    step = partial(kinds[type(cell)], jax, *options)
    params = {name: on.asarray(value, dtype) for name, value in problem.params.items()}
    xs, dys = on.asarray(problem.xs, dtype), on.asarray(problem.dys, dtype)

    def ys_of(p: dict[str, Array], xs: Array) -> Array:
        s0 = tuple(jax.numpy.zeros((xs.shape[1], *shape), xs.dtype) for shape in cell.states.values())
        return jax.lax.scan(partial(step, p), s0, xs @ p["W"] + p.get("b", 0))[1]

    def with_gradients(p: dict[str, Array], xs: Array, dys: Array) -> Any:
        ys, vjp = jax.vjp(ys_of, p, xs)
        return ys, vjp(dys)

    with jax.default_matmul_precision("highest"):  # no TF32, as the others
        one = jax.jit(ys_of).lower(params, xs).compile()
        two = jax.jit(with_gradients).lower(params, xs, dys).compile()

    def forward() -> Any:
        return (jax.block_until_ready(one(params, xs)),)

    def both() -> Any:
        return jax.block_until_ready(two(params, xs, dys))

    def answers() -> dict[str, HostArray]:
        ys, (dparams, dxs) = both()
        named = {"Y": ys, "dX": dxs} | {f"d{name}": d for name, d in dparams.items()}
        return {name: on.to_numpy(a) for name, a in named.items()}

    return Contender("jax.lax.scan", on, {FORWARD: forward, BOTH: both}, answers, clock=host_seconds)
