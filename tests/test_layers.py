"""Layers against torch.nn: outputs, last states and all gradients, layers and directions included."""

import numpy as np
import pytest
from helpers import relative_error, tolerance

import rnnbp
from rnnbp import UserError

T, B, I, H = 5, 3, 4, 6
KINDS = [("RNN", 1), ("LSTM", 2), ("GRU", 1)]


def same_weights(torch, theirs, layer):
    """Copy our weights into torch's module; its second bias is zero, but for the GRU's inner bias."""
    with torch.no_grad():
        for prefix, cell in layer.stack.cells:
            number, _, way = prefix.rstrip(".").partition(".")
            suffix = f"l{number}" + "_reverse" * bool(way)
            p = {n: torch.tensor(layer.backend.to_numpy(layer.params[prefix + n])) for n in cell.params}
            getattr(theirs, f"weight_ih_{suffix}").copy_(p["W"].T)
            getattr(theirs, f"weight_hh_{suffix}").copy_(p["U"].T)
            getattr(theirs, f"bias_ih_{suffix}").copy_(p["b"])
            getattr(theirs, f"bias_hh_{suffix}").zero_()
            if "bu" in p:
                getattr(theirs, f"bias_hh_{suffix}")[2 * H :] = p["bu"]


@pytest.mark.parametrize(("name", "states"), KINDS)
@pytest.mark.parametrize(("layers", "bidirectional", "batch_first"), [(1, False, False), (2, True, True)])
def test_equals_torch(backend, name, states, layers, bidirectional, batch_first):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    sizes = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    layer = getattr(rnnbp, name)(I, H, backend=backend, dtype="float64", **sizes)
    noisy = {n: backend.to_numpy(w) + 0.3 * rng.standard_normal(w.shape) for n, w in layer.params.items()}
    layer.params = {n: backend.asarray(w) for n, w in noisy.items()}
    theirs = getattr(torch.nn, name)(I, H, **sizes).double()
    same_weights(torch, theirs, layer)
    xs = rng.standard_normal((B, T, I) if batch_first else (T, B, I))
    directions = layers * (1 + bidirectional)
    s0 = [rng.standard_normal((directions, B, H)) for _ in range(states)]

    x, z = torch.tensor(xs, requires_grad=True), [torch.tensor(s, requires_grad=True) for s in s0]
    out, last = theirs(x, tuple(z) if states == 2 else z[0])
    last = last if states == 2 else (last,)
    ys, s_T, backward = layer(backend.asarray(xs), tuple(map(backend.asarray, s0)))
    for ours, expected in zip((ys, *s_T), (out, *last), strict=True):
        assert relative_error(backend.to_numpy(ours), expected.detach().numpy()) < 1e-12

    dys, ds = rng.standard_normal(out.shape), [rng.standard_normal(s.shape) for s in s0]
    total = (out * torch.tensor(dys)).sum() + sum((a * torch.tensor(d)).sum() for a, d in zip(last, ds, strict=True))
    total.backward()
    dp, dxs, ds0 = backward(backend.asarray(dys), tuple(map(backend.asarray, ds)))
    for ours, expected in zip((dxs, *ds0), (x, *z), strict=True):
        assert relative_error(backend.to_numpy(ours), expected.grad.numpy()) < 1e-12
    for prefix, _ in layer.stack.cells:
        number, _, way = prefix.rstrip(".").partition(".")
        suffix = f"l{number}" + "_reverse" * bool(way)
        pairs = [("W", f"weight_ih_{suffix}"), ("U", f"weight_hh_{suffix}"), ("b", f"bias_ih_{suffix}")]
        for ours, its in pairs:
            assert relative_error(backend.to_numpy(dp[prefix + ours]).T, getattr(theirs, its).grad.numpy()) < 1e-12


def test_a_layer_draws_the_same_weights_on_every_backend(backend):
    ours = rnnbp.LSTM(I, H, backend=backend, seed=7)
    other = rnnbp.LSTM(I, H, backend="numpy", seed=7)
    assert all(np.array_equal(backend.to_numpy(w), other.params[n]) for n, w in ours.params.items())
    assert all(w.dtype == backend.xp.float32 for w in ours.params.values())


