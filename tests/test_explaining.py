"""Every number that an answer shows is held to an independent computation, every claim in its words to the numbers."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
import textbook
from helpers import refusal, sigma

import rnnbp
from rnnbp.explaining import (
    QUESTIONS,
    clipping,
    deltas,
    eigenvalues,
    necessity,
    question,
    truncating,
    vanishing,
    windows,
)
from rnnbp.explaining.answers import Formula, Table, fixed, num, percent
from rnnbp.explaining.examples import BATCH, HIDDEN, INPUTS, example, flat, orthogonal_rnn
from rnnbp.flow import lyapunov_spectrum

ROUNDING = 1e-12  # of sums of some thousand terms, each exact to 2e-16


@pytest.fixture(scope="module")
def answers():
    """All of them, computed once."""
    return {name: one.answer() for name, one in QUESTIONS.items()}


@pytest.fixture
def n(answers, request):
    """The numbers of the answer that a test names."""
    return answers[request.param].numbers


def of(name):
    return pytest.mark.parametrize("n", [name], indirect=True)


@cache
def cut_gradient(steps, cut="", k=1):
    """Of the example of so many steps, by complex steps of the textbook's forward with constants in it."""
    given = example("lstm", steps)

    def loss(p):
        return np.sum(textbook.outputs(p, given.path.xs, cut, k) * given.dys[:, None], axis=(0, 2, 3))

    return textbook.gradient(loss, given.path.params)


@of("bptt")
@pytest.mark.parametrize(("kind", "cut"), [("full", ""), ("1997", "h"), ("tbptt:1,1", "hc")])
def test_what_goes_back_along_c_and_through_h(n, kind, cut):
    g, f, own = (cut_gradient(necessity.STEPS, stopped) for stopped in (cut, "", "hc"))
    dU_o, full, alone = (d["U"][:, 3 * HIDDEN :] for d in (g, f, own))
    wanted = {"dU_o": np.linalg.norm(dU_o) / np.linalg.norm(full)}
    wanted["later"] = np.linalg.norm(dU_o - alone) / np.linalg.norm(dU_o)
    g, f = map(textbook.vector, (g, f))
    wanted |= {"ratio": np.linalg.norm(g) / np.linalg.norm(f), "cosine": textbook.cosine(g, f)}
    assert {name: n[f"{kind}.{name}"] for name in wanted} == pytest.approx(wanted, abs=ROUNDING)


@of("bptt")
def test_only_the_full_backward_gives_o_an_error_from_later_steps(n):
    assert n["full.later"] > 0.3 and max(n["1997.later"], n["tbptt:1,1.later"]) < ROUNDING
    assert n["tbptt:1,1.ratio"] < n["1997.ratio"] < 0.9  # i, f, g learn from later steps along C
    assert n["rtrl"] < ROUNDING and n["largest cosine"] < 0.1


def memory_derivative(path, k, steps):
    """∂C/∂C_k over some steps, h_k = o_k tanh C_k moving along with o_k fixed, by complex steps of the textbook."""
    (h, c), p = path.states[k], path.params

    def after(c1):
        h1 = h / np.tanh(c) * np.tanh(c1)
        for t in range(k, k + steps):
            h1, c1, _ = textbook.lstm_step(p, path.xs[t], h1, c1)
        return c1

    return textbook.jacobian(after, c)


@of("bptt")
def test_the_product_of_derivatives_lacks_the_way_through_o(n):
    path = example("lstm", necessity.STEPS).path
    T, product = path.time_steps, np.eye(HIDDEN)
    for lag in range(1, max(necessity.LAGS) + 1):
        product = product @ memory_derivative(path, T - lag, 1)
        if lag in necessity.LAGS:
            true = memory_derivative(path, T - lag, lag)
            missing = np.linalg.norm(product - true) / np.linalg.norm(true)
            assert n[f"missing.{lag}"] == pytest.approx(missing, abs=ROUNDING)
    assert n["missing.1"] < ROUNDING and all(n[f"missing.{lag}"] > 0.01 for lag in necessity.LAGS[1:])


