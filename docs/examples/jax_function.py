"""A JAX function with a backward by hand (`jax.custom_vjp`): an Elman network whose loop is `lax.scan`.

    python docs/examples/jax_function.py

Seen: `jax.vjp` returns what a check takes, (value, backward). The function passes. The norm of its states, as a loss,
passes too, but `jax.numpy.linalg.norm` drops the imaginary part, so the report says that it took five-point
differences, and the errors are those of differences: 1e-9 in place of 1e-15.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import rnnbp


@jax.custom_vjp
def elman(X, W, U):
    """(T, B, I) -> the states h = tanh(x W + h U) after each step, (T, B, H)."""

    def step(h, x):
        h = jnp.tanh(x @ W + h @ U)
        return h, h

    return jax.lax.scan(step, jnp.zeros((X.shape[1], U.shape[0]), (X @ W).dtype), X)[1]


def forward(X, W, U):
    hs = elman(X, W, U)
    return hs, (X, W, U, hs)


def backward(kept, dhs):
    X, W, U, hs = kept
    before = jnp.concatenate([jnp.zeros_like(hs[:1]), hs[:-1]])

    def step(dh_next, now):
        dh, h = now
        da = (dh + dh_next) * (1 - h * h)
        return da @ U.T, da

    das = jax.lax.scan(step, jnp.zeros_like(hs[0]), (dhs, hs), reverse=True)[1]
    return das @ W.T, jnp.einsum("tbi,tbh->ih", X, das), jnp.einsum("tbk,tbh->kh", before, das)


elman.defvjp(forward, backward)


@jax.jit  # a check calls it a few hundred times: compile it once
def states(X, W, U):
    return jax.vjp(elman, X, W, U)


@jax.jit
def norm_of_states(X, W, U):
    return jax.vjp(lambda *arrays: jnp.linalg.norm(elman(*arrays)), X, W, U)


def check():
    """The reports on all states, and on their norm."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape) for shape in ((5, 3, 4), (4, 6), (6, 6))]
    return [rnnbp.gradcheck(fn, inputs, backend="jax") for fn in (states, norm_of_states)]


if __name__ == "__main__":
    print(*check(), sep="\n\n")
