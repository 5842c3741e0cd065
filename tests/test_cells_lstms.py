"""The LSTM family against the equations of each paper, written out one by one with the textbook sigmoid."""

from __future__ import annotations

import numpy as np
import pytest
from cases import make
from helpers import (
    H,
    I,
    T,
    agree,
    follow,
    forward,
    gradients,
    numeric,
    problem,
    refusal,
    relative_error,
    sigma,
    tolerance,
)

import rnnbp
from rnnbp.cells.lstm import LSTM


def parts(a, names):
    return dict(zip(names, np.split(a, len(names), axis=-1), strict=True))


def affine(p, x, h, names):
    return parts(x @ p["W"] + h @ p["U"] + p.get("b", 0.0), names)


def vanilla(p, x, h, c, *, squash=np.tanh, output=np.tanh, peep=True):
    """Greff et al. 2017, section 2."""
    pi, pf, po = (p[name] if peep else 0.0 for name in ("pi", "pf", "po"))
    a = affine(p, x, h, "ifgo")
    i, f = sigma(a["i"] + pi * c), sigma(a["f"] + pf * c)
    c = f * c + i * squash(a["g"])
    return sigma(a["o"] + po * c) * output(c), c


def no_input_gate(p, x, h, c):
    a = affine(p, x, h, "fgo")
    c = sigma(a["f"] + p["pf"] * c) * c + np.tanh(a["g"])
    return sigma(a["o"] + p["po"] * c) * np.tanh(c), c


def no_forget_gate(p, x, h, c):
    a = affine(p, x, h, "igo")
    c = c + sigma(a["i"] + p["pi"] * c) * np.tanh(a["g"])
    return sigma(a["o"] + p["po"] * c) * np.tanh(c), c


def no_output_gate(p, x, h, c):
    a = affine(p, x, h, "ifg")
    c = sigma(a["f"] + p["pf"] * c) * c + sigma(a["i"] + p["pi"] * c) * np.tanh(a["g"])
    return np.tanh(c), c


def coupled(p, x, h, c):
    a = affine(p, x, h, "igo")
    i = sigma(a["i"] + p["pi"] * c)
    c = (1 - i) * c + i * np.tanh(a["g"])
    return sigma(a["o"] + p["po"] * c) * np.tanh(c), c


def full_gate_recurrence(p, x, h, c, i, f, o):
    """Nine matrices more than vanilla: from each of i, f, o to each of i, f, o, none to g."""
    of_h, *of_gates = np.split(p["U"], 4)
    a = parts(x @ p["W"] + h @ of_h + p["b"], "ifgo")
    for before, u in zip((i, f, o), of_gates, strict=True):
        for gate, block in parts(u, "ifgo").items():
            if gate != "g":
                a[gate] = a[gate] + before @ block
    i, f = sigma(a["i"] + p["pi"] * c), sigma(a["f"] + p["pf"] * c)
    c = f * c + i * np.tanh(a["g"])
    o = sigma(a["o"] + p["po"] * c)
    return o * np.tanh(c), c, i, f, o


def of_1997(p, x, h, c):
    """Hochreiter & Schmidhuber 1997, section 4 and equations 3 to 5: y = out · h(s), s += in · g(net)."""
    a = affine(p, x, h, "igo")
    c = c + sigma(a["i"]) * (4 * sigma(a["g"]) - 2)
    return sigma(a["o"]) * (2 * sigma(c) - 1), c


def clipped(p, x, h, c):
    def bound(a):
        return np.minimum(np.maximum(a, -0.7), 0.7)

    a = affine(p, x, h, "ifgo")
    i, f = sigma(bound(a["i"] + p["pi"] * c)), sigma(bound(a["f"] + p["pf"] * c))
    c = f * c + i * np.tanh(bound(a["g"]))
    return sigma(bound(a["o"] + p["po"] * c)) * np.tanh(c), c


