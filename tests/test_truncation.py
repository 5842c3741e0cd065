"""Windows: which there are, and that each gives the gradient that it is defined to give, in one layer and in two."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import EVERY, NAMES, WAYS, case, make
from helpers import H, T, agree, complex_step, forward, named, numeric, on, problem, relative_error

import rnnbp
from rnnbp import UserError, Window
from rnnbp.truncation import full, parse, tbptt

SCHEMES = [(1, 1), (1, 3), (2, 2), (2, 4), (3, 3), (T, T)]
WINDOWS = sorted({w for k in SCHEMES for w in tbptt(T, *k)} | {Window(0, 2, 3), Window(1, 1, 4)})


# ---- which windows there are -----------------------------------------------------------------------------------------
def test_windows_written_out():
    assert full(5) == [(0, 0, 5)]
    assert tbptt(5, 1, 1) == [(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 4, 5)]
    assert tbptt(5, 1, 3) == [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 3, 4), (2, 4, 5)]
    assert tbptt(5, 2, 4) == [(0, 0, 2), (0, 2, 4), (1, 4, 5)]
    assert tbptt(5, 5, 5) == tbptt(5, 7, 9) == full(5)


@pytest.mark.parametrize("time_steps", [1, 4, 5, 9])
@pytest.mark.parametrize(("k1", "k2"), SCHEMES)
def test_every_error_is_met_once_and_goes_back_k2_steps(time_steps, k1, k2):
    windows = tbptt(time_steps, k1, k2)
    assert [t for w in windows for t in range(w.lo, w.stop)] == list(range(time_steps))
    assert all(w.stop - w.start == min(k2, w.stop) and w.start <= w.lo for w in windows)


def test_as_typed_on_the_command_line():
    assert parse("full", 5) == full(5)
    assert parse("tbptt:2,4", 5) == tbptt(5, 2, 4)


KNOWN = "truncation must be full, tbptt:K1,K2, steps:K, decay:L, 1997, gates:NAME+NAME or peepholes"


@pytest.mark.parametrize(
    "text", ["half", "tbptt:2", "tbptt:2,4.5", "tbptt:-1,4", "steps:", "steps:x", "decay:", "gates:"]
)
def test_what_is_no_kind_is_refused(text):
    with pytest.raises(UserError) as error:
        parse(text, 5)
    assert str(error.value) == f"{KNOWN}; got {text!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tbptt:0,4", "truncation tbptt:K1,K2 needs K1 of at least 1; got 0"),
        ("tbptt:4,2", "truncation tbptt:K1,K2 needs K2 >= K1, or errors would be dropped; got K1=4, K2=2"),
        ("steps:0", "truncation steps:K needs K of at least 1; got 0"),
        ("decay:1", "truncation decay:L needs L between 0 and 1; got 1"),
        ("decay:nan", "truncation decay:L needs L between 0 and 1; got nan"),
    ],
)
def test_what_is_no_truncation_is_refused(text, message):
    with pytest.raises(UserError) as error:
        parse(text, 5)
    assert str(error.value) == message


# ---- one layer -------------------------------------------------------------------------------------------------------
def sliced(options, start, stop):
    return {n: a[start:stop] if isinstance(a, np.ndarray) else a for n, a in options.items()}


@cache
def of_window(name, window, way):
    """The definition: complex steps of the losses at lo … stop−1 from the states at `start`, which are constants."""
    q, (start, lo, stop), options = case(name), window, WAYS[way]
    before = q._replace(xs=q.xs[:start], data={n: d[:start] for n, d in q.data.items()})
    s = forward(before, rnnbp.run, **sliced(options, 0, start))[1] if start else q.s0
    met = np.concatenate([np.zeros((lo - start, *q.dys.shape[1:])), q.dys[lo:stop]])
    inside = q._replace(
        xs=q.xs[start:stop],
        s0=s,
        data={n: d[start:stop] for n, d in q.data.items()},
        dys=met,
        ds_T=q.ds_T if stop == T else tuple(0 * d for d in q.ds_T),
    )
    found = numeric(inside, **sliced(options, start, stop))
    blank = np.zeros_like(q.xs)
    blank[start:stop] = found["xs"]
    return found | {"xs": blank}


@pytest.mark.parametrize("way", ["plain", "mask and resets"])
@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: "-".join(map(str, w)))
@pytest.mark.parametrize("name", EVERY)
def test_a_window_is_its_definition(name, window, way):
    q = case(name)
    *_, backward = forward(q, **WAYS[way])
    agree(named(*backward(q.dys, q.ds_T, window), q.cell), of_window(name, window, way))


@pytest.mark.parametrize("name", EVERY)
def test_a_window_is_its_definition_on_every_backend(backend, name):
    q = on(backend, case(name))
    *_, backward = forward(q, **on(backend, WAYS["mask and resets"]))
    for window in (Window(1, 2, 4), Window(2, 3, T)):
        found = named(*backward(q.dys, q.ds_T, window), q.cell)
        agree({n: backend.to_numpy(d) for n, d in found.items()}, of_window(name, window, "mask and resets"))


@pytest.mark.parametrize("name", NAMES)
def test_windows_that_reach_back_to_the_start_add_up_to_full(name):
    q = case(name)
    *_, backward = forward(q, **WAYS["mask and resets"])
    parts = [named(*backward(q.dys, q.ds_T, Window(0, t, t + 1)), q.cell) for t in range(T)]
    agree({n: sum(part[n] for part in parts) for n in parts[0]}, named(*backward(q.dys, q.ds_T), q.cell))


def test_truncation_changes_the_gradient():
    q = case("lstm")
    *_, backward = forward(q)
    whole = backward(q.dys, q.ds_T)[0]
    cut = [backward(q.dys, q.ds_T, w)[0] for w in tbptt(T, 1, 2)]
    assert all(relative_error(sum(dp[n] for dp in cut), whole[n]) > 1e-3 for n in whole)


def test_the_error_of_the_last_state_belongs_to_windows_that_end_there():
    q = case("lstm")
    *_, backward = forward(q)
    early, late = Window(0, 0, 4), Window(3, 4, T)
    assert not any(np.any(d) for d in backward(None, q.ds_T, early)[0].values())
    assert all(np.any(d) for d in backward(None, q.ds_T, late)[0].values())


# ---- two layers ------------------------------------------------------------------------------------------------------
def two_layers(name):
    low = problem(make(name), 5)
    return low, problem(make(name, low.cell.output_size, H), 6)


def windows_outermost(low, high, windows):
    """Each window through both layers; the layer below has errors at all steps of the window."""
    *_, back_low = (lower := forward(low))
    *_, back_high = forward(high._replace(xs=lower[0]))
    total = {}
    for w in windows:
        d_high, dy, _ = back_high(high.dys, high.ds_T, w)
        d_low, dxs, _ = back_low(dy, low.ds_T, Window(w.start, w.start, w.stop))
        found = {"xs": dxs, **{f"low {n}": d for n, d in d_low.items()}, **{f"high {n}": d for n, d in d_high.items()}}
        total = {n: d + total.get(n, 0) for n, d in found.items()}
    return total


def by_definition(low, high, windows):
    """Complex steps of each window's loss, the states of both layers at its start being constants."""

    def states_at(start):
        if not start:
            return low.s0, high.s0
        ys, s, _ = forward(low._replace(xs=low.xs[:start]))
        return s, forward(high._replace(xs=ys))[1]

    def loss(w, p_low, p_high, xs):
        a, b = states_at(w.start)
        ys, s_low, _ = forward(low._replace(params=p_low, xs=xs, s0=a))
        ys, s_high, _ = forward(high._replace(params=p_high, xs=ys, s0=b))
        met = np.sum(ys[..., w.lo - w.start :, :, :] * high.dys[w.lo : w.stop], axis=(-3, -2, -1))
        at_end = zip((*s_low, *s_high), (*low.ds_T, *high.ds_T), strict=True)
        return met + sum(np.sum(s * d, axis=tuple(range(-d.ndim, 0))) for s, d in at_end) * (w.stop == T)

    numpy, total = rnnbp.backend("numpy"), {"xs": np.zeros_like(low.xs)}
    for w in windows:
        xs = low.xs[w.start : w.stop]
        total["xs"][w.start : w.stop] += complex_step(numpy, lambda z: loss(w, low.params, high.params, z), xs)  # noqa: B023
        for n, v in low.params.items():
            d = complex_step(numpy, lambda z: loss(w, {**low.params, n: z}, high.params, xs), v)  # noqa: B023
            total[f"low {n}"] = d + total.get(f"low {n}", 0)
        for n, v in high.params.items():
            d = complex_step(numpy, lambda z: loss(w, low.params, {**high.params, n: z}, xs), v)  # noqa: B023
            total[f"high {n}"] = d + total.get(f"high {n}", 0)
    return total


