"""rnnbp_jax.custom_vjp: JAX's transformations through the backward that was derived by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cases import WAYS, case, make, wanted
from conftest import backend_or_skip
from helpers import B, H, I, T, agree, forward, inner, named, on, portable, refusal, relative_error, tolerance

import rnnbp

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from rnnbp_jax import custom_vjp  # noqa: E402
from rnnbp_numpy import NumpyBackend  # noqa: E402

from rnnbp.around import learned_start  # noqa: E402

CELLS = ["lstm:peepholes=true", "gru", "gru:reset=before", "data", "own scan", "states of any shape", "None for zero"]
BACKENDS = ["jax", "numpy"]
ALL_FLAGS = "mask, resets, reverse"


@pytest.fixture(autouse=True)
def wide():
    """64-bit numbers, as the backend switches them on; custom_vjp leaves them as they are."""
    backend_or_skip("jax")


def here(name, way="plain"):
    """The problem of a cell, and the options of a way, as JAX's arrays."""
    backend, q = rnnbp.backend("jax"), case(name)
    return on(backend, q), on(backend, WAYS[way])


def loss_of(f, q, **options):
    """(params, xs, s0) -> the problem's scalar."""
    return lambda params, xs, s0: inner(*f(params, xs, s0, data=q.data or None, **options), q.dys, q.ds_T)


def gradients(f, q, wrap=jax.jit, **options):
    dp, dxs, ds = wrap(jax.grad(loss_of(f, q, **options), argnums=(0, 1, 2)))(q.params, q.xs, q.s0)
    return {n: np.asarray(d) for n, d in named({n: dp[n] for n in q.params}, dxs, ds, q.cell).items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "way"), [("lstm", "plain"), *((name, ALL_FLAGS) for name in CELLS)])
def test_all_gradients_are_those_of_complex_steps(name, way, backend):
    q, options = here(name, way)
    agree(gradients(custom_vjp(q.cell, backend), q, **options), wanted(name, way))


def test_all_gradients_are_those_of_jax_through_the_forward():
    q, options = here("lstm:peepholes=true", ALL_FLAGS)

    def reference(params, xs, s0, **rest):
        return portable(q.cell, params, xs, s0, **rest)[:2]

    found, wanted = (gradients(f, q, **options) for f in (custom_vjp(q.cell), reference))
    agree(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_those_of_scan_and_it_runs_without_jit(backend):
    q, options = here("lstm", ALL_FLAGS)
    f = custom_vjp(q.cell, backend)
    ys, last = f(q.params, q.xs, q.s0, **options)
    ours, s_T, _ = forward(case("lstm"), **WAYS[ALL_FLAGS])
    for a, b in zip((ys, *last), (ours, *s_T), strict=True):
        assert relative_error(a, b) < tolerance()
    agree(gradients(f, q, wrap=lambda g: g, **options), wanted("lstm", ALL_FLAGS))
    value, _ = jax.value_and_grad(loss_of(f, q, **options))(q.params, q.xs, q.s0)
    assert float(value) == pytest.approx(float(inner(ys, last, q.dys, q.ds_T)), rel=tolerance())


def test_jaxs_own_check_and_a_second_derivative():
    q, options = here("lstm", ALL_FLAGS)
    loss = loss_of(custom_vjp(q.cell), q, **options)
    check_grads(loss, (q.params, q.xs, q.s0), order=2, modes=["rev"])


def test_products_with_the_hessian_are_those_of_the_forward():
    q, _ = here("gru")

    def product(f):
        slope = jax.grad(lambda p: loss_of(f, q)(p, q.xs, q.s0) ** 2)
        return jax.jit(jax.grad(lambda p: sum(jnp.sum(d * p[n]) for n, d in slope(p).items())))(q.params)

    ours = product(custom_vjp(q.cell))
    theirs = product(lambda params, xs, s0, **rest: portable(q.cell, params, xs, s0, **rest)[:2])
    for name, d in theirs.items():
        assert relative_error(ours[name], d) < tolerance()


def test_the_loop_is_not_unrolled():
    cell = make("lstm")
    params = {n: jnp.asarray(w) for n, w in cell.init(np.random.default_rng(0)).items()}

    def length(steps):
        slope = jax.grad(lambda p, xs: custom_vjp(cell)(p, xs)[0].sum())
        return str(jax.make_jaxpr(slope)(params, jnp.zeros((steps, B, I)))).count(" = ")

    assert length(50) == length(5) > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_vmap_each_copy_has_its_own(backend):
    q, _ = here("lstm")
    f = custom_vjp(q.cell, backend)
    xs, mask = (
        jnp.stack([q.xs, 2 * q.xs]),
        jnp.stack([jnp.ones((T, B), bool), on(rnnbp.backend("jax"), WAYS["mask"]["mask"])]),
    )

    def slope(xs, mask):
        return jax.grad(lambda p, xs: f(p, xs, q.s0, mask=mask)[0].sum(), argnums=(0, 1))(q.params, xs)

    together = jax.vmap(slope)(xs, mask)
    for k in range(2):
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(slope(xs[k], mask[k])), strict=True):
            assert relative_error(a[k], b) < tolerance()


