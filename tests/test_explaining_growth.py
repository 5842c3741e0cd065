"""How errors grow: the numbers about vanishing, eigenvalues and clipping are held to independent computations, and the
words to the numbers.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import textbook
from explained import ROUNDING, numbers
from helpers import sigma

import rnnbp
from rnnbp.explaining import clipping, eigenvalues, vanishing
from rnnbp.explaining.examples import BATCH, HIDDEN, example, flat, orthogonal_rnn
from rnnbp.flow import growth, lyapunov_spectrum


def textbook_exponents(spec):
    """Slopes of the logarithms of the norms of products of Jacobians, and the carousel's mean, by complex steps."""
    path = vanishing.with_peepholes(example(spec, vanishing.STEPS).path)
    whole, block, logs, carousel = np.eye(2 * HIDDEN), np.eye(HIDDEN), [], []
    for t in reversed(range(path.time_steps)):
        state = np.concatenate(path.states[t], axis=-1)

        def step(s, t=t):
            return np.concatenate(textbook.lstm_step(path.params, path.xs[t], *np.split(s, 2, axis=-1)), axis=-1)

        j = textbook.jacobian(step, state)
        whole, block = whole @ j, block @ j[:, :HIDDEN, :HIDDEN]
        logs.append([np.log(np.linalg.norm(p, 2, axis=(1, 2))) for p in (whole, block)])
        carousel.append(np.log(np.abs(np.diagonal(j[:, HIDDEN:, HIDDEN:], axis1=1, axis2=2))))
    lags = np.arange(1, path.time_steps + 1)
    slopes = [np.mean(np.polyfit(lags, log, 1)[0]) for log in np.moveaxis(np.asarray(logs), 1, 0)]
    return {"whole": slopes[0], "h-block": slopes[1], "carousel": np.mean(carousel)}


@pytest.mark.parametrize("spec", ["lstm:forget_bias=0", "lstm:forget_bias=5", "lstm:peepholes=true,forget_bias=1"])
def test_exponents_are_those_of_products_of_jacobians(spec):
    n = numbers("vanishing")
    wanted = textbook_exponents(spec)
    assert {name: n[f"{spec}.{name}"] for name in wanted} == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("spec", ["rnn", "gru", "lstm:forget_bias=1", "lstm:without=f"])
def test_exponents_are_near_those_of_lyapunov(spec):
    n = numbers("vanishing")
    found = lyapunov_spectrum(example(spec, vanishing.STEPS).path, 1).exponents
    assert n[f"{spec}.whole"] == pytest.approx(float(np.mean(found)), abs=0.03)


def test_a_forget_gate_brings_vanishing_back_and_its_bias_takes_it_away():
    n = numbers("vanishing")
    zero, one, five = (n[f"lstm:forget_bias={b}.whole"] for b in (0, 1, 5))
    assert zero < one < 0 <= five
    assert n["rnn.whole"] == pytest.approx(zero, abs=0.15)  # "about as fast"
    assert n["lstm:peepholes=true,forget_bias=1.whole"] > one
    assert n["lstm-1997.whole"] == pytest.approx(0, abs=ROUNDING)
    assert n["lstm-1997.carousel"] == n["lstm:without=f.carousel"] == 0 and n["lstm-1997.h-block"] == -math.inf
    assert all(n[f"{spec}.h-block"] == n[f"{spec}.whole"] for spec in ("rnn", "gru"))
    assert all(n[f"lstm:forget_bias={b}.h-block"] < -1 for b in (0, 1, 5))
    for bias in (0, 1, 5):  # "about σ(forget bias)"
        assert n[f"lstm:forget_bias={bias}.carousel"] == pytest.approx(math.log(sigma(bias)), abs=0.1)


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_other_draws_say_the_same(seed):
    def exponent(spec):
        return np.mean(growth(vanishing.with_peepholes(example(spec, vanishing.STEPS, seed).path)).exponent)

    zero, one, five = (exponent(f"lstm:forget_bias={b}") for b in (0, 1, 5))
    assert zero < one < 0 <= five and one < exponent("lstm:peepholes=true,forget_bias=1")
    assert exponent("rnn") == pytest.approx(zero, abs=0.15)


def test_a_matrix_that_is_not_normal_grows_first():
    n = numbers("eigenvalues")

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


def test_claims_of_tutorials_hold_and_fail_where_the_answer_says():
    n = numbers("eigenvalues")
    assert n["small.exponent"] <= math.log(0.5)
    assert n["driven.least"] == pytest.approx(2) and n["driven.radius"] == pytest.approx(2)
    assert n["driven.exponent"] < -0.1 and n["driven.true"] <= n["driven.sharper"] <= n["driven.bound"]
    assert n["driven.bound"] == pytest.approx(2.0**eigenvalues.LAG)
    assert n["nilpotent.radius"] == 0 and n["nilpotent.exponent"] == pytest.approx(math.log(2))


def test_the_truth_beside_the_bounds_is_a_product_of_slopes_and_weights():
    n = numbers("eigenvalues")
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


@pytest.mark.parametrize("scale", clipping.SCALES)
def test_a_step_with_and_without_clipping(scale):
    n = numbers("clipping")
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


@pytest.mark.parametrize("scale", clipping.SCALES)
def test_the_part_of_long_lags_is_what_windows_leave_out(scale):
    n = numbers("clipping")
    path = orthogonal_rnn(scale, 0.5, clipping.STEPS)
    _, dys, g = clipping.loss_of(path)
    back = rnnbp.scan(path.cell, path.params, path.xs)[2]
    kept = [rnnbp.Window(max(0, t - clipping.LONG + 1), t, t + 1) for t in range(clipping.STEPS)]
    short = [back(dys, None, window)[0] for window in kept]
    left = flat({name: d - sum(part[name] for part in short) for name, d in g.items()})
    assert n[f"{scale}.long"] == pytest.approx(np.linalg.norm(left) / np.linalg.norm(flat(g)), rel=1e-6, abs=ROUNDING)


def test_clipping_helps_where_gradients_explode_and_not_where_they_vanish():
    n = numbers("clipping")
    vanishing_one, *exploding = clipping.SCALES
    assert n[f"{vanishing_one}.exponent"] < 0 and n[f"{vanishing_one}.norm"] < clipping.LIMITS["norm"]
    assert n[f"{vanishing_one}.clipped"] == n[f"{vanishing_one}.plain"] < n[f"{vanishing_one}.before"]
    for s in exploding:
        assert n[f"{s}.exponent"] > 0 and n[f"{s}.norm"] > clipping.LIMITS["norm"]
        assert n[f"{s}.plain"] > n[f"{s}.before"]
        assert abs(n[f"{s}.clipped"] - n[f"{s}.before"]) < (n[f"{s}.plain"] - n[f"{s}.before"]) / 2
    shares = [n[f"{s}.long"] for s in clipping.SCALES]
    assert shares == sorted(shares) and shares[0] < 1e-6 and shares[-1] > 0.9


def test_only_the_global_norm_keeps_the_direction():
    n = numbers("clipping")
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


def test_errors_clipped_on_their_way_back():
    n = numbers("clipping")
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