@of("bptt")
def test_the_four_terms_add_up_to_the_derivative(n):
    path = example("lstm", necessity.STEPS).path
    total = [np.linalg.norm(memory_derivative(path, k, 1), axis=(1, 2)) for k in range(1, path.time_steps)]
    assert n["norm.total"] == pytest.approx(np.mean(total), rel=ROUNDING)
    w, u, b = (np.split(path.params[name], 4, axis=-1)[1] for name in "WUb")
    f = [sigma(x @ w + h @ u + b) for x, (h, _) in zip(path.xs, path.states[:-1], strict=True)]
    assert n["norm.direct"] == pytest.approx(np.mean(np.linalg.norm(f[1:], axis=-1)), rel=ROUNDING)
    assert all(0 < n[f"norm.{k}"] < n["norm.direct"] for k in "fig")


@of("truncation")
def test_a_truncated_backward_passes_its_own_check_and_fails_that_of_the_loss(n):
    for kind in truncating.KINDS:
        assert n[f"{kind}.claim"] < ROUNDING
        assert (n[f"{kind}.full"] > 0.1) is (kind != "full")
        for against in ("claim", "full"):
            report = rnnbp.gradcheck("lstm", truncation=kind, against=against)
            assert report.passed is (against == "claim" or kind == "full")
        worst = max(check.error for check in report.checks if check.level == "sequence")
        assert n[f"{kind}.full"] == pytest.approx(worst, abs=ROUNDING)
    assert all(n[f"{k}.ratio"] < 1 and n[f"{k}.cosine"] < 0.99 for k in truncating.KINDS if k != "full")


def textbook_exponents(spec):
    """Slopes of the logarithms of the norms of products of Jacobians, and the carousel's mean, by complex steps."""
    path = vanishing.with_peepholes(example(spec, vanishing.STEPS).path)
    whole, block, logs, carousel = np.eye(2 * HIDDEN), np.eye(HIDDEN), [], []
    for t in reversed(range(path.time_steps)):
        state = np.concatenate(path.states[t], axis=-1)

        def step(s, t=t):
            return np.concatenate(textbook.lstm_step(path.params, path.xs[t], *np.split(s, 2, axis=-1))[:2], axis=-1)

        j = textbook.jacobian(step, state)
        whole, block = whole @ j, block @ j[:, :HIDDEN, :HIDDEN]
        logs.append([np.log(np.linalg.norm(p, 2, axis=(1, 2))) for p in (whole, block)])
        carousel.append(np.log(np.abs(np.diagonal(j[:, HIDDEN:, HIDDEN:], axis1=1, axis2=2))))
    lags = np.arange(1, path.time_steps + 1)
    slopes = [np.mean(np.polyfit(lags, log, 1)[0]) for log in np.moveaxis(np.asarray(logs), 1, 0)]
    return {"whole": slopes[0], "h-block": slopes[1], "carousel": np.mean(carousel)}


@of("vanishing")
@pytest.mark.parametrize("spec", ["lstm:forget_bias=0", "lstm:forget_bias=5", "lstm:peepholes=true,forget_bias=1"])
def test_exponents_are_those_of_products_of_jacobians(n, spec):
    wanted = textbook_exponents(spec)
    assert {name: n[f"{spec}.{name}"] for name in wanted} == pytest.approx(wanted, rel=1e-9)


@of("vanishing")
@pytest.mark.parametrize("spec", ["rnn", "gru", "lstm:forget_bias=1", "lstm:without=f"])
def test_exponents_are_near_those_of_lyapunov(n, spec):
    found = lyapunov_spectrum(example(spec, vanishing.STEPS).path, 1).exponents
    assert n[f"{spec}.whole"] == pytest.approx(float(np.mean(found)), abs=0.03)


@of("vanishing")
def test_a_forget_gate_brings_vanishing_back_and_its_bias_takes_it_away(n):
    zero, one, five = (n[f"lstm:forget_bias={b}.whole"] for b in (0, 1, 5))
    assert zero < one < 0 <= five and zero < n["rnn.whole"] < 0  # LSTM with bias 0 forgets faster than the rnn
    assert n["lstm:peepholes=true,forget_bias=1.whole"] > one
    assert n["lstm-1997.whole"] == pytest.approx(0, abs=ROUNDING)
    assert n["lstm-1997.carousel"] == n["lstm:without=f.carousel"] == 0 and n["lstm-1997.h-block"] == -math.inf
    assert all(n[f"{spec}.h-block"] == n[f"{spec}.whole"] for spec in ("rnn", "gru"))
    assert all(n[f"lstm:forget_bias={b}.h-block"] < -1 for b in (0, 1, 5))
    for bias in (0, 1, 5):  # "about σ(forget bias)"
        assert n[f"lstm:forget_bias={bias}.carousel"] == pytest.approx(math.log(sigma(bias)), abs=0.1)


