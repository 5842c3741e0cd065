"""Learned initial states: their gradients by complex steps, from the first state and from every reset."""

from __future__ import annotations

import numpy as np
import pytest
from cases import MASK, RESETS, WAYS
from helpers import B, H, I, T, agree, complex_step, forward, inner, named, on, portable, problem, relative_error
from toy_plain import Memory

import rnnbp
from rnnbp.around import LearnedStartPointwise, learned_start
from rnnbp.around.learned_start import Starts
from rnnbp.truncation import Window

SPECS = [
    "lstm/learned-start",
    "gru:reset=before/learned-start",
    "lstm/learned-start:states=c/zoneout/recurrent-dropout",
]
WINDOWS = [None, (0, 0, T), (1, 2, 4), (2, 2, T)]


def started(spec):
    return problem(rnnbp.cell(spec, I, H) if isinstance(spec, str) else spec)


def numeric(q, window=None, **options):
    """The gradients where no state is given, by complex steps; the state that a later window starts from is held."""
    start, lo, stop = window or (0, 0, T)
    xp = rnnbp.backend("numpy").xp

    def part(lo, hi, p, xs, s):
        flags = {n: f[lo:hi] if n in ("mask", "resets") else f for n, f in options.items()}
        data = {n: d[lo:hi] for n, d in q.data.items()} or None
        s = q.cell.start(xp, p, B, q.xs)[0] if s is None else s
        return portable(q.cell, p, xs[..., lo:hi, :, :], s, data=data, **flags)[:2]

    def loss(name, z):
        p, xs = {**q.params, **({} if name == "xs" else {name: z})}, z if name == "xs" else q.xs
        s = part(0, start, q.params, q.xs, None)[1] if start else None
        ys, s_T = part(start, stop, p, xs, s)
        last = stop == T or options.get("reverse")
        return inner(ys[..., lo - start :, :, :], s_T if last else (), q.dys[lo:stop], q.ds_T if last else ())

    host = rnnbp.backend("numpy")
    return {n: complex_step(host, lambda z, n=n: loss(n, z), v) for n, v in {**q.params, "xs": q.xs}.items()}


