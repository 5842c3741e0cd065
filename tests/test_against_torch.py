"""The same weights in torch.nn.RNN, LSTM and GRU: outputs and all gradients, the input's at every step among them.

Gate order is the same: i, f, g, o and r, z, n. torch adds two biases where one does: ours is their sum. Only in the GRU
the second one of n is a parameter of its own, since it is multiplied by r: it is our `bu`.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import case
from helpers import B, H, I, T, forward, on, relative_error

torch = pytest.importorskip("torch")
TORCH = {
    "elman": lambda: torch.nn.RNN(I, H),
    "rnn": lambda: torch.nn.RNN(I, H),
    "elman:activation=relu": lambda: torch.nn.RNN(I, H, nonlinearity="relu"),
    "elman:bias=false": lambda: torch.nn.RNN(I, H, bias=False),
    "lstm": lambda: torch.nn.LSTM(I, H),
    "lstm:bias=false": lambda: torch.nn.LSTM(I, H, bias=False),
    "gru": lambda: torch.nn.GRU(I, H),
    "gru:bias=false": lambda: torch.nn.GRU(I, H, bias=False),
}
CLOSE = 1e-12


def peer(name, p):
    """The module of torch with our weights, our bias split at random over its two."""
    theirs = TORCH[name]().double()
    weights = {"weight_ih_l0": p["W"].T, "weight_hh_l0": p["U"].T}
    if "b" in p:
        second = np.random.default_rng(3).standard_normal(p["b"].shape)
        if "bu" in p:
            second[2 * H :] = 0
        weights |= {"bias_ih_l0": p["b"] - second, "bias_hh_l0": second}
    if "bu" in p:
        weights["bias_hh_l0"] = weights["bias_hh_l0"] + np.concatenate([np.zeros(2 * H), p["bu"]])
    with torch.no_grad():
        for weight, value in weights.items():
            getattr(theirs, weight).copy_(torch.tensor(value))
    return theirs


def run(name, q):
    """Outputs, last states and leaves of torch's side."""
    theirs = peer(name, q.params)
    xs = torch.tensor(q.xs, requires_grad=True)
    s0 = [torch.tensor(z[None], requires_grad=True) for z in q.s0]
    ys, last = theirs(xs, tuple(s0) if len(s0) == 2 else s0[0])
    return theirs, xs, s0, ys, last if isinstance(last, tuple) else (last,)


def their_gradients(theirs, xs, s0, p):
    found = {"xs": xs.grad, "W": theirs.weight_ih_l0.grad.T, "U": theirs.weight_hh_l0.grad.T}
    if "b" in p:
        found["b"] = theirs.bias_ih_l0.grad
    if "bu" in p:
        found["bu"] = theirs.bias_hh_l0.grad[2 * H :]
    found |= {f"s0[{k}]": z.grad[0] for k, z in enumerate(s0)}
    return {n: d.numpy() for n, d in found.items()}


def close(found, wanted):
    assert set(found) == set(wanted)
    errors = {n: relative_error(found[n], wanted[n]) for n in wanted}
    assert max(errors.values()) < CLOSE, errors


@pytest.mark.parametrize("name", TORCH)
def test_outputs_and_all_gradients(backend, name):
    """With random cotangents of all outputs and last states."""
    q = case(name)
    theirs, xs, s0, ys, last = run(name, q)
    loss = (ys * torch.tensor(q.dys)).sum() + sum(
        (z[0] * torch.tensor(d)).sum() for z, d in zip(last, q.ds_T, strict=True)
    )
    loss.backward()
    here = on(backend, q)
    ours, s_T, backward = forward(here)
    assert relative_error(backend.to_numpy(ours), ys.detach().numpy()) < CLOSE
    for a, b in zip(s_T, last, strict=True):
        assert relative_error(backend.to_numpy(a), b[0].detach().numpy()) < CLOSE
    dp, dxs, ds = backward(here.dys, here.ds_T)
    found = {"xs": dxs, **dp, **{f"s0[{k}]": d for k, d in enumerate(ds)}}
    close({n: backend.to_numpy(d) for n, d in found.items()}, their_gradients(theirs, xs, s0, q.params))


@pytest.mark.parametrize("name", TORCH)
def test_the_input_error_of_each_step_from_h_backward_of_ones(name):
    """As people try first: `h.backward(torch.ones_like(h))` for the last h, then the gradient of every x."""
    q = case(name)
    theirs, xs, s0, _, last = run(name, q)
    last[0].backward(torch.ones_like(last[0]))
    ones = (np.ones((B, H)), *(np.zeros_like(z) for z in q.s0[1:]))
    dp, dxs, ds = forward(q)[2](None, ones)
    for t in range(T):
        assert relative_error(dxs[t], xs.grad[t].numpy()) < CLOSE and np.any(dxs[t])
    close({"xs": dxs, **dp, **{f"s0[{k}]": d for k, d in enumerate(ds)}}, their_gradients(theirs, xs, s0, q.params))


def test_a_swapped_gate_order_would_be_seen():
    q = case("lstm")
    _, _, _, ys, _ = run("lstm", q)
    i, f, g, o = (q.params["W"][:, k * H : (k + 1) * H] for k in range(4))
    swapped = q._replace(params={**q.params, "W": np.concatenate([f, i, g, o], axis=-1)})
    assert relative_error(forward(swapped)[0], ys.detach().numpy()) > 1e-3


def test_both_of_torchs_biases_have_the_gradient_of_our_one():
    q = case("lstm")
    theirs, *_, ys, _ = run("lstm", q)
    (ys * torch.tensor(q.dys)).sum().backward()
    db = forward(q)[2](q.dys)[0]["b"]
    for bias in (theirs.bias_ih_l0, theirs.bias_hh_l0):
        assert relative_error(db, bias.grad.numpy()) < CLOSE
