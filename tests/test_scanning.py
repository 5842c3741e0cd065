"""The scan of every cell on every backend: each gradient against complex steps, and what holds of any backward."""

from __future__ import annotations

import numpy as np
import pytest
from array_api_compat import device as device_of
from cases import EVERY, NAMES, WAYS, case, make, wanted
from conftest import backend_or_skip
from helpers import (
    STEP,
    B,
    T,
    agree,
    forward,
    frozen,
    gradients,
    inner,
    named,
    numeric,
    on,
    problem,
    refusal,
    relative_error,
    replaced,
    tensors,
    tolerance,
)
from toy_plain import Ladder

import rnnbp
from rnnbp.unrolling import unroll


# ---- gradients -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVERY)
def test_every_gradient_equals_complex_steps(backend, name, way):
    agree(gradients(case(name), backend, **WAYS[way]), wanted(name, way))


@pytest.mark.parametrize("name", EVERY)
def test_no_array_is_made_on_another_device(device1, name):
    q = on(device1, case(name))
    ys, s_T, backward = forward(q, **on(device1, WAYS["mask and resets"]))
    found = named(*backward(q.dys, q.ds_T), q.cell)
    assert {str(device_of(a)) for a in (ys, *s_T, *found.values())} == {str(device_of(q.xs))}
    agree({n: device1.to_numpy(d) for n, d in found.items()}, wanted(name, "mask and resets"))


@pytest.mark.parametrize("way", ["plain", "mask, resets, reverse"])
@pytest.mark.parametrize("name", EVERY)
def test_the_forward_is_complex_on_every_backend(backend, name, way):
    """One complex step of all tensors at once, in a random direction, on the backend itself."""
    q, rng = case(name), np.random.default_rng(1)
    slopes = {n: rng.standard_normal(v.shape) for n, v in tensors(q).items()}
    there = on(backend, q)
    for n, v in tensors(q).items():
        there = replaced(there, n, backend.asarray(v + 1j * STEP * slopes[n]))
    ys, s_T, *_ = forward(there, **on(backend, WAYS[way]))
    found = np.imag(backend.to_numpy(inner(ys, s_T, there.dys, there.ds_T))) / STEP
    terms = [np.sum(wanted(name, way)[n] * slopes[n]) for n in slopes]
    assert abs(found - sum(terms)) < tolerance() * max(map(abs, terms))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [(1, B), (T, 1), (1, 1)], ids=str)
def test_one_step_and_one_sequence(backend, name, sizes):
    q = problem(make(name), 3, *sizes)
    agree(gradients(q, backend), numeric(q))


@pytest.mark.parametrize("name", NAMES)
def test_without_a_state_it_starts_from_the_initial_one(backend, name):
    q = on(backend, case(name))
    zero = q.cell.initial_state(backend.xp, B, q.xs)
    ours, theirs = (forward(q._replace(s0=s)) for s in (None, zero))
    assert np.array_equal(backend.to_numpy(ours[0]), backend.to_numpy(theirs[0]))
    found, same = (named(*back(q.dys, q.ds_T), q.cell) for *_, back in (ours, theirs))
    assert all(np.array_equal(backend.to_numpy(found[n]), backend.to_numpy(same[n])) for n in same)


@pytest.mark.parametrize("name", EVERY)
def test_arrays_that_are_not_contiguous(name):
    numpy, q = rnnbp.backend("numpy"), case(name)
    strided = {n: frozen(np.swapaxes(v, 0, -1).copy()).swapaxes(0, -1) for n, v in tensors(q).items()}
    r = q._replace(dys=frozen(q.dys[::-1])[::-1], ds_T=tuple(frozen(d.T).T for d in q.ds_T))
    for n, v in strided.items():
        r = replaced(r, n, v)
    agree(gradients(r, numpy), wanted(name, "plain"))