@of("deltas")
def test_one_delta_is_linear_in_time_and_T_deltas_are_quadratic(n):
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


@of("num-steps")
def test_windows_leave_the_pairs_that_are_counted(n):
    T = windows.STEPS
    for k in windows.WIDTHS:
        assert n[f"{k}.pairs"] == pytest.approx((k + 1) / (T + 1))
        steps, wide = (windows.reached(T, kind) for kind in (f"steps:{k}", f"tbptt:1,{k}"))
        for lag in range(T):
            assert np.sum(np.diagonal(steps, -lag)) == max(0, k - lag) * T / k  # (K − u)/K of all t
            assert np.all(np.diagonal(wide, -lag) == (lag < k))
    assert n["carried"] < ROUNDING and n["reset"] > 0.1


@of("num-steps")
def test_the_gradient_of_windows_is_that_of_constants_at_their_start(n):
    g, f = (textbook.vector(cut_gradient(windows.STEPS, cut, 4)) for cut in ("hc", ""))
    wanted = {"ratio": np.linalg.norm(g) / np.linalg.norm(f), "cosine": textbook.cosine(g, f)}
    assert {name: n[f"4.steps.{name}"] for name in wanted} == pytest.approx(wanted, abs=ROUNDING)


@of("num-steps")
def test_wider_windows_are_nearer_to_the_full_gradient(n):
    for kind in ("steps", "tbptt"):
        cosines = [n[f"{k}.{kind}.cosine"] for k in windows.WIDTHS]
        assert cosines == sorted(cosines) and cosines[-1] == pytest.approx(1, abs=ROUNDING)
    assert all(n[f"{k}.tbptt.cosine"] >= n[f"{k}.steps.cosine"] - ROUNDING for k in windows.WIDTHS)


@of("num-steps")
def test_a_window_for_every_step_sums_the_lags_below_its_width(n):
    given = example("lstm", windows.STEPS)
    _, _, back = rnnbp.scan(given.path.cell, given.path.params, given.path.xs)
    each = [back(given.dys, None, rnnbp.Window(max(0, t - 3), t, t + 1)) for t in range(windows.STEPS)]
    g = sum(flat({name: dp[name] for name in given.full}) for dp, *_ in each)
    assert n["4.tbptt.cosine"] == pytest.approx(textbook.cosine(g, flat(given.full)), abs=ROUNDING)
    assert n["4.tbptt.ratio"] == pytest.approx(np.linalg.norm(g) / np.linalg.norm(flat(given.full)), abs=ROUNDING)


@of("eigenvalues")
def test_a_matrix_that_is_not_normal_grows_first(n):
    def power(u):
        return np.array([[0.9**u, u * 0.9 ** (u - 1)], [0, 0.9**u]])

    norms = [np.linalg.norm(power(u), 2) for u in range(1, eigenvalues.STEPS + 1)]
    assert n["gamma_w"] == pytest.approx((1 + math.sqrt(1 + 4 * 0.81)) / 2)  # of [[λ, 1], [0, λ]]
    assert n["peak"] == pytest.approx(max(norms)) and n["peak.lag"] == 1 + int(np.argmax(norms))
    assert n["peak"] > 3 and abs(n["peak.lag"] + 1 / math.log(0.9)) < 1
    for u in eigenvalues.LAGS:
        wanted = (norms[u - 1], 0.9**u, n["gamma_w"] ** u)
        assert tuple(n[f"{name}.{u}"] for name in ("true", "eigenvalue", "singular")) == pytest.approx(wanted)
    assert n["true.100"] < 0.01 and n["shear.exponent"] < 0
    lags = np.arange(1, len(norms) + 1)
    assert n["shear.exponent"] == pytest.approx(np.polyfit(lags, np.log(norms), 1)[0])


