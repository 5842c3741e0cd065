"""Where errors go: the numbers about BPTT, truncation, deltas and windows are held to independent computations, and the
words to the numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import textbook
from explained import ROUNDING, numbers
from helpers import sigma

import rnnbp
from rnnbp.explaining import deltas, necessity, truncating, windows
from rnnbp.explaining.examples import HIDDEN, example, flat


@cache
def cut_gradient(steps, cut="", k=1):
    """Of the example of so many steps, by complex steps of the textbook's forward with constants in it."""
    given = example("lstm", steps)

    def loss(p):
        return np.sum(textbook.outputs(p, given.path.xs, cut, k) * given.dys[:, None], axis=(0, 2, 3))

    return textbook.gradient(loss, given.path.params)


@pytest.mark.parametrize(("kind", "cut"), [("full", ""), ("1997", "h"), ("tbptt:1,1", "hc")])
def test_what_goes_back_along_c_and_through_h(kind, cut):
    n = numbers("bptt")
    g, f, own = (cut_gradient(necessity.STEPS, stopped) for stopped in (cut, "", "hc"))
    dU_o, full, alone = (d["U"][:, 3 * HIDDEN :] for d in (g, f, own))
    wanted = {"dU_o": np.linalg.norm(dU_o) / np.linalg.norm(full)}
    wanted["later"] = np.linalg.norm(dU_o - alone) / np.linalg.norm(dU_o)
    g, f = map(textbook.vector, (g, f))
    wanted |= {"ratio": np.linalg.norm(g) / np.linalg.norm(f), "cosine": textbook.cosine(g, f)}
    assert {name: n[f"{kind}.{name}"] for name in wanted} == pytest.approx(wanted, abs=ROUNDING)


def test_only_the_full_backward_gives_o_an_error_from_later_steps():
    n = numbers("bptt")
    assert n["full.later"] > 0.3 and max(n["1997.later"], n["tbptt:1,1.later"]) < ROUNDING
    assert n["tbptt:1,1.ratio"] < n["1997.ratio"] < 0.9  # i, f, g learn from later steps along C
    assert n["rtrl"] < ROUNDING and n["largest cosine"] < 0.1


def memory_derivative(path, k, steps):
    """∂C/∂C_k over some steps, h_k = o_k tanh C_k moving along with o_k fixed, by complex steps of the textbook."""
    (h, c), p = path.states[k], path.params

    def after(c1):
        h1 = h / np.tanh(c) * np.tanh(c1)
        for t in range(k, k + steps):
            h1, c1 = textbook.lstm_step(p, path.xs[t], h1, c1)
        return c1

    return textbook.jacobian(after, c)


def test_the_product_of_derivatives_lacks_the_way_through_o():
    n = numbers("bptt")
    path = example("lstm", necessity.STEPS).path
    T, product = path.time_steps, np.eye(HIDDEN)
    for lag in range(1, max(necessity.LAGS) + 1):
        product = product @ memory_derivative(path, T - lag, 1)
        if lag in necessity.LAGS:
            true = memory_derivative(path, T - lag, lag)
            missing = np.linalg.norm(product - true) / np.linalg.norm(true)
            assert n[f"missing.{lag}"] == pytest.approx(missing, abs=ROUNDING)
    assert n["missing.1"] < ROUNDING and all(n[f"missing.{lag}"] > 0.01 for lag in necessity.LAGS[1:])


def test_the_four_terms_add_up_to_the_derivative():
    n = numbers("bptt")
    path = example("lstm", necessity.STEPS).path
    total = [np.linalg.norm(memory_derivative(path, k, 1), axis=(1, 2)) for k in range(1, path.time_steps)]
    assert n["norm.total"] == pytest.approx(np.mean(total), rel=ROUNDING)
    w, u, b = (np.split(path.params[name], 4, axis=-1)[1] for name in "WUb")
    f = [sigma(x @ w + h @ u + b) for x, (h, _) in zip(path.xs, path.states[:-1], strict=True)]
    assert n["norm.direct"] == pytest.approx(np.mean(np.linalg.norm(f[1:], axis=-1)), rel=ROUNDING)
    assert all(0 < n[f"norm.{k}"] < n["norm.direct"] for k in "fig")