def found(backend, q, window=None, **options):
    here = on(backend, q)
    _, _, backward = forward(here._replace(s0=None), **on(backend, options))
    dp, dxs, _ = backward(here.dys, here.ds_T, window and Window(*window))
    return {n: backend.to_numpy(d) for n, d in {**dp, "xs": dxs}.items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", SPECS)
def test_gradients_from_no_given_state(spec, way):
    q = started(spec)
    gradients = found(rnnbp.backend("numpy"), q, **WAYS[way])
    assert all(np.any(d) for n, d in gradients.items() if n.startswith("start"))
    agree(gradients, numeric(q, **WAYS[way]))


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_on_every_backend(backend, spec):
    q, options = started(spec), {"mask": MASK, "resets": RESETS}
    agree(found(backend, q, **options), numeric(q, **options))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_window_learns_from_the_starts_that_lie_in_it(spec, window):
    """The first state counts in windows from step 0, a reset wherever it lies."""
    q = started(spec)
    agree(found(rnnbp.backend("numpy"), q, window, resets=RESETS), numeric(q, window, resets=RESETS))
    late = found(rnnbp.backend("numpy"), q, (1, 2, 4))
    assert not any(np.any(d) for n, d in late.items() if n.startswith("start"))


def test_a_given_state_is_not_the_start(backend):
    q = started("lstm/learned-start")
    dp, _, _ = forward(on(backend, q))[2](backend.asarray(q.dys))
    assert not np.any(backend.to_numpy(dp["start.h"])) and dp["start.h"].shape == (H,)


def test_states_of_any_shape_start_as_the_cell_has_it():
    cell = learned_start(Memory(I, H))
    drawn = cell.init(np.random.default_rng(0))
    assert (
        np.array_equal(drawn["start.n"], np.ones(H)) and drawn["start.M"].shape == (H, 2) and not drawn["start.M"].any()
    )
    q = started(cell)
    agree(found(rnnbp.backend("numpy"), q, resets=RESETS), numeric(q, resets=RESETS))


def test_before_it_has_learnt_it_is_the_cell_within():
    cell, within = rnnbp.cell("lstm/learned-start", I, H), rnnbp.cell("lstm", I, H)
    q = problem(within)
    p = {**q.params, "start.h": np.zeros(H), "start.c": np.zeros(H)}
    ys, _, backward = rnnbp.scan(cell, p, q.xs, resets=RESETS)
    ys0, _, backward0 = forward(q._replace(s0=None), portable_without_state, resets=RESETS)
    assert np.array_equal(ys, ys0)
    assert relative_error(backward(q.dys)[1], backward0(q.dys)[1]) < 1e-14


def portable_without_state(cell, params, xs, _, **options):
    return portable(cell, params, xs, cell.initial_state(rnnbp.backend("numpy").xp, B, xs), **options)


def test_the_fast_scan_is_taken_but_for_resets(monkeypatch):
    backend, q, taken = rnnbp.backend("numpy"), started("lstm/learned-start"), []
    own = type(backend).scan

    def watched(self, *arguments, **options):
        result = own(self, *arguments, **options)
        taken.append(result is not NotImplemented)
        return result

    monkeypatch.setattr(type(backend), "scan", watched)
    found(backend, q, mask=MASK)
    found(backend, q, resets=RESETS)
    assert taken == [True]


@pytest.mark.parametrize("remat", [1, "sqrt"])
def test_recomputation_by_segments_gives_the_same_bits(remat):
    q = problem(rnnbp.cell("lstm/learned-start/zoneout", I, H), time_steps=2000, batch=2)._replace(s0=None)
    resets = np.zeros((2000, 2), dtype=bool)
    resets[[300, 1500], [0, 1]] = True
    results = [forward(q, resets=resets, **more)[2](q.dys, q.ds_T) for more in ({}, {"remat": remat})]
    (dp, dxs, ds), (dp0, dxs0, ds0) = results
    assert all(np.array_equal(dp[n], dp0[n]) for n in dp0) and np.array_equal(dxs, dxs0)
    assert all(map(np.array_equal, ds, ds0))


def test_a_model_learns_its_start():
    """Gradient descent on the start alone brings the outputs towards their targets."""
    cells = rnnbp.stack("gru/learned-start", I, H)
    model = rnnbp.Model(cells, 2, rnnbp.losses.MeanSquaredError())
    rng = np.random.default_rng(0)
    p, xs, targets = model.init(rng), rng.standard_normal((T, B, I)), np.ones((T, B, 2))
    first = model(p, xs, targets)[0]
    for _ in range(20):
        p["0.start.h"] = p["0.start.h"] - 0.5 * model(p, xs, targets)[2]()[0]["0.start.h"]
    assert model(p, xs, targets)[0] < 0.9 * first


class Forgetful(LearnedStartPointwise):
    """A planted fault: the mean over the batch in place of the sum."""

    def start(self, xp, p, batch, like):
        s, back = Starts.start(self, xp, p, batch, like)
        return s, lambda ds: {n: d / batch for n, d in back(ds).items()}


def test_a_planted_fault_is_seen():
    q = started(Forgetful(rnnbp.cell("lstm", I, H)))
    with pytest.raises(AssertionError):
        agree(found(rnnbp.backend("numpy"), q), numeric(q))
    dp, dxs, ds = forward(q)[2](q.dys, q.ds_T)
    assert named(dp, dxs, ds, q.cell)


def test_a_gradient_check_looks_at_the_start_by_itself():
    """With a level of its own: where a state is given, as in a step or a sequence, no start has a gradient."""
    cell = rnnbp.cell("gru/learned-start", I, H)
    of_start = [c for c in rnnbp.gradcheck(cell).checks if c.level == "start"]
    assert [c.tensor for c in of_start] == ["start.h"] and of_start[0].passed and of_start[0].analytic
    assert not any(c.level == "start" for c in rnnbp.gradcheck(cell, method="rtrl").checks)
    report = rnnbp.gradcheck(Forgetful(cell.cell), diagnosis=False)
    assert {(c.level, c.tensor) for c in report.checks if not c.passed} == {("start", "start.h")}