@of("eigenvalues")
def test_claims_of_tutorials_hold_and_fail_where_the_answer_says(n):
    assert n["small.exponent"] <= math.log(0.5)
    assert n["driven.least"] == pytest.approx(2) and n["driven.radius"] == pytest.approx(2)
    assert n["driven.exponent"] < -0.1 and n["driven.true"] <= n["driven.sharper"] <= n["driven.bound"]
    assert n["driven.bound"] == pytest.approx(2.0**eigenvalues.LAG)
    assert n["nilpotent.radius"] == 0 and n["nilpotent.exponent"] == pytest.approx(math.log(2))


@of("eigenvalues")
def test_the_truth_beside_the_bounds_is_a_product_of_slopes_and_weights(n):
    path = orthogonal_rnn(2.0, 4.0, eigenvalues.STEPS)
    u, product, sharper = path.params["U"], np.eye(HIDDEN), 1.0
    for t in range(path.time_steps - 1, path.time_steps - 1 - eigenvalues.LAG, -1):
        slopes = 1 - path.states[t + 1][0] ** 2
        product = product @ (slopes[:, :, None] * u.T)
        sharper = sharper * 2 * np.max(slopes, axis=-1)
    assert n["driven.true"] == pytest.approx(np.mean(np.linalg.norm(product, 2, axis=(1, 2))))
    assert n["driven.sharper"] == pytest.approx(np.mean(sharper))


def rnn_loss(p, xs, targets):
    """The squared error of a tanh network, summed over features, the mean over steps and sequences."""
    h, total = np.zeros((xs.shape[1], HIDDEN)), 0.0
    for x, target in zip(xs, targets, strict=True):
        h = np.tanh(x @ p["W"] + h @ p["U"] + p["b"])
        total = total + np.sum((h - target) ** 2)
    return total / xs.shape[0] / xs.shape[1]


@of("clipping")
@pytest.mark.parametrize("scale", clipping.SCALES)
def test_a_step_with_and_without_clipping(n, scale):
    path, targets = orthogonal_rnn(scale, 0.5, clipping.STEPS), clipping.targets()
    _, _, g = clipping.loss_of(path)
    norm, moved = np.linalg.norm(flat(g)), {}
    along = {name: w + 1e-30j * g[name] / norm for name, w in path.params.items()}
    assert np.imag(rnn_loss(along, path.xs, targets)) / 1e-30 == pytest.approx(norm)  # the slope along g is its norm
    for name, size in {"before": 0.0, "plain": 1.0, "clipped": min(1.0, clipping.LIMITS["norm"] / norm)}.items():
        params = {name: w - clipping.RATE * size * g[name] for name, w in path.params.items()}
        moved[name] = rnn_loss(params, path.xs, targets)
    wanted = {"norm": norm, **moved}
    assert {name: n[f"{scale}.{name}"] for name in wanted} == pytest.approx(wanted, rel=1e-9)


@of("clipping")
@pytest.mark.parametrize("scale", clipping.SCALES)
def test_the_part_of_long_lags_is_what_windows_leave_out(n, scale):
    path = orthogonal_rnn(scale, 0.5, clipping.STEPS)
    _, dys, g = clipping.loss_of(path)
    back = rnnbp.scan(path.cell, path.params, path.xs)[2]
    kept = [rnnbp.Window(max(0, t - clipping.LONG + 1), t, t + 1) for t in range(clipping.STEPS)]
    short = [back(dys, None, window)[0] for window in kept]
    left = flat({name: d - sum(part[name] for part in short) for name, d in g.items()})
    assert n[f"{scale}.long"] == pytest.approx(np.linalg.norm(left) / np.linalg.norm(flat(g)), rel=1e-6, abs=ROUNDING)


@of("clipping")
def test_clipping_helps_where_gradients_explode_and_not_where_they_vanish(n):
    vanishing_one, *exploding = clipping.SCALES
    assert n[f"{vanishing_one}.exponent"] < 0 and n[f"{vanishing_one}.norm"] < clipping.LIMITS["norm"]
    assert n[f"{vanishing_one}.clipped"] == n[f"{vanishing_one}.plain"] < n[f"{vanishing_one}.before"]
    for s in exploding:
        assert n[f"{s}.exponent"] > 0 and n[f"{s}.norm"] > clipping.LIMITS["norm"]
        assert n[f"{s}.plain"] > n[f"{s}.before"]
        assert abs(n[f"{s}.clipped"] - n[f"{s}.before"]) < (n[f"{s}.plain"] - n[f"{s}.before"]) / 2
    shares = [n[f"{s}.long"] for s in clipping.SCALES]
    assert shares == sorted(shares) and shares[0] < 1e-6 and shares[-1] > 0.9