def test_a_truncated_backward_passes_its_own_check_and_fails_that_of_the_loss():
    n = numbers("truncation")
    for kind in truncating.KINDS:
        assert n[f"{kind}.claim"] < ROUNDING
        assert (n[f"{kind}.full"] > 0.1) is (kind != "full")
        for against in ("claim", "full"):
            report = rnnbp.gradcheck("lstm", truncation=kind, against=against)
            assert report.passed is (against == "claim" or kind == "full")
        worst = max(check.error for check in report.checks if check.level == "sequence")
        assert n[f"{kind}.full"] == pytest.approx(worst, abs=ROUNDING)
    assert all(n[f"{k}.ratio"] < 1 and n[f"{k}.cosine"] < 0.99 for k in truncating.KINDS if k != "full")


def test_one_delta_is_linear_in_time_and_T_deltas_are_quadratic():
    n = numbers("deltas")
    for T in deltas.LENGTHS:
        assert (n[f"{T}.one"], n[f"{T}.many"]) == (T, T * (T + 1) / 2)
        assert max(n[f"{T}.difference"], n[f"{T}.by lag"]) < ROUNDING


@pytest.mark.parametrize("spec", ["lstm", "lstm-nog", "gru:reset=before"])
def test_both_ways_give_the_gradient_of_the_loss(spec):
    given = example(spec, 6)
    _, _, back = rnnbp.scan(given.path.cell, given.path.params, given.path.xs)
    wanted = back(given.dys)[0]
    for way in (deltas.together, deltas.separately):
        found = way(given).gradients
        assert flat(found) == pytest.approx(flat({name: wanted[name] for name in found}), abs=ROUNDING)
    lost = deltas._back(given, given.dys[:-1]).gradients  # the last error forgotten
    assert np.linalg.norm(flat(lost) - flat(given.full)) > 0.1


def test_windows_leave_the_pairs_that_are_counted():
    n = numbers("num-steps")
    T = windows.STEPS
    for k in windows.WIDTHS:
        assert n[f"{k}.pairs"] == pytest.approx((k + 1) / (T + 1))
        steps, wide = (windows.reached(T, kind) for kind in (f"steps:{k}", f"tbptt:1,{k}"))
        for lag in range(T):
            assert np.sum(np.diagonal(steps, -lag)) == max(0, k - lag) * T / k  # (K − u)/K of all t
            assert np.all(np.diagonal(wide, -lag) == (lag < k))
    assert n["carried"] < ROUNDING and n["reset"] > 0.1


def test_the_gradient_of_windows_is_that_of_constants_at_their_start():
    n = numbers("num-steps")
    g, f = (textbook.vector(cut_gradient(windows.STEPS, cut, 4)) for cut in ("hc", ""))
    wanted = {"ratio": np.linalg.norm(g) / np.linalg.norm(f), "cosine": textbook.cosine(g, f)}
    assert {name: n[f"4.steps.{name}"] for name in wanted} == pytest.approx(wanted, abs=ROUNDING)


def test_wider_windows_are_nearer_to_the_full_gradient():
    n = numbers("num-steps")
    for kind in ("steps", "tbptt"):
        cosines = [n[f"{k}.{kind}.cosine"] for k in windows.WIDTHS]
        assert cosines == sorted(cosines) and cosines[-1] == pytest.approx(1, abs=ROUNDING)
    assert all(n[f"{k}.tbptt.cosine"] >= n[f"{k}.steps.cosine"] - ROUNDING for k in windows.WIDTHS)


def test_a_window_for_every_step_sums_the_lags_below_its_width():
    n = numbers("num-steps")
    given = example("lstm", windows.STEPS)
    _, _, back = rnnbp.scan(given.path.cell, given.path.params, given.path.xs)
    each = [back(given.dys, None, rnnbp.Window(max(0, t - 3), t, t + 1)) for t in range(windows.STEPS)]
    g = sum(flat({name: dp[name] for name in given.full}) for dp, *_ in each)
    assert n["4.tbptt.cosine"] == pytest.approx(textbook.cosine(g, flat(given.full)), abs=ROUNDING)
    assert n["4.tbptt.ratio"] == pytest.approx(np.linalg.norm(g) / np.linalg.norm(flat(given.full)), abs=ROUNDING)