# ---- what holds of any backward --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", EVERY)
def test_backward_is_a_linear_function_that_keeps_what_it_needs(backend, name):
    q = on(backend, case(name))
    *_, backward = forward(q, **on(backend, WAYS["mask and resets"]))

    def call(*cotangents):
        return {n: backend.to_numpy(d) for n, d in named(*backward(*cotangents), q.cell).items()}

    first = call(q.dys, q.ds_T)
    none, zeros = call(), call(0 * q.dys, tuple(0 * d for d in q.ds_T))
    outputs, states = call(q.dys), call(None, q.ds_T)
    mixed = call(2.0 * q.dys, tuple(-3.0 * d for d in q.ds_T))
    again = call(q.dys, q.ds_T)
    for n in first:
        assert np.array_equal(first[n], again[n]), f"{n}: the second backward gives other bits"
        assert not np.any(none[n]) and not np.any(zeros[n]), f"{n}: zero cotangents give something else"
        assert first[n].shape == zeros[n].shape == none[n].shape
        scale = np.linalg.norm(outputs[n]) + np.linalg.norm(states[n])
        assert np.linalg.norm(outputs[n] + states[n] - first[n]) <= tolerance() * scale
        assert np.linalg.norm(2 * outputs[n] - 3 * states[n] - mixed[n]) <= tolerance() * scale


@pytest.mark.parametrize("name", NAMES)
def test_the_backward_is_complex_too(backend, name):
    """Hessian times vector is the complex step of the backward: symmetric, and the difference of two gradients."""
    q, rng, options = case(name), np.random.default_rng(2), WAYS["mask and resets"]
    v, w = ({n: rng.standard_normal(t.shape) for n, t in tensors(q).items()} for _ in range(2))

    def gradient(shift, on_backend):
        there = on(on_backend, q)
        for n, t in tensors(q).items():
            there = replaced(there, n, on_backend.asarray(t + shift[n]))
        *_, backward = forward(there, **on(on_backend, options))
        return {n: on_backend.to_numpy(d) for n, d in named(*backward(there.dys, there.ds_T), q.cell).items()}

    def hessian_times(u):
        return {n: np.imag(d) / STEP for n, d in gradient({n: 1j * STEP * s for n, s in u.items()}, backend).items()}

    hv, hw = hessian_times(v), hessian_times(w)
    terms = [np.sum(w[n] * hv[n]) for n in v]
    assert abs(sum(terms) - sum(np.sum(v[n] * hw[n]) for n in v)) <= tolerance() * sum(map(abs, terms))
    if "relu" in name:
        return  # differences would step across its kinks
    eps = float(np.finfo("float64").eps) ** (1 / 3)
    numpy = rnnbp.backend("numpy")
    up, down = (gradient({n: sign * eps * s for n, s in v.items()}, numpy) for sign in (1, -1))
    for n in v:
        assert relative_error((up[n] - down[n]) / (2 * eps), hv[n]) < 100 * eps**2, n


@pytest.mark.parametrize("name", EVERY)
def test_float32_stays_float32(backend, name):
    q32 = problem(make(name), dtype="float32")
    q = problem(make(name))._replace(  # the same numbers in float64: what a right backward in float32 comes near to
        **{n: _float64(part) for n, part in q32._asdict().items() if n != "cell"}
    )
    there = on(backend, q32)
    options = on(backend, WAYS["mask and resets"])
    ys, s_T, backward = forward(there, **options)
    found = named(*backward(there.dys, there.ds_T), q.cell)
    windowed = named(*backward(there.dys, None, rnnbp.Window(1, 2, 4)), q.cell)
    for a in (ys, *s_T, *found.values(), *windowed.values(), *forward(there, rnnbp.run, **options)[1]):
        assert a.dtype == backend.xp.float32
    agree({n: backend.to_numpy(d) for n, d in found.items()}, numeric(q, **WAYS["mask and resets"]), "float32")


def _float64(part):
    if isinstance(part, dict):
        return {n: frozen(a) for n, a in part.items()}
    return tuple(map(frozen, part)) if isinstance(part, tuple) else frozen(part)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVERY)
def test_run_is_the_forward_of_scan(backend, name, way):
    q, options = on(backend, case(name)), on(backend, WAYS[way])
    ys, s_T, _ = forward(q, **options)
    ys_too, s_too = forward(q, rnnbp.run, **options)
    for a, b in zip((ys, *s_T), (ys_too, *s_too), strict=True):
        assert np.array_equal(backend.to_numpy(a), backend.to_numpy(b))


