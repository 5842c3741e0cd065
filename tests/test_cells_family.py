"""The cells beside Elman's, the LSTM's and the GRU's: their equations written out with the textbook sigmoid and nothing
shared, what their gates do when they are forced open or shut, where they start, what they refuse.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cases import case, make
from helpers import (
    B,
    H,
    I,
    T,
    agree,
    complex_step,
    follow,
    forward,
    gradients,
    problem,
    refusal,
    relative_error,
    sigma,
    tolerance,
)

import rnnbp
from rnnbp.cells.lstm_layernorm import layer_norm
from rnnbp.initializers import identity, uniform
from rnnbp.lowering import untraceable


def gates(a):
    return [a[:, k : k + H] for k in range(0, a.shape[-1], H)]


# ---- the equations ---------------------------------------------------------------------------------------------------
def indrnn(activation):
    return lambda p, x, h: (activation(x @ p.W + h * p.u + p.b),)


def irnn(p, x, h):
    return (np.maximum(0, x @ p.W + h @ p.U + p.b),)


def ugrnn(p, x, h):
    g, c = gates(x @ p.W + h @ p.U + p.b)
    return (sigma(g) * h + (1 - sigma(g)) * np.tanh(c),)


def rhn(depth, coupled=True):
    def step(p, x, h):
        for layer in range(1, depth + 1):
            a = h @ getattr(p, f"U{layer}") + getattr(p, f"b{layer}")
            g, t, *c = gates(a + x @ p.W if layer == 1 else a)
            carry = 1 - sigma(t) if coupled else sigma(c[0])
            h = np.tanh(g) * sigma(t) + h * carry
        return (h,)

    return step


def fastgrnn(p, x, h):
    a = x @ p.W + h @ p.U
    z = sigma(a + p.bz)
    return ((sigma(p.zeta) * (1 - z) + sigma(p.nu)) * np.tanh(a + p.bh) + z * h,)


def normed(v, alpha, beta, eps=1e-5):
    return alpha * (v - v.mean(axis=1, keepdims=True)) / np.sqrt(v.var(axis=1, keepdims=True) + eps) + beta


def lstm_layernorm(eps):
    def step(p, x, h, c):
        a = normed(x @ p.W, p.alpha_x, p.beta_x, eps) + normed(h @ p.U, p.alpha_h, p.beta_h, eps) + p.b
        i, f, g, o = gates(a)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        return sigma(o) * np.tanh(normed(c, p.alpha_c, p.beta_c, eps)), c

    return step


def lstm_projected(p, x, h, c):
    i, f, g, o = gates(x @ p.W + h @ p.U + getattr(p, "b", 0.0))
    if hasattr(p, "pi"):
        i, f = i + p.pi * c, f + p.pf * c
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return (sigma(o + p.po * c if hasattr(p, "po") else o) * np.tanh(c)) @ p.V, c


EQUATIONS = {
    "indrnn": indrnn(lambda a: np.maximum(a, 0)),
    "indrnn:activation=tanh": indrnn(np.tanh),
    "indrnn:activation=bipolar": indrnn(lambda a: 2 * sigma(a) - 1),
    "indrnn:activation=bipolar2": indrnn(lambda a: 4 * sigma(a) - 2),
    "irnn": irnn,
    "ugrnn": ugrnn,
    "rhn": rhn(2),
    "rhn:depth=1": rhn(1),
    "rhn:depth=3,coupled=false": rhn(3, coupled=False),
    "fastgrnn": fastgrnn,
    "lstm-layernorm": lstm_layernorm(1e-5),
    "lstm-layernorm:eps=0.1": lstm_layernorm(0.1),
    "lstm-projected": lstm_projected,
    "lstm-projected:projection=1,peepholes=true": lstm_projected,
    "lstm-projected:projection=8,bias=false": lstm_projected,
}
PLAIN = ("rhn", "lstm-layernorm", "lstm-projected")


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations(backend, name):
    q = case(name)
    ys, s = follow(lambda p, x, *s: EQUATIONS[name](SimpleNamespace(**p), x, *s), q)
    moved = {n: backend.asarray(w) for n, w in q.params.items()}
    found, s_T = rnnbp.run(q.cell, moved, backend.asarray(q.xs), tuple(map(backend.asarray, q.s0)))
    assert relative_error(backend.to_numpy(found), ys) < tolerance()
    assert all(relative_error(backend.to_numpy(a), b) < tolerance() for a, b in zip(s_T, s, strict=True))


@pytest.mark.parametrize("name", EQUATIONS)
def test_pointwise_cells_are_traceable_and_each_has_a_source(name):
    cell = make(name)
    assert (untraceable(cell) is None) == (name.partition(":")[0] not in PLAIN)
    assert "arXiv" in cell.source


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("indrnn", {"W": (I, H), "b": (H,), "u": (H,)}),
        ("indrnn:bias=false", {"W": (I, H), "u": (H,)}),
        ("irnn", {"W": (I, H), "U": (H, H), "b": (H,)}),
        ("ugrnn", {"W": (I, 2 * H), "U": (H, 2 * H), "b": (2 * H,)}),
        ("rhn:depth=1", {"W": (I, 2 * H), "U1": (H, 2 * H), "b1": (2 * H,)}),
        ("rhn:depth=1,coupled=false", {"W": (I, 3 * H), "U1": (H, 3 * H), "b1": (3 * H,)}),
        ("fastgrnn", {"W": (I, H), "U": (H, H), "bz": (H,), "bh": (H,), "zeta": (1,), "nu": (1,)}),
        ("lstm-projected", {"W": (I, 4 * H), "U": (3, 4 * H), "b": (4 * H,), "V": (H, 3)}),
        ("lstm-projected:bias=false,projection=2", {"W": (I, 4 * H), "U": (2, 4 * H), "V": (H, 2)}),
    ],
)
def test_shapes_of_the_parameters(name, shapes):
    assert {n: spec.shape for n, spec in make(name).params.items()} == shapes


# ---- what gates do ---------------------------------------------------------------------------------------------------
def forced(name, **values):
    """What the cell gives where its weights are zero and these parameters are so."""
    q = problem(make(name))
    params = {n: 0 * w for n, w in q.params.items()} | {n: np.asarray(v, dtype=float) for n, v in values.items()}
    (last, *_) = forward(q._replace(params=params))[1]
    return q.s0[0], last


def block(*values):
    return np.repeat(np.array(values), H)


def test_a_ugrnn_keeps_its_state_or_takes_the_candidate():
    old, kept = forced("ugrnn", b=block(800.0, 0.3))
    assert np.allclose(kept, old, rtol=0, atol=tolerance())
    _, taken = forced("ugrnn", b=block(-800.0, 0.3))
    assert np.allclose(taken, np.tanh(0.3), rtol=0, atol=tolerance())


def test_an_rhn_carries_its_state_or_transforms_it_layer_by_layer():
    shut, wide = block(0.3, -800.0), block(0.7, 800.0)
    old, carried = forced("rhn", b1=shut, b2=shut)
    assert np.array_equal(old, carried)
    assert np.allclose(forced("rhn", b1=wide, b2=shut)[1], np.tanh(0.7), rtol=0, atol=tolerance())
    both = block(0.3, 800.0, 800.0)  # carry and transform at once, T times
    old, summed = forced("rhn:depth=1,coupled=false", b1=both)
    assert np.allclose(summed, old + T * np.tanh(0.3), rtol=0, atol=tolerance())


def test_a_fastgrnn_keeps_its_state_beside_what_nu_lets_in():
    old, kept = forced("fastgrnn", bz=block(800.0), bh=block(0.3), nu=[-800.0])
    assert np.array_equal(old, kept)
    old, summed = forced("fastgrnn", bz=block(800.0), bh=block(0.3), nu=[800.0])
    assert np.allclose(summed, old + T * np.tanh(0.3), rtol=0, atol=tolerance())
    _, new = forced("fastgrnn", bz=block(-800.0), bh=block(0.3), zeta=[800.0], nu=[-800.0])
    assert np.allclose(new, np.tanh(0.3), rtol=0, atol=tolerance())


def test_an_indrnn_unit_sees_only_its_own_past():
    q = problem(make("indrnn:activation=tanh"))
    _, _, backward = forward(q)
    ds_T = np.zeros((B, H))
    ds_T[:, 2] = 1.0
    _, _, (dh0,) = backward(None, (ds_T,))
    assert np.all(dh0[:, 2]) and not np.any(np.delete(dh0, 2, axis=1))


def test_an_irnn_without_input_holds_its_state_and_its_error():
    cell = make("irnn")
    params = cell.init(np.random.default_rng(0))
    h = np.abs(np.random.default_rng(1).standard_normal((B, H)))
    _, (last,), backward = rnnbp.scan(cell, params, np.zeros((40, B, I)), (h,))
    assert np.array_equal(last, h)
    error = np.random.default_rng(2).standard_normal((B, H))
    assert np.array_equal(backward(None, (error,))[2][0], error)


def test_layer_norm_ignores_the_size_and_the_shift_of_what_it_gets():
    """W and U times a number give the same (but for eps), which is why they need no bound."""
    q = case("lstm-layernorm:eps=1e-12")
    larger = {n: 7.0 * w if n in ("W", "U") else w for n, w in q.params.items()}
    assert relative_error(forward(q)[0], forward(q._replace(params=larger))[0]) < 1e-10  # eps over the variance
    shifted = q.params | {"W": q.params["W"] + 5.0, "U": q.params["U"] + 5.0}  # every column's product by the same
    assert relative_error(forward(q)[0], forward(q._replace(params=shifted))[0]) < 1e-10


def test_the_backward_of_layer_norm(backend):
    rng, eps = np.random.default_rng(0), 1e-2
    z, dy, alpha, beta = (rng.standard_normal(shape) for shape in ((B, H), (B, H), (H,), (H,)))
    y, back = layer_norm(backend.xp, *map(backend.asarray, (z, alpha, beta)), eps)
    assert relative_error(backend.to_numpy(y), normed(z, alpha, beta, eps)) < tolerance()
    found = dict(zip(("z", "alpha", "beta"), map(backend.to_numpy, back(backend.asarray(dy))), strict=True))
    host, values = rnnbp.backend("numpy"), {"z": z, "alpha": alpha, "beta": beta}

    def loss(name, v):
        y, _ = layer_norm(host.xp, *(values | {name: v}).values(), eps)
        return np.sum(y * dy, axis=(-2, -1))

    agree(found, {n: complex_step(host, lambda v, n=n: loss(n, v), values[n]) for n in values})


@pytest.mark.parametrize("name", ["ugrnn", "rhn", "rhn:depth=3,coupled=false", "lstm-layernorm", "lstm-projected"])
def test_memory_gates_hold_the_state(name):
    """Those that keep wide open, those that let go shut: the last state, h or c, stays."""
    q = problem(make(name))
    signs, params = q.cell.memory_gates, {n: w.copy() for n, w in q.params.items()}
    assert set(signs) <= set(q.cell.blocks["W"]) and signs
    for bias in (n for n in params if n.startswith("b") and n in q.cell.blocks):
        for k, gate in enumerate(q.cell.blocks[bias]):
            params[bias][k * H : (k + 1) * H] += 800.0 * signs.get(gate, 0)
    (*_, last) = forward(q._replace(params=params))[1]
    assert np.allclose(last, q.s0[-1], rtol=0, atol=tolerance())


# ---- where they start ------------------------------------------------------------------------------------------------
def start(name, hidden_size=200):
    return rnnbp.cell(name, 30, hidden_size).init(np.random.default_rng(0))


def within(values, low, high):
    """Uniform draws reach near both bounds and not beyond."""
    edge = 0.05 * (high - low)
    return low <= np.min(values) < low + edge and high - edge < np.max(values) <= high


def test_where_they_start():
    assert within(start("indrnn")["u"], 0, 1) and within(start("indrnn:u_min=0.9,u_max=1.1")["u"], 0.9, 1.1)
    assert not np.any(start("indrnn")["b"])
    drawn = start("irnn")
    assert np.array_equal(drawn["U"], np.eye(200)) and not np.any(drawn["b"])
    assert abs(np.std(drawn["W"]) - 0.001) < 5 * 0.001 / np.sqrt(2 * drawn["W"].size)
    assert np.array_equal(start("irnn:scale=0.01")["U"], 0.01 * np.eye(200))
    assert start("ugrnn", 2)["b"].tolist() == [1, 1, 0, 0] and start("ugrnn:forget_bias=3", 1)["b"].tolist() == [3, 0]
    for layer in "12":
        assert start("rhn", 1)[f"b{layer}"].tolist() == [0, -2]
        assert start("rhn:coupled=false,transform_bias=-4", 1)[f"b{layer}"].tolist() == [0, -4, 4]
    drawn = start("fastgrnn", 2)
    assert [drawn[n].tolist() for n in ("bz", "bh", "zeta", "nu")] == [[1, 1], [1, 1], [1], [-4]]
    drawn = start("lstm-layernorm", 1)
    assert drawn["b"].tolist() == [0, 1, 0, 0]
    assert all(np.all(drawn[f"alpha_{k}"] == 1) and not np.any(drawn[f"beta_{k}"]) for k in "xhc")
    for name in ("lstm-layernorm", "lstm-projected"):
        assert start(f"{name}:forget_bias=3", 1)["b"].tolist() == [0, 3, 0, 0]


def test_weights_are_drawn_for_each_gate_by_itself():
    for name, weight, fan_in, fan_out in (
        ("ugrnn", "U", 200, 200),
        ("rhn", "U2", 200, 200),
        ("rhn:coupled=false", "W", 30, 200),
        ("lstm-layernorm", "W", 30, 200),
        ("lstm-projected", "U", 100, 200),
        ("lstm-projected", "V", 200, 100),
    ):
        limit = np.sqrt(6 / (fan_in + fan_out))
        assert within(start(name)[weight], -limit, limit), name


def test_initializers():
    rng = np.random.default_rng(0)
    assert within(uniform(2, 3)(rng, (50, 50)), 2, 3)
    assert identity(2.0)(rng, (2, 2)).tolist() == [[2, 0], [0, 2]]
    assert identity(blocks=2)(rng, (2, 4)).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


# ---- what they refuse ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("indrnn:activation=rleu", "unknown activation 'rleu': did you mean relu?"),
        ("indrnn:u_min=2", "u starts between u_min and u_max; got u_min=2 above u_max=1.0"),
        ("indrnn:stopped=h", "IndRNN cuts no gate and takes no other `stopped`"),
        ("irnn:activation=tanh", "unknown option of cell irnn 'activation'"),
        ("ugrnn:bias=false,forget_bias=2", "forget_bias is where a bias starts; got 2 with bias=false"),
        ("rhn:depth=0", "depth must be an integer of at least 1; got 0"),
        ("rhn:depth=1.5", "option depth of cell rhn must be a whole number; got 1.5"),
        ("rhn:bias=false", "unknown option of cell rhn 'bias'"),
        ("fastgrnn:bias=false", "unknown option of cell fastgrnn 'bias'"),
        ("lstm-layernorm:eps=0", "eps must be above 0"),
        ("lstm-projected:projection=0", "projection must be an integer of at least 1; got 0"),
        (
            "lstm-projected:projection=half",
            "option projection of cell lstm-projected must be a whole number, or none; got 'half'",
        ),
    ],
)
def test_refusals(name, told):
    assert told in refusal(lambda: make(name))


# ---- against PyTorch -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bias", [True, False])
def test_the_projected_lstm_is_that_of_torch(backend, bias):
    """Outputs, last states and all gradients of torch.nn.LSTM(proj_size=), whose two biases are one here."""
    torch = pytest.importorskip("torch")
    q = case(f"lstm-projected:bias={str(bias).lower()}")
    theirs = torch.nn.LSTM(I, H, proj_size=q.cell.output_size, bias=bias).double()
    weights = {"weight_ih_l0": q.params["W"].T, "weight_hh_l0": q.params["U"].T, "weight_hr_l0": q.params["V"].T}
    if bias:
        weights |= {"bias_ih_l0": q.params["b"], "bias_hh_l0": 0 * q.params["b"]}
    with torch.no_grad():
        for name, value in weights.items():
            getattr(theirs, name).copy_(torch.tensor(value))
    xs, h, c = (torch.tensor(np.array(v), requires_grad=True) for v in (q.xs, q.s0[0][None], q.s0[1][None]))
    ys, last = theirs(xs, (h, c))
    errors = [torch.tensor(np.array(d)) for d in (q.dys, *q.ds_T)]
    sum((v * d).sum() for v, d in zip((ys, last[0][0], last[1][0]), errors, strict=True)).backward()
    wanted = {"W": theirs.weight_ih_l0.grad.T, "U": theirs.weight_hh_l0.grad.T}
    wanted |= {"b": theirs.bias_ih_l0.grad} if bias else {}
    wanted |= {"V": theirs.weight_hr_l0.grad.T, "xs": xs.grad, "s0.h": h.grad[0], "s0.c": c.grad[0]}
    agree(gradients(q, backend), {n: d.numpy() for n, d in wanted.items()})
    outputs = forward(q)
    found = {"ys": outputs[0], "h": outputs[1][0], "c": outputs[1][1]}
    peers = {"ys": ys, "h": last[0][0], "c": last[1][0]}
    agree(found, {n: v.detach().numpy() for n, v in peers.items()})