EQUATIONS = {
    "lstm-1997": of_1997,
    "lstm-1997:truncated=false": of_1997,
    "lstm-peephole": vanilla,
    "lstm-nig": no_input_gate,
    "lstm-nfg": no_forget_gate,
    "lstm-nog": no_output_gate,
    "lstm-niaf": lambda *given: vanilla(*given, squash=lambda a: a),
    "lstm-noaf": lambda *given: vanilla(*given, output=lambda c: c),
    "lstm-cifg": coupled,
    "lstm-np": lambda *given: vanilla(*given, peep=False),
    "lstm-fgr": full_gate_recurrence,
    "lstm:peepholes=true,clip=0.7": clipped,
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_equations(name):
    q = problem(make(name))
    (ys, s), (found, s_T, _) = follow(EQUATIONS[name], q), forward(q)
    assert relative_error(found, ys) < tolerance()
    assert all(relative_error(a, b) < tolerance() for a, b in zip(s_T, s, strict=True))


@pytest.mark.parametrize(
    ("name", "gates", "peepholes"),
    [("nig", 3, 2), ("nfg", 3, 2), ("nog", 3, 2), ("niaf", 4, 3), ("noaf", 4, 3), ("cifg", 3, 2), ("np", 4, 0)],
)
def test_number_of_parameters(name, gates, peepholes):
    shapes = {n: spec.shape for n, spec in make(f"lstm-{name}").params.items()}
    wanted = {"W": (I, gates * H), "U": (H, gates * H), "b": (gates * H,)}
    assert {n: shapes[n] for n in wanted} == wanted and len(shapes) == 3 + peepholes


def test_full_gate_recurrence_does_not_reach_the_candidate():
    """Whatever lies in U's block from the gates to g: nothing changes, and its gradient is zero."""
    q = problem(make("lstm-fgr"))
    other = q.params["U"].copy()
    other[H:, 2 * H : 3 * H] = 7.0
    dL, dL_other = (gradients(p, rnnbp.backend("numpy")) for p in (q, q._replace(params={**q.params, "U": other})))
    assert all(np.array_equal(dL[n], dL_other[n]) for n in dL)
    assert not np.any(dL["U"][H:, 2 * H : 3 * H]) and np.all(dL["U"][H:, : 2 * H]) and np.all(dL["U"][:H])


def test_the_gradient_of_1997():
    """Written out from the paper: the error of c is the same at every step, plus what comes in through o and h there;
    that of h comes from its own step alone.
    """
    q = problem(make("lstm-1997"))
    p, dp = q.params, {name: np.zeros_like(value) for name, value in q.params.items()}
    (h, c), seen = q.s0, []
    for x in q.xs:
        a = affine(p, x, h, "igo")
        i, o, g = sigma(a["i"]), sigma(a["o"]), 4 * sigma(a["g"]) - 2
        before, c = h, c + i * g
        y = 2 * sigma(c) - 1
        h = o * y
        seen.append((x, before, a, i, g, o, c, y))
    dc = q.ds_T[1]
    for t, (x, before, a, i, g, o, c, y) in reversed(list(enumerate(seen))):
        dh = q.dys[t] + (q.ds_T[0] if t == T - 1 else 0)
        dc = dc + dh * o * 2 * sigma(c) * (1 - sigma(c))
        slope = 4 * sigma(a["g"]) * (1 - sigma(a["g"]))
        da = np.concatenate([dc * g * i * (1 - i), dc * i * slope, dh * y * o * (1 - o)], axis=-1)
        dp = {"W": dp["W"] + x.T @ da, "U": dp["U"] + before.T @ da, "b": dp["b"] + da.sum(axis=0)}
    found, dxs, (dh0, dc0) = forward(q)[2](q.dys, q.ds_T)
    agree({**found, "c0": dc0}, {**dp, "c0": dc})
    assert not np.any(dh0) and np.all(dxs)


@pytest.mark.parametrize("name", ["lstm-peephole", "lstm-1997:truncated=false"])
def test_where_nothing_is_cut_the_gradient_is_the_whole_one(backend, name):
    q = problem(make(name))
    agree(gradients(q, backend), numeric(q))


def test_without_the_error_of_peepholes_their_weights_learn_still():
    whole, less = (problem(make(f"lstm-peephole:peephole_error={word}")) for word in ("true", "false"))
    dL, dL_less = (gradients(q, rnnbp.backend("numpy")) for q in (whole, less))
    assert all(np.all(dL_less[n]) for n in ("pi", "pf", "po"))
    assert all(relative_error(dL[n], dL_less[n]) > 1e-3 for n in ("W", "U", "pi", "s0.c"))
    assert relative_error(forward(whole)[0], forward(less)[0]) == 0


def test_what_biases_start_at():
    drawn = {name: make(name).init(np.random.default_rng(0))["b"][::H].tolist() for name in EQUATIONS}
    assert drawn["lstm-cifg"] == [-1, 0, 0]  # so that f = 1 − i starts as it does in the others
    assert drawn["lstm-1997"] == drawn["lstm-nfg"] == [0, 0, 0]
    assert drawn["lstm-nog"] == [0, 1, 0] and drawn["lstm-peephole"] == [0, 1, 0, 0]


def test_names_are_options():
    assert make("lstm-cifg") == LSTM(I, H, peepholes=True, coupled=True)
    assert make("lstm-nig:peepholes=false") == LSTM(I, H, without=("i",)) == make("lstm:without=i")
    assert make("lstm:without=i+o").gates == ("f", "g") and make("lstm:stopped=f+o").cut == ("f", "o")
    assert make("lstm-1997").cut == make("lstm-1997").gates == ("i", "g", "o")
    assert "1997" in make("lstm-1997").source and "Greff" in make("lstm-cifg").source


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lstm:without=g", "without names gates among i, f and o; got g"),
        ("lstm:coupled=true,without=f", "coupled makes f = 1 − i; got without=f: leave one of them out"),
        ("lstm:bias=false,forget_bias=2", "forget_bias is where a bias starts; got 2 with bias=false: leave it out"),
        ("lstm-nfg:forget_bias=2", "forget_bias is where a bias starts; got 2 with without=f: leave it out"),
        (
            "lstm:peephole_error=false",
            "peephole_error=false is about peepholes; got none: add peepholes=true, or leave it out",
        ),
        ("lstm:clip=0", "clip must be above 0, or none; got 0"),
        ("lstm-cifg:stopped=f", "unknown name in cut of LSTM 'f': known are g, i, o"),
        (
            "lstm:input_activation=tan",
            "unknown activation 'tan': did you mean tanh?",
        ),
    ],
)
def test_refusals(spec, message):
    assert refusal(lambda: make(spec)).startswith(message)