# ---- arrays that are shared ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", [rnnbp.scan, rnnbp.run], ids=["scan", "run"])
@pytest.mark.parametrize("name", [n for n in EVERY if n != "own scan"])
def test_outputs_are_read_only_and_arguments_stay_the_callers(name, way):
    q = case(name)
    for n, v in tensors(q).items():
        q = replaced(q, n, v.copy())  # the caller's own, to write to as he likes
    ys, s_T, *_ = forward(q, way)
    for a in (ys, *s_T):
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0
    assert all(v.flags.writeable for v in tensors(q).values())


@pytest.mark.parametrize("name", EVERY)
def test_torch_builds_no_graph(name):
    torch = pytest.importorskip("torch")
    backend = rnnbp.backend("torch")
    q = on(backend, case(name))
    for n, v in tensors(q).items():
        q = replaced(q, n, v.clone().requires_grad_())
    cotangents = q.dys.clone().requires_grad_(), q.ds_T
    ys, s_T, backward = forward(q)
    found = named(*backward(*cotangents), q.cell)
    for a in (ys, *s_T, *found.values(), *forward(q, rnnbp.run)[1]):
        assert not a.requires_grad and a.grad_fn is None
    assert torch.is_grad_enabled()
    agree({n: backend.to_numpy(d) for n, d in found.items()}, wanted(name, "plain"))


# ---- a cell with a path of its own -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_backward_may_be_compiled_by_jax_and_called_again(name):
    backend, jax = backend_or_skip("jax"), pytest.importorskip("jax")
    cell, rng = rnnbp.cell(name, 2, 3), np.random.default_rng(0)
    params = {n: backend.asarray(w) for n, w in cell.init(rng).items()}
    xs, dys = backend.asarray(rng.standard_normal((2, 1, 2))), backend.asarray(rng.standard_normal((2, 1, 3)))
    _, _, backward = rnnbp.scan(cell, params, xs)
    compiled = jax.jit(lambda d: backward(d)[1])(dys)
    assert relative_error(np.asarray(compiled), np.asarray(backward(dys)[1])) < 1e-14


@pytest.mark.parametrize("window", [None, rnnbp.Window(1, 2, 4), rnnbp.Window(2, 3, T)], ids=str)
def test_an_own_scan_equals_the_loop(backend, window):
    q = on(backend, case("own scan"))
    xp, off = backend.xp, {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    own = q.cell.scan(xp, q.params, q.xs, q.s0, **off)
    assert own is not NotImplemented
    loop = unroll(xp, q.cell, q.params, q.xs, q.s0, **off)
    assert relative_error(backend.to_numpy(own[0]), backend.to_numpy(loop[0])) < tolerance()
    ours, theirs = (
        {n: backend.to_numpy(d) for n, d in named(*back(q.dys, q.ds_T, window), q.cell).items()}
        for *_, back in (own, loop)
    )
    agree(ours, theirs)


def test_an_own_scan_is_taken(monkeypatch):
    monkeypatch.setattr(Ladder, "step", None)
    agree(gradients(case("own scan"), rnnbp.backend("numpy")), wanted("own scan", "plain"))


def test_what_an_own_scan_gives_is_read_only_and_its_backward_gets_what_fits():
    q = case("own scan")
    ys, (h,), backward = forward(q)
    assert not ys.flags.writeable and not h.flags.writeable
    assert refusal(lambda: backward(q.dys[..., :1])).startswith("dys must have shape ")
    assert refusal(lambda: backward(q.dys, window=(2, 1, T))).startswith("a window needs 0 <= start <= lo < stop ")


def test_a_backend_that_is_named_is_taken():
    class Fast(type(rnnbp.backend("numpy"))):
        def scan(self, *_, **options):
            assert sorted(options) == ["data", "keep", "mask", "record", "resets", "reverse"]
            return "fast" if options["keep"] else ("run", "fast", "nothing")

    q = case("elman")
    assert forward(q, backend=Fast()) == "fast"
    assert forward(q, rnnbp.run, backend=Fast()) == ("run", "fast")