@pytest.mark.parametrize("backend", BACKENDS)
def test_learned_initial_states_get_their_errors(backend):
    """Where no s0 is given, and at every reset."""
    cell, host = learned_start(rnnbp.cell("lstm", I, H)), case("lstm")
    rng = np.random.default_rng(2)
    params = {n: w + 0.3 * rng.standard_normal(w.shape) for n, w in cell.init(rng).items()}
    resets = WAYS["resets"]["resets"]
    _, _, back = rnnbp.scan(cell, params, host.xs, resets=resets)
    dparams, dxs, _ = back(host.dys)
    f = custom_vjp(cell, backend)
    found = jax.jit(jax.grad(lambda p, xs: jnp.sum(f(p, xs, resets=resets)[0] * host.dys), argnums=(0, 1)))(
        params, host.xs
    )
    assert {"start.h", "start.c"} <= set(dparams)
    agree({n: np.asarray(found[0][n]) for n in dparams} | {"xs": np.asarray(found[1])}, dparams | {"xs": dxs})


def test_what_masked_steps_hold_does_not_pass():
    q, options = here("lstm", "mask")
    xs = jnp.where(options["mask"][:, :, None], q.xs, jnp.nan)
    agree(gradients(custom_vjp(q.cell), q._replace(xs=xs), **options), wanted("lstm", "mask"))


@pytest.mark.parametrize(("backend", "kept"), [("jax", []), ("numpy", [False, True])])
def test_numpys_loops_run_where_they_are_asked_for(backend, kept, monkeypatch):
    calls, own = [], NumpyBackend.scan

    def scan(self, *args, **options):
        result = own(self, *args, **options)
        calls.append((options["keep"], result is not NotImplemented))
        return result

    monkeypatch.setattr(NumpyBackend, "scan", scan)
    q, _ = here("lstm")
    slope = jax.value_and_grad(loss_of(custom_vjp(q.cell, backend), q))
    jax.block_until_ready(jax.jit(slope)(q.params, q.xs, q.s0))
    assert calls == [(keep, True) for keep in kept]


@pytest.mark.parametrize("backend", BACKENDS)
def test_plain_descent_trains_it(backend):
    cell = rnnbp.cell("gru", 1, 8)
    rng = np.random.default_rng(0)
    xs = jnp.asarray(rng.standard_normal((12, 16, 1)), jnp.float32)
    params = {n: jnp.asarray(w, jnp.float32) for n, w in cell.init(rng).items()}
    params |= {"V": jnp.asarray(0.3 * rng.standard_normal((8, 1)), jnp.float32)}
    f = custom_vjp(cell, backend)

    @jax.jit
    def step(params):
        def loss(p):
            ys, _ = f({n: p[n] for n in cell.params}, xs)
            return jnp.mean((ys @ p["V"] - jnp.tanh(jnp.cumsum(xs, 0))) ** 2)

        value, slope = jax.value_and_grad(loss)(params)
        return value, jax.tree.map(lambda w, d: w - 0.1 * d, params, slope)

    losses = []
    for _ in range(80):
        value, params = step(params)
        losses.append(float(value))
    assert losses[-1] < 0.5 * losses[0] and params["W"].dtype == jnp.float32


# ---- 64-bit numbers, and refusals ------------------------------------------------------------------------------------
NARROW = """
import jax, jax.numpy as jnp, numpy as np, rnnbp, rnnbp_jax
cell = rnnbp.cell("lstm", 2, 3)
f = rnnbp_jax.custom_vjp(cell)
host = cell.init(np.random.default_rng(0))
params = {n: jnp.asarray(w, jnp.float32) for n, w in host.items()}
print(jax.grad(lambda p: f(p, np.ones((4, 2, 2), np.float32))[0].sum())(params)["W"].dtype, jax.config.jax_enable_x64)
try:
    f(host, np.ones((4, 2, 2)))
except rnnbp.UserError as error:
    print(error)
"""


def test_64_bit_numbers_are_left_as_jax_has_them_and_nothing_is_narrowed():
    environment = {n: v for n, v in os.environ.items() if n != "JAX_ENABLE_X64"}
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, check=True, env=environment)
    first, second = done.stdout.splitlines()
    assert first == "float32 False" and "would narrow float64 in silence" in second


def test_what_it_is_made_of():
    assert "must be an rnnbp.Cell; got str" in refusal(lambda: custom_vjp("lstm"))
    assert "known are jax, numpy" in refusal(lambda: custom_vjp(make("lstm"), "torch"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_it_takes(backend):
    q, _ = here("lstm")
    f = custom_vjp(q.cell, backend)
    assert "jax.vmap takes copies" in refusal(lambda: f(q.params, q.xs[None]))
    assert "s0 (c) must have 2 axes" in refusal(lambda: f(q.params, q.xs, (q.s0[0], q.s0[1][None])))
    assert "missing U" in refusal(lambda: f({n: w for n, w in q.params.items() if n != "U"}, q.xs))
    assert "must be boolean" in refusal(lambda: f(q.params, q.xs, mask=jnp.ones((T, B))))
    assert "dtypes must agree" in refusal(lambda: jax.jit(f)(q.params, q.xs.astype(jnp.float32)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_that_ask_for_a_gradient_are_refused(backend):
    q, _ = here("data")
    f = custom_vjp(q.cell, backend)

    def loss(data):
        return f(q.params, q.xs, q.s0, data=data)[0].sum()

    assert np.isfinite(loss(q.data))
    for slope in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.grad(jax.jit(loss))):
        assert "data get no gradient" in refusal(lambda: slope(q.data))  # noqa: B023


def test_numpys_way_has_no_second_derivative():
    q, _ = here("lstm")
    f = custom_vjp(q.cell, "numpy")
    with pytest.raises(ValueError, match="Pure callbacks do not support"):
        jax.hessian(lambda k: f(q.params, k * q.xs)[0].sum())(1.0)