@of("clipping")
def test_only_the_global_norm_keeps_the_direction(n):
    _, _, g = clipping.loss_of(orthogonal_rnn(clipping.TURNED, 0.5, clipping.STEPS))
    plain, limits = flat(g), clipping.LIMITS
    by_tensor = flat({name: d * min(1.0, limits["tensor"] / np.linalg.norm(d)) for name, d in g.items()})
    by_value = np.clip(plain, -limits["value"], limits["value"])
    for name, d in {
        "norm": plain * limits["norm"] / np.linalg.norm(plain),
        "tensor": by_tensor,
        "value": by_value,
    }.items():
        assert n[f"{name}.cosine"] == pytest.approx(textbook.cosine(d, plain))
        assert n[f"{name}.ratio"] == pytest.approx(np.linalg.norm(d) / np.linalg.norm(plain))
    assert n["norm.cosine"] == pytest.approx(1) and max(n[f"{k}.cosine"] for k in ("tensor", "value", "step")) < 0.99


@of("clipping")
def test_errors_clipped_on_their_way_back(n):
    path = orthogonal_rnn(clipping.TURNED, 0.5, clipping.STEPS)
    _, dys, g = clipping.loss_of(path)
    dh, total = np.zeros((BATCH, HIDDEN)), {name: np.zeros(d.shape) for name, d in g.items()}
    for t in reversed(range(clipping.STEPS)):
        h, h1 = path.states[t][0], path.states[t + 1][0]
        da = np.clip((dh + dys[t]) * (1 - h1**2), -clipping.LIMITS["step"], clipping.LIMITS["step"])
        parts = {"W": path.xs[t].T @ da, "U": h.T @ da, "b": np.sum(da, axis=0)}
        total = {name: d + parts[name] for name, d in total.items()}
        dh = da @ path.params["U"].T
    assert n["step.cosine"] == pytest.approx(textbook.cosine(flat(total), flat(g)))
    assert n["step.ratio"] == pytest.approx(np.linalg.norm(flat(total)) / np.linalg.norm(flat(g)))


def test_every_answer_is_whole(answers):
    assert [answer.name for answer in answers.values()] == list(QUESTIONS)
    for name, answer in answers.items():
        assert answer.question == QUESTIONS[name].text and answer.question.endswith("?")
        assert answer.short.endswith(".") and answer.commands and answer.numbers
        assert all(part.endswith((".", ":")) for part in answer.parts if isinstance(part, str))
        for part in answer.parts:
            if isinstance(part, Table):
                assert part.rows and {len(row) for row in part.rows} == {len(part.head)}
            if isinstance(part, Formula):
                assert max(map(len, part.lines)) <= 78  # in a terminal of 80, with two before
        assert "nan" not in json.dumps(answer.to_json(), allow_nan=False)


def test_an_example_is_that_of_its_sizes_and_seed():
    one, two, other = example("lstm", 5), example("lstm", 5), example("lstm", 5, seed=1)
    assert one.path.xs.shape == (5, BATCH, INPUTS) and one.dys.shape == (5, BATCH, HIDDEN)
    assert np.array_equal(one.path.xs, two.path.xs) and not np.array_equal(one.path.xs, other.path.xs)


def test_an_unknown_question_names_the_known_ones():
    said = refusal(lambda: question("deltass"))
    assert "did you mean deltas" in said and all(name in said for name in QUESTIONS)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (num(-0.123456), "−0.123"),
        (num(4.4e-16, 2), "4.4e-16"),
        (fixed(-0.0004), "0.000"),
        (fixed(-1.5, 2), "−1.50"),
        (fixed(-math.inf), "−∞"),
        (percent(0.337), "34 %"),
    ],
)
def test_numbers_in_sentences(written, wanted):
    assert written == wanted