def test_options_reach_the_cell():
    layer = rnnbp.LSTM(I, H, peepholes=True, forget_bias=2.5, backend="numpy")
    assert "0.pi" in layer.params and (layer.params["0.b"][H : 2 * H] == 2.5).all()
    assert "peepholes=True" in repr(layer)
    with pytest.raises(UserError, match="unknown option of cell lstm 'peephole': did you mean peepholes"):
        rnnbp.LSTM(I, H, peephole=True)


def test_masks_turn_with_batch_first():
    rng = np.random.default_rng(0)
    xs, mask = rng.standard_normal((T, B, I)).astype("float32"), rng.random((T, B)) > 0.5
    plain = rnnbp.GRU(I, H, backend="numpy")(xs, mask=mask)[0]
    turned = rnnbp.GRU(I, H, batch_first=True, backend="numpy")(np.swapaxes(xs, 0, 1), mask=mask.T)[0]
    assert np.array_equal(plain, np.swapaxes(turned, 0, 1))


def test_bad_calls_are_refused():
    layer = rnnbp.GRU(I, H, num_layers=2, backend="numpy")
    with pytest.raises(UserError, match=r"xs must have shape \(T, B, I\); got \(5, 4\)"):
        layer(np.zeros((T, I), "float32"))
    with pytest.raises(UserError, match=r"layers·directions = 2, B, H\); got \(1, 3, 6\)"):
        layer(np.zeros((T, B, I), "float32"), (np.zeros((1, B, H), "float32"),))
    with pytest.raises(UserError, match="xs must be an array; got list"):
        layer([[1.0]])
    with pytest.raises(UserError, match="states must be a tuple with one array per state; got ndarray"):
        layer(np.zeros((T, B, I), "float32"), np.zeros((2, B, H), "float32"))


@pytest.mark.parametrize("batch_first", [False, True])
def test_lists_and_arrays_of_other_axes_are_refused(batch_first):
    layer = rnnbp.GRU(I, H, batch_first=batch_first, backend="numpy")
    xs = np.zeros((B, T, I) if batch_first else (T, B, I), "float32")
    backward = layer(xs)[2]
    shape = r"\(B, T\)" if batch_first else r"\(T, B\)"
    for call, message in (
        (lambda: layer(xs, mask=[[True] * B] * T), "mask must be an array; got list"),
        (lambda: layer(xs, mask=np.ones(T, bool)), f"mask must have shape {shape}; got"),
        (lambda: layer(xs, ([0.0],)), "state must be an array; got list"),
        (lambda: backward([0.0]), "dys must be an array; got list"),
        (lambda: backward(None, ([0.0],)), "state must be an array; got list"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_arrays_of_another_library_are_refused():
    torch = pytest.importorskip("torch")
    layer = rnnbp.GRU(I, H, batch_first=True, backend="numpy")
    with pytest.raises(UserError, match="xs is torch.Tensor, 0.W is numpy.ndarray: convert with backend.asarray"):
        layer(torch.zeros((B, T, I)))


def test_a_backend_of_somebody_else_will_do():
    host = rnnbp.backend("numpy")

    class Own(rnnbp.Backend):
        name = "own"
        available, version, devices = host.available, host.version, host.devices
        _namespace, asarray, to_numpy = (staticmethod(f) for f in (host._namespace, host.asarray, host.to_numpy))

    xs = np.ones((T, B, I), "float32")
    ys = rnnbp.GRU(I, H, backend=Own())(xs)[0]
    assert relative_error(ys, rnnbp.GRU(I, H, backend="numpy")(xs)[0]) < tolerance("float32")  # by another path


def test_none_for_the_error_of_one_state_is_zero():
    rng = np.random.default_rng(0)
    xs, d = rng.standard_normal((T, B, I)), rng.standard_normal((2, B, H))
    backward = rnnbp.LSTM(I, H, 2, backend="numpy", dtype="float64")(xs)[2]
    found, expected = backward(None, (None, d)), backward(None, (np.zeros_like(d), d))
    assert all(np.array_equal(found[0][n], w) for n, w in expected[0].items())
    assert np.array_equal(found[1], expected[1]) and found[1].any()
