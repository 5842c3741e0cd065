"""Kinds of truncation: each is the derivative of a forward that is written out here, with real parts for what stops.

The forwards below share nothing with the library's own: a loop of steps for a decay, textbook equations for the rest.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import WAYS, case
from helpers import H, I, T, agree, complex_step, forward, named, numeric, on, problem, refusal, relative_error

import rnnbp
from rnnbp import Window
from rnnbp.around import Zoneout
from rnnbp.checking.lags import numeric_blocks
from rnnbp.checking.subjects.problems import Problem
from rnnbp.truncation import Truncation, decay_of, full, parse, tbptt
from rnnbp.unrolling import common

L = 0.7
CELLS = ["lstm:peepholes=true", "gru", "elman", "gru:reset=before", "own scan", "states of any shape", "one gate cut"]
DECAYED = Window(0, 0, T, L)


# ---- data ------------------------------------------------------------------------------------------------------------
def test_a_decay_belongs_to_a_window_that_still_unpacks_in_three():
    start, lo, stop = DECAYED
    assert (start, lo, stop, DECAYED.decay) == (0, 0, T, L) and len(DECAYED) == 3
    assert Window(0, 0, T) == (0, 0, T) == Window(0, 0, T, 1.0)
    assert DECAYED not in ((0, 0, T), Window(0, 0, T), Window(0, 0, T, 0.5)) and DECAYED == Window(0, 0, T, L)
    assert len({DECAYED, Window(0, 0, T), Window(0, 0, T, L)}) == 2
    assert repr(DECAYED) == "Window(start=0, lo=0, stop=5, decay=0.7)" and "decay" not in repr(Window(0, 0, T))


def test_windows_of_the_kinds():
    assert parse("steps:2", 5) == tbptt(5, 2, 2) and parse("decay:0.7", 5) == [DECAYED]
    for kind in ("1997", "peepholes", "gates:i+f"):
        assert parse(kind, 5) == full(5)
    assert decay_of([DECAYED, DECAYED]) == L
    assert "share one decay; got 0.7, 1.0" in refusal(lambda: decay_of([DECAYED, Window(0, 0, 5)]))


def test_what_becomes_of_a_cell():
    lstm = rnnbp.cell("lstm:peepholes=true", I, H)
    cut = Truncation.parse("1997").of(lstm)
    assert set(cut.cut) == {"i", "f", "g", "o"} and not cut.peephole_error
    assert Truncation.parse("gates:o+i").of(lstm).cut == ("i", "o")
    assert Truncation.parse("gates:o").of(rnnbp.cell("lstm:stopped=i", I, H)).cut == ("i", "o")
    assert not Truncation.parse("peepholes").of(lstm).peephole_error
    for kind in ("full", "tbptt:1,2", "decay:0.5"):
        assert Truncation.parse(kind).of(lstm) is lstm
    within = Truncation.parse("1997").of(Zoneout(rnnbp.cell("gru", I, H))).cell
    assert set(within.cut) == {"r", "z", "n"}


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (
            "1997",
            "gru:reset=before",
            "stops gates of a pointwise cell at U; ResetBeforeGRU is no PointwiseCell: use tbptt",
        ),
        ("1997", "indrnn", "stops gates of a pointwise cell at U; IndRNN has no U: use tbptt"),
        ("gates:i+q", "lstm", "unknown gate of LSTM 'q'"),
        ("peepholes", "gru", "stops the error through peepholes; GRU has none such: use lstm:peepholes=true"),
        ("peepholes", "lstm", "stops the error through peepholes; LSTM has none such: use lstm:peepholes=true"),
    ],
)
def test_a_cell_in_which_it_cannot_be_stopped_is_refused(kind, spec, said):
    assert said in refusal(lambda: Truncation.parse(kind).of(rnnbp.cell(spec, I, H)))


@pytest.mark.parametrize("decay", [0.0, 1.5, -0.5, "0.5", float("nan")])
def test_a_decay_lies_above_0_and_up_to_1(decay):
    *_, backward = forward(case("elman"))
    assert refusal(lambda: backward(None, None, Window(0, 0, T, decay))).startswith("a window's decay must lie above 0")


# ---- a decay ---------------------------------------------------------------------------------------------------------
XP = rnnbp.backend("numpy").xp


def by_steps(decay):
    """The definition: each step that is not masked starts from L s + (1 − L) Re(s), in the order of the scan."""

    def way(cell, p, xs, s0, *, data=None, mask=None, resets=None, reverse=False):
        def chosen(flag, yes, no):
            """Per sequence, the one state or the other."""
            flags = [flag.reshape(-1, *[1] * len(shape)) for shape in cell.states.values()]
            return tuple(np.where(f, a, b) for f, a, b in zip(flags, yes, no, strict=True))

        steps, batch = xs.shape[-3:-1]
        lead, _ = common(XP, cell, p, xs, s0, data)
        shapes = [(*lead, batch, *shape) for shape in cell.states.values()]
        s, ys = tuple(np.broadcast_to(z + 0j, n) for z, n in zip(s0, shapes, strict=True)), [None] * steps
        for t in reversed(range(steps)) if reverse else range(steps):
            if resets is not None:
                s = chosen(resets[t], cell.initial_state(XP, batch, s[0]), s)
            begun = tuple(decay * z + (1 - decay) * np.real(z) for z in s)
            s1, _ = cell.step(XP, p, xs[..., t, :, :], begun, {n: d[t] for n, d in (data or {}).items()})
            counts = np.ones(batch, bool) if mask is None else mask[t]
            ys[t] = np.where(counts[:, None], s1[0], 0)
            s = chosen(counts, s1, s)
        return np.stack(np.broadcast_arrays(*ys), axis=-3), s

    return way


@cache
def decayed(name, way):
    """The gradients of that forward by complex steps."""
    return numeric(case(name), by_steps(L), **WAYS[way])


@pytest.mark.parametrize("way", ["plain", "mask and resets", "mask, resets, reverse"])
@pytest.mark.parametrize("name", CELLS)
def test_a_decay_is_its_definition(backend, name, way):
    q = on(backend, case(name))
    *_, backward = forward(q, **on(backend, WAYS[way]))
    found = named(*backward(q.dys, q.ds_T, DECAYED), q.cell)
    agree({n: backend.to_numpy(d) for n, d in found.items()}, decayed(name, way))
    assert relative_error(decayed(name, way)["xs"], numeric(case(name), **WAYS[way])["xs"]) > 1e-2


def test_without_compiled_loops_a_decay_is_the_same(monkeypatch):
    monkeypatch.setattr("rnnbp_numpy.COMPILED", False)
    for way in ("plain", "mask and resets", "mask, resets, reverse"):
        q = case("lstm:peepholes=true")
        *_, backward = forward(q, **WAYS[way])
        agree(named(*backward(q.dys, q.ds_T, DECAYED), q.cell), decayed("lstm:peepholes=true", way))


def blocks(name, tensor):
    """dL_t/dv_s for every t and s: the tensor is perturbed at one step after the other."""
    q = case(name)
    given = Problem(q.cell, q.params, q.xs, q.s0, q.data, None, q.dys, q.ds_T)
    return numeric_blocks(given, rnnbp.backend("numpy"), tensor)


def test_a_decay_weighs_lags():
    q, found = case("lstm"), blocks("lstm", "U")
    *_, backward = forward(q)
    lag = np.minimum(np.arange(T + 1), T - 1)[:, None] - np.arange(T)  # the last states are those after step T − 1
    weighed = L ** np.maximum(lag, 0)[..., None, None] * found
    assert relative_error(backward(q.dys, q.ds_T, DECAYED)[0]["U"], np.sum(weighed, axis=(0, 1))) < 1e-12
    inside = sum(weighed[t, s] for t in (2, 3) for s in range(1, t + 1))
    assert relative_error(backward(q.dys, q.ds_T, Window(1, 2, 4, L))[0]["U"], inside) < 1e-12


def test_a_decayed_backward_is_recorded():
    q = case("lstm")
    *_, backward = forward(q, record=True)
    backward(q.dys, q.ds_T, DECAYED)
    *_, plain = forward(q, record=True)
    plain(q.dys, q.ds_T)
    found, wanted = (b.record["dc"] for b in (backward, plain))
    assert np.array_equal(found[-1], wanted[-1]) and relative_error(found[0], wanted[0]) > 1e-2
    *_, ladder = forward(case("own scan"), record=True)
    ladder(case("own scan").dys, None, DECAYED)
    assert np.any(ladder.record["dh"])


@pytest.mark.parametrize("name", ["lstm", "gru:reset=before"])
def test_segments_that_are_scanned_again_decay_alike(name):
    q = case(name)
    plain, again = (forward(q, remat=steps)[2](q.dys, q.ds_T, DECAYED) for steps in (None, 2))
    assert all(np.array_equal(plain[0][n], again[0][n]) for n in q.params) and np.array_equal(plain[1], again[1])


def test_through_two_layers_errors_decay_alike():
    stack = rnnbp.stack("lstm", I, H, layers=2)
    low, high = (problem(cell, seed) for seed, (_, cell) in enumerate(stack.cells))
    given = {f"{k}.{n}": w for k, q in enumerate((low, high)) for n, w in q.params.items()}
    *_, backward = stack.scan(given, low.xs, (low.s0, high.s0))
    dp, dxs, _ = backward(high.dys, None, DECAYED)

    def loss(params, xs):
        for k, q in enumerate((low, high)):
            xs, _ = by_steps(L)(q.cell, {n: params[f"{k}.{n}"] for n in q.params}, xs, q.s0)
        return np.sum(xs * high.dys, axis=(-3, -2, -1))

    host = rnnbp.backend("numpy")
    for name in ("0.U", "1.U", "0.b"):
        wanted = complex_step(host, lambda z: loss({**given, name: z}, low.xs), given[name])  # noqa: B023
        assert relative_error(dp[name], wanted) < 1e-12
    assert relative_error(dxs, complex_step(host, lambda z: loss(given, z), low.xs)) < 1e-12


def test_a_stack_in_both_directions_takes_a_decay_and_no_window():
    stack = rnnbp.stack("gru", I, H, layers=1, bidirectional=True)
    q, back = problem(stack.layers[0][0], 1), problem(stack.layers[0][1], 2)
    given = {f"0.{n}": w for n, w in q.params.items()} | {f"0.reverse.{n}": w for n, w in back.params.items()}
    *_, backward = stack.scan(given, q.xs, (q.s0, back.s0))
    dp, _, _ = backward(np.concatenate([q.dys, back.dys], axis=-1), None, DECAYED)
    for prefix, one, reverse in (("0.", q, False), ("0.reverse.", back, True)):
        still = one._replace(xs=q.xs, ds_T=tuple(0 * d for d in one.ds_T))
        wanted = numeric(still, by_steps(L), reverse=reverse)
        assert all(relative_error(dp[prefix + n], wanted[n]) < 1e-12 for n in one.params)
    assert "cannot go through a reversed direction" in refusal(lambda: backward(None, None, Window(1, 1, 3, L)))


# ---- what is stopped inside a cell -----------------------------------------------------------------------------------
def sigma(a):
    return 1 / (1 + np.exp(-a))


def lstm_with(stop_h=(), stop_c=False):
    """The equations of an LSTM with peepholes (Gers, Schraudolph & Schmidhuber 2002), Re(·) where an error stops."""

    def way(_, p, xs, s0, **__):
        h, c = s0
        ys = []
        for t in range(T):
            W, U, b = (np.split(p[n], 4, axis=-1) for n in ("W", "U", "b"))
            a = {}
            for k, gate in enumerate("ifgo"):
                seen = np.real(h) + 0j if gate in stop_h else h
                a[gate] = xs[..., t, :, :] @ W[k] + seen @ U[k] + b[k][..., None, :]
            row = {n: p[n][..., None, :] for n in ("pi", "pf", "po")}
            peep = np.real if stop_c else (lambda z: z)
            c1 = sigma(a["f"] + row["pf"] * peep(c)) * c + sigma(a["i"] + row["pi"] * peep(c)) * np.tanh(a["g"])
            h, c = sigma(a["o"] + row["po"] * peep(c1)) * np.tanh(c1), c1
            ys.append(h)
        return np.stack(np.broadcast_arrays(*ys), axis=-3), (h, c)

    return way


def gru_with(stop_h=()):
    """The equations of a GRU with reset after the product (Cho et al. 2014)."""

    def way(_, p, xs, s0, **__):
        (h,), ys = s0, []
        for t in range(T):
            W, U, b = (np.split(p[n], 3, axis=-1) for n in ("W", "U", "b"))
            of_x = [xs[..., t, :, :] @ W[k] + b[k][..., None, :] for k in range(3)]
            of_h = [(np.real(h) + 0j if gate in stop_h else h) @ U[k] for k, gate in enumerate("rzn")]
            r, z = sigma(of_x[0] + of_h[0]), sigma(of_x[1] + of_h[1])
            n = np.tanh(of_x[2] + r * (of_h[2] + p["bu"][..., None, :]))
            h = (1 - z) * n + z * h
            ys.append(h)
        return np.stack(np.broadcast_arrays(*ys), axis=-3), (h,)

    return way


STOPS = {
    ("1997", "lstm:peepholes=true"): lstm_with("ifgo", stop_c=True),
    ("peepholes", "lstm:peepholes=true"): lstm_with(stop_c=True),
    ("gates:i+f", "lstm:peepholes=true"): lstm_with("if"),
    ("gates:g", "lstm:peepholes=true"): lstm_with("g"),
    ("1997", "gru"): gru_with("rzn"),
    ("gates:r", "gru"): gru_with("r"),
    ("gates:n+z", "gru"): gru_with("nz"),
}


@cache
def stopped(kind, spec):
    return numeric(case(spec), STOPS[kind, spec])


@pytest.mark.parametrize(("kind", "spec"), STOPS)
def test_a_stopped_error_is_that_of_the_equations(backend, kind, spec):
    q = case(spec)
    there = on(backend, q._replace(cell=Truncation.parse(kind).of(q.cell)))
    *_, backward = forward(there)
    found = named(*backward(there.dys, there.ds_T), q.cell)
    agree({n: backend.to_numpy(d) for n, d in found.items()}, stopped(kind, spec))


def test_equations_without_a_stop_are_those_of_the_cells():
    """Else the test above would compare with something else."""
    agree(numeric(case("lstm:peepholes=true"), lstm_with()), numeric(case("lstm:peepholes=true")))
    agree(numeric(case("gru"), gru_with()), numeric(case("gru")))


def test_1997_leaves_an_elman_network_the_errors_of_the_step_itself():
    q = case("elman")
    *_, backward = forward(q)
    *_, cut = forward(q._replace(cell=Truncation.parse("1997").of(q.cell)))
    parts = [backward(q.dys, q.ds_T, w)[0] for w in tbptt(T, 1, 1)]
    found = cut(q.dys, q.ds_T)
    agree(found[0], {n: sum(part[n] for part in parts) for n in q.params})
    assert np.any(found[1]) and not np.any(found[2][0])  # dX of a step stays; nothing reaches the first state