@pytest.mark.parametrize(("k1", "k2"), SCHEMES)
@pytest.mark.parametrize("name", ["elman", "lstm:peepholes=true", "gru", "gru:reset=before", "states of any shape"])
def test_windows_through_two_layers(name, k1, k2):
    low, high = two_layers(name)
    found, expected = windows_outermost(low, high, tbptt(T, k1, k2)), by_definition(low, high, tbptt(T, k1, k2))
    agree(found, {n: expected[n] for n in found})


def test_windows_summed_inside_each_layer_would_be_wrong():
    """Why the loop over windows is outermost; and that the test above would see it."""
    low, high = two_layers("lstm")
    windows = tbptt(T, 1, 2)
    *_, back_low = (lower := forward(low))
    *_, back_high = forward(high._replace(xs=lower[0]))
    dy = sum(back_high(high.dys, high.ds_T, w)[1] for w in windows)
    wrong = sum(back_low(dy, low.ds_T, w)[0]["W"] for w in windows)
    assert relative_error(wrong, by_definition(low, high, windows)["low W"]) > 1e-2


def test_a_plain_tuple_is_a_window():
    q = case("lstm")
    *_, backward = forward(q)
    agree(named(*backward(q.dys, q.ds_T, (1, 2, 4)), q.cell), named(*backward(q.dys, q.ds_T, Window(1, 2, 4)), q.cell))


@pytest.mark.parametrize(
    ("window", "got"),
    [
        ((), "tuple"),
        ((0, 2), "tuple of int, int"),
        ((0.0, 1, 2), "tuple of float, int, int"),
        ([0, 0, 2], "list"),
        (0, "int"),
    ],
)
def test_what_is_no_window_is_refused(window, got):
    *_, backward = forward(case("lstm"))
    rule = "a window must be a tuple of three whole numbers, Window(start, lo, stop)"
    with pytest.raises(UserError) as error:
        backward(None, None, window)
    assert str(error.value) == f"{rule}; got {got}"


# ---- windows that are none -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("window", [(-1, 0, 2), (2, 1, 3), (0, 3, 3), (0, 2, 1), (0, 0, T + 1)], ids=str)
def test_a_window_lies_within_the_sequence(window):
    *_, backward = forward(case("elman"))
    with pytest.raises(UserError) as error:
        backward(None, None, window)
    assert str(error.value) == f"a window needs 0 <= start <= lo < stop <= T={T}; got {window}"


def test_a_window_cannot_go_through_a_reversed_direction():
    q = case("elman")
    *_, backward = forward(q, reverse=True)
    agree(named(*backward(q.dys, q.ds_T, full(T)[0]), q.cell), named(*backward(q.dys, q.ds_T), q.cell))
    with pytest.raises(UserError) as error:
        backward(q.dys, q.ds_T, Window(0, 0, 3))
    assert str(error.value) == "a window cannot go through a reversed direction; got (0, 0, 3): use full BPTT"
