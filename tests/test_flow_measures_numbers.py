"""The numbers of the measurements that go along a sequence, against closed forms and independent computations."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log, nan, sqrt

import numpy as np
import pytest
from flow_subjects import B, H, T, line, linear, numbers, subject, with_params
from helpers import relative_error, sigma, tolerance

from rnnbp.flow import gate_values, growth, lyapunov_spectrum, product_spectra, state_by_lag, step_spectra, step_terms
from rnnbp.flow.decays import Decay
from rnnbp.flow.lags import LagDecomposition, mean_by_lag
from rnnbp.flow.measures import MEASURES, jacobians, lyapunov, products, terms
from rnnbp.flow.measures.thinning import exp, falls, first_sequence, fitted, powers, ranked, said_exp, spread
from rnnbp.flow.steps import HBlockWithoutCarousel
from rnnbp.truncation import Truncation

CLOSE = {"rel": tolerance(), "abs": tolerance()}


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_a_linear_network_with_u_a_multiple_of_one(factor):
    """Everything falls by λ a step, whichever way it is measured."""
    of = linear(factor * np.eye(H))
    lags = numbers("lags", of)
    assert lags["kept"] == pytest.approx(error_kept(of, factor), **CLOSE)
    x, y = line("lags", of, "weights", "W")
    parts = np.linalg.norm(np.einsum("sbi,tbo->tsio", of.xs, of.dys), axis=(2, 3))
    assert relative_error(y, factor**x * [np.mean(np.diagonal(parts, -u)) for u in range(T)]) < tolerance()
    x, y = line("memory", of, "memory", "W")
    inputs = np.linalg.norm(of.xs, axis=(1, 2))[::-1]  # ∂h_T/∂W_s = λ^(T−s) x_s ⊗ 1, H units each
    assert relative_error(y, sqrt(H) * inputs * factor**x) < tolerance()
    found = numbers("jacobians", of)
    exponents = dict.fromkeys(("exponent", "random exponent"), log(factor))
    assert found == pytest.approx({"largest": factor, "radius": factor, **exponents}, **CLOSE)
    bounds = numbers("bounds", of)
    assert bounds == pytest.approx({"γ_W": factor, "γ_W γ_φ": factor, "|λ|": factor}, **CLOSE)
    for label in ("bound", "with the slopes", "truth"):
        x, y = line("bounds", of, "bounds", label)
        assert relative_error(y, factor**x) < tolerance()
    for label in ("|λ|^u", "truth"):
        x, y = line("bounds", of, "eigenvalue", label)
        assert relative_error(y, factor**x) < tolerance()
    assert numbers("lyapunov", of)["λ_1"] == pytest.approx(log(factor), **CLOSE)


def test_what_is_said_of_bounds_is_what_is_drawn():
    for size, verdict in ((0.9, "below 1, so it must vanish"), (1.1, "not below 1, so the bound decides nothing")):
        of = with_params(subject("rnn"), U=size * np.eye(H))
        seen = {panel.picture: panel.seen for panel in MEASURES["bounds"](of).panels}
        assert seen["bounds"] == f"γ_W γ_φ = {size} is {verdict}."
        predicted, true = (line("bounds", of, "eigenvalue", label)[1][-1] for label in ("|λ|^u", "truth"))
        assert predicted == pytest.approx(size**T) and true < predicted
        assert f"an error by {predicted:.3g}; the slopes make it {true:.3g}." in seen["eigenvalue"]


def error_kept(of, factor):
    """What one step leaves of the mean error: each is λ^u of the one that was met, the mean over those that reach."""
    met = np.linalg.norm(of.dys, axis=(1, 2))
    by_lag = np.array([np.mean(factor**u * met[max(u - 1, 0) :]) for u in range(T + 1)])
    return np.exp(np.polyfit(np.arange(T + 1), np.log(by_lag), 1)[0])


def test_the_largest_singular_value_is_not_the_largest_eigenvalue():
    """Of a matrix that is not normal; the exponent of many steps is that of the eigenvalue."""
    u = np.array([[0.9, 5.0], [0.0, 0.8]])
    of = linear(u, steps=300)
    found, bounds = numbers("jacobians", of), numbers("bounds", of)
    assert found["largest"] == pytest.approx(np.linalg.norm(u, 2)) and found["radius"] == pytest.approx(0.9)
    assert bounds["γ_W"] == pytest.approx(np.linalg.norm(u, 2)) and bounds["|λ|"] == pytest.approx(0.9)
    assert numbers("lyapunov", of)["λ_1"] == pytest.approx(log(0.9), abs=1e-3)
    assert found["exponent"] == pytest.approx(log(0.9), abs=1e-2)


def test_lags_are_those_of_the_decomposition():
    of = subject("lstm", 2)
    found: LagDecomposition = of.by_lag
    table = found.weights["1.U"][""]
    by_lag = [np.mean([table[t, t - u] for t in range(u, T)]) for u in range(T)]
    x, y = line("lags", of, "weights", "1.U")
    assert list(x) == list(range(T)) and y[:-1] == pytest.approx(by_lag[:-1], rel=tolerance())
    assert np.isnan(y[-1]) and by_lag[-1] == 0  # U meets the initial state, which is zero
    of_gate = mean_by_lag(found.weights["0.U"]["f"])
    assert np.array_equal(line("lags", of, "gates", "U f", "layer 0")[1][:-1], of_gate[:-1])
    slope = np.polyfit(range(T - 1), np.log(by_lag[:-1]), 1)[0]
    assert numbers("lags", of)["half-life 1.U"] == pytest.approx(log(2) / -slope)
    (panel,) = [panel for panel in MEASURES["lags"](of).panels if panel.picture == "map"]
    assert np.array_equal(np.isnan(panel.image), table == 0)
    assert np.array_equal(panel.image[table > 0], table[table > 0])
    t, s = np.argwhere(table == np.max(table))[0] + 1  # steps count from 1
    assert f"error of step {t} and the use at step {s}." in panel.seen


def test_an_error_that_ends_is_said_to_end():
    """U⁴ = 0; a logarithmic axis shows no zero."""
    of = linear(np.diag([0.5, 0.5, 0.5], 1))
    seen = {panel.picture: panel.seen for panel in MEASURES["lags"](of).panels}["error"]
    assert seen.startswith("The error of the state halves every ")
    assert seen.endswith(" steps on its way back, and nothing is left behind lag 3.")
    whole = {panel.picture: panel.seen for panel in MEASURES["lags"](subject("lstm")).panels}["error"]
    assert "nothing is left" not in whole


def test_what_does_not_vanish_has_no_half_life():
    """Far lags have fewer errors: of a sum over t the norms would fall all the same."""
    of = linear(np.eye(H))
    of = replace(of, xs=np.ones_like(of.xs))
    of.__dict__["dys"] = np.ones((T, B, H))
    found = numbers("lags", of)
    assert found["half-life W"] == inf and found["kept"] == pytest.approx(1, **CLOSE)
    panels = {panel.picture: panel.seen for panel in MEASURES["lags"](of).panels}
    assert panels["error"] == "The error of the state neither falls nor grows on its way back."
    assert "part of W neither falls nor grows" in panels["weights"]


def test_memory_is_the_state_that_carries():
    of = subject("lstm", hidden=40)  # B H = 80 numbers: too many to be taken one by one
    found = MEASURES["memory"](of)
    exact = state_by_lag(of.path, "c", directions=80).weights["U"][""]
    assert "16 random directions" in found.notes[0]
    drawn = state_by_lag(of.path, "c", directions=16).weights["U"][""]
    assert np.array_equal(found.panels[0].lines[1].y[:-1], drawn[:-1])
    assert found.panels[0].lines[1].y[:-1] == pytest.approx(exact[:-1], rel=4 / sqrt(32))
    few = subject("lstm")
    assert not MEASURES["memory"](few).notes
    exact = state_by_lag(few.path, "c").weights["U"][""]
    assert numbers("memory", few)["half-life U"] == fitted(exact).half_life
    plain = subject("gru")
    exact = state_by_lag(plain.path, "h").weights["U"][""]
    assert numbers("memory", plain)["half-life U"] == fitted(exact).half_life


def test_steps_without_an_error_do_not_count():
    """A loss of the last step alone: the mean over t would be 1/(T − u) of the error."""
    of = linear(0.9 * np.eye(H))
    last = replace(of, label="last")
    last.__dict__["dys"] = np.where(np.arange(T)[:, None, None] == T - 1, of.dys, 0.0)
    x, y = line("lags", last, "error", "whole state")
    size = np.linalg.norm(of.dys[-1])
    assert relative_error(y, size * 0.9 ** np.arange(T + 1)) < tolerance() and len(x) == T + 1
    x, y = line("lags", last, "weights", "W")
    assert (
        relative_error(y, 0.9**x * np.linalg.norm(of.xs.swapaxes(1, 2)[::-1] @ of.dys[-1], axis=(1, 2))) < tolerance()
    )


def test_more_lags_than_fit_are_not_followed(monkeypatch):
    of = replace(subject("lstm"))
    monkeypatch.setattr("rnnbp.flow.subjects.KEPT", 4 * T * B * 4 * H)  # four errors at each step, or nearly
    assert of.by_lag.lags in (3, 4)
    assert MEASURES["lags"](of).notes == (f"Errors were followed through {of.by_lag.lags + 1} steps.",)
    assert MEASURES["truncation"](of).notes == (f"Errors were followed through {of.by_lag.lags + 1} of {T} steps.",)
    assert "more than the" in MEASURES["truncation"](of).panels[0].seen
    assert set(numbers("truncation", of).values()) == {inf}
    carried = replace(subject("gru"), s0=((np.ones((B, H)),),))
    for few in map(replace, (of, subject("lstm", 2), subject("rhn"), subject("lstm/learned-start"), carried)):
        whole = replace(few)
        with monkeypatch.context() as patch:
            patch.setattr("rnnbp.flow.subjects.KEPT", 10**8)
            every = whole.by_lag
        assert few.by_lag.lags < every.lags == T - 1
        error = np.abs(few.by_lag.truncated.ratio - every.truncated.ratio[: few.by_lag.lags + 1])
        assert np.max(error) < tolerance()


@pytest.mark.parametrize(
    ("limit", "cell", "each"), [("FORMED", "rhn", None), ("KEPT", "lstm", B * 4 * H), ("KEPT", "gru", B * 6 * H)]
)
def test_as_many_errors_are_followed_as_are_worth_it(monkeypatch, limit, cell, each):
    """Lags 0, 1, 2 of T steps are T + T − 1 + T − 2 of them, with so many numbers each."""
    of = replace(subject(cell))
    monkeypatch.setattr(f"rnnbp.flow.subjects.{limit}", (3 * T - 3) * (each or of.path.cell.count))
    assert of.by_lag.lags == 2


def test_the_first_sequence_starts_where_it_did_and_has_its_own_data():
    of = subject("lstm/zoneout:rate=0.3")
    rng, path = np.random.default_rng(1), of.path
    data = {name: rng.uniform(size=(T, B, *shape)) for name, shape in path.cell.data.items()}
    path = replace(path, s0=path.cell.random_state(rng, B), data=data)
    one = first_sequence(path)
    for found, every in zip(one.states, path.states, strict=True):
        assert all(relative_error(z, whole[:1]) < tolerance() for z, whole in zip(found, every, strict=True))


def test_jacobians_are_those_of_the_whole_state_of_the_first_sequence():
    of = subject("lstm", 2)
    path = first_sequence(of.path)
    assert path.xs.shape[1] == 1
    assert relative_error(path.states[-1][0][0], of.path.states[-1][0][0]) < tolerance()
    found, spectra = numbers("jacobians", of), step_spectra(path)
    assert found["largest"] == pytest.approx(np.median(np.exp(spectra.log_norm)))
    assert found["radius"] == pytest.approx(np.median(np.exp(spectra.log_radius)))
    assert found["exponent"] == pytest.approx(growth(path).exponent[0])
    assert found["random exponent"] == pytest.approx(growth(path).vector_exponent[0])
    block = growth(HBlockWithoutCarousel(first_sequence(of.layers["1."])))
    assert found["h-block exponent"] == pytest.approx(block.exponent[0])
    assert found["h-block random exponent"] == pytest.approx(block.vector_exponent[0])
    assert list(line("jacobians", of, "steps", "largest")[0]) == list(range(1, T + 1))
    seen = {panel.picture: panel.seen for panel in MEASURES["jacobians"](of).panels}["products"]
    worst, random = (f"{exp(found[name]):.3g}" for name in ("exponent", "random exponent"))
    assert f"the worst error is multiplied by {worst} a step" in seen and f"; a random error by {random}." in seen
    assert f"alone, without the carousel, has {found['h-block exponent']:.3g}," in seen
    assert found["h-block exponent"] < found["exponent"] - 0.5  # what hides the carousel
    long = product_spectra(path)
    for label, at in (("largest", 0), ("median", path.size // 2)):
        y = line("jacobians", of, "product values", label)[1]
        there = np.isfinite(y)
        assert y[there] == pytest.approx(np.exp(long.log_values[there, 0, at]))


def test_directions_that_survive_are_counted_at_the_longest_lag():
    """0.9^12 = 0.28 and 0.8^12 = 0.07, but 0.5^12 = 2e-4."""
    panels = MEASURES["jacobians"](linear(np.diag([0.9, 0.8, 0.5, 0.1]))).panels
    (seen,) = [panel.seen for panel in panels if panel.picture == "product values"]
    assert seen.startswith(f"Over {T} steps 2 of 4 directions keep")


def test_thinned_out_they_are_the_same(monkeypatch):
    of = subject("lstm")
    whole = MEASURES["jacobians"](of)
    monkeypatch.setattr(jacobians, "SMALL", 0)
    monkeypatch.setattr(jacobians, "DENSE", 0)
    thin = MEASURES["jacobians"](of)
    assert len(thin.notes) == 3 and [panel.picture for panel in thin.panels] == ["steps", "products"]

    def of_label(one, picture, label):
        (panel,) = [panel for panel in one.panels if panel.picture == picture]
        return {x: y for line in panel.lines if line.label == label for x, y in zip(line.x, line.y, strict=True)}

    for picture, label in (("steps", "largest"), ("products", "largest"), ("products", "h-block, largest")):
        every, some = of_label(whole, picture, label), of_label(thin, picture, label)
        assert 3 < len(some) < T and some == pytest.approx({x: every[x] for x in some}, rel=2 * products.TOLERANCE)
    assert set(thin.numbers) == {"largest", "random exponent", "h-block random exponent"}
    for name in ("random exponent", "h-block random exponent"):
        assert thin.numbers[name] == pytest.approx(whole.numbers[name])
    (seen,) = [panel.seen for panel in thin.panels if panel.picture == "products"]
    assert "a random error is multiplied by" in seen and "the worst error" not in seen
    assert f"has {thin.numbers['h-block random exponent']:.3g}," in seen
    monkeypatch.setattr(jacobians, "DENSE", 512)
    monkeypatch.setattr(jacobians, "WORK", 5 * 8**3)
    assert f"5 of {T} steps" in MEASURES["jacobians"](of).notes[1]


@pytest.mark.parametrize("cell", ["lstm:peepholes=true", "gru", "gru:reset=before"])
def test_terms_are_those_of_every_step(cell):
    of = subject(cell)
    first = 0 if "gru" in cell else 1
    every = [step_terms(of.path, t) for t in range(first, T)]
    sizes = {
        name: [np.mean([np.linalg.norm(m) for m in one.parts[name]]) / sqrt(H) for one in every]
        for name in every[0].parts
    }
    total = [np.mean([np.linalg.norm(m) for m in one.total]) / sqrt(H) for one in every]
    found = numbers("terms", of)
    for name, size in sizes.items():
        assert found[name] == pytest.approx(np.mean(size))
        assert line("terms", of, "terms", name)[1] == pytest.approx(size)
    assert found["total"] == pytest.approx(np.mean(total))
    shares = [
        [np.linalg.norm(one.total[b]) / sum(np.linalg.norm(m[b]) for m in one.parts.values()) for b in range(B)]
        for one in every
    ]
    assert found["remaining"] == pytest.approx(np.mean(shares))
    a, b = list(sizes)[:2]
    cosine = [np.mean([cos(one.parts[a][k], one.parts[b][k]) for k in range(B)]) for one in every]
    assert line("terms", of, "cosines", f"{a}, {b}")[1] == pytest.approx(cosine)
    (panel,) = [panel for panel in MEASURES["terms"](of).panels if panel.picture == "remaining"]
    assert np.sum(panel.lines[0].y) == pytest.approx(1)
    rows = [
        np.linalg.norm(one.total[b], axis=1) / sum(np.linalg.norm(m[b], axis=1) for m in one.parts.values())
        for one in every
        for b in range(B)
    ]
    width = np.diff(panel.lines[0].x)[0]
    assert panel.lines[0].x[-1] == pytest.approx(1 - width / 2)
    assert panel.lines[0].x @ panel.lines[0].y == pytest.approx(np.mean(rows), abs=width / 2)


def cos(a, b):
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


def test_terms_of_some_steps(monkeypatch):
    monkeypatch.setattr(terms, "WORK", 0)
    of = subject("lstm", steps=30)
    found = MEASURES["terms"](of)
    assert found.notes == ("Terms at 8 of 29 steps.",) and len(found.panels[0].lines[0].x) == 8
    assert found.panels[0].lines[0].x[-1] == 30


def test_the_carousel_of_a_forget_gate_that_does_not_move():
    """With W = U = 0 every gate is its bias: c_t = i g Σ f^k, and f^u comes back."""
    of = with_params(
        subject("lstm"), W=np.zeros((3, 4 * H)), U=np.zeros((H, 4 * H)), b=np.repeat([0.3, 1.0, 0.7, 0], H)
    )
    f, ig = sigma(1.0), sigma(0.3) * np.tanh(0.7)
    found = numbers("carousel", of)
    assert found["exponent alone"] == pytest.approx(log(f), **CLOSE)
    assert found["|c|"] == pytest.approx(ig * sum(f**k for k in range(T)), **CLOSE)
    assert found["|c| with f = 1"] == pytest.approx(ig * T, **CLOSE)
    x, y = line("carousel", of, "carousel", "alone")
    assert relative_error(y, f**x) < tolerance() and list(x) == list(range(1, T + 1))
    x, y = line("carousel", of, "memory size", "|c| with f = 1")
    assert relative_error(y, ig * x) < tolerance()


def test_the_carousel_of_1997_and_that_of_peepholes():
    assert numbers("carousel", subject("lstm-1997"))["exponent alone"] == 0
    assert "|c| with f = 1" not in numbers("carousel", subject("lstm-1997"))
    of = subject("lstm:peepholes=true")
    peeped = np.stack([np.diagonal(of.path.jacobian(t)[:, H:, H:], axis1=1, axis2=2) for t in range(T)])
    y = line("carousel", of, "carousel", "with peepholes")[1]
    logs = np.cumsum(np.mean(np.log(np.abs(peeped)), axis=(1, 2))[::-1])
    assert relative_error(y, np.exp(logs)) < tolerance()


def test_a_memory_that_grows_out_of_range_is_infinite():
    of = with_params(subject("lstm:input_activation=identity"), b=np.repeat([0.0, -900.0, 1e307, 0], H))
    found = MEASURES["carousel"](of)
    assert found.numbers["|c| with f = 1"] == inf and np.isfinite(found.numbers["|c|"])


def test_exponents_with_their_errors():
    of = linear(0.9 * np.eye(H))
    x, y = line("lyapunov", of, "spectrum", "λ")
    assert list(x) == [1, 2, 3, 4] and y == pytest.approx(np.full(H, log(0.9)), **CLOSE)
    x, y = line("lyapunov", of, "settling", "λ_1")
    assert list(x) == list(range(2, T + 1)) and y == pytest.approx(np.full(T - 1, log(0.9)), **CLOSE)
    chaotic = with_params(subject("rnn", steps=60), U=6 * np.random.default_rng(0).standard_normal((H, H)))
    found = lyapunov_spectrum(chaotic.path, H)
    assert numbers("lyapunov", chaotic)["λ_1"] == pytest.approx(np.mean(found.exponents[:, 0]))
    error = np.sqrt(np.sum(found.standard_error[:, 0] ** 2)) / B
    assert numbers("lyapunov", chaotic)["error"] == pytest.approx(error)
    (panel,) = [panel for panel in MEASURES["lyapunov"](chaotic).panels if panel.picture == "spectrum"]
    assert ("chaos" in panel.seen) == (np.mean(found.exponents[:, 0]) > 2 * error)


def test_an_exponent_is_told_from_zero_at_two_standard_errors():
    meanings = {
        (0.1, 0.04): "chaos",
        (-0.1, 0.04): "forgets its start",
        (0.1, 0.06): "too near",
        (-0.1, 0.06): "too near",
    }
    assert all(text in lyapunov._meaning(*given) for given, text in meanings.items())


def test_exponents_out_of_order_have_not_settled():
    said = lyapunov._unordered(np.array([-0.3, -0.1, -0.2, -np.inf]), np.array([0.02, 0.03, 0.03, np.inf]))
    assert "λ_2 is above λ_1" in said
    assert lyapunov._unordered(np.array([-0.3, -0.1, -np.inf]), np.array([0.2, 0.2, np.inf])) == ""


def test_what_dies_at_once_has_no_error():
    dead = MEASURES["jacobians"](linear(np.zeros((H, H))))
    assert dead.numbers == {"largest": 0.0, "radius": 0.0, "exponent": -inf, "random exponent": -inf}
    assert not dead.panels
    found = MEASURES["lyapunov"](linear(np.zeros((H, H))))
    assert found.numbers == {"λ_1": -inf, "error": inf} and not found.panels
    one = MEASURES["lyapunov"](linear(np.diag([0.5, 0.0])))
    (panel,) = [panel for panel in one.panels if panel.picture == "spectrum"]
    assert panel.lines[0].y[0] == pytest.approx(log(0.5), **CLOSE) and np.isnan(panel.lines[0].y[1])
    assert np.isnan(panel.lines[1].y[1])


def test_one_step_has_no_exponent():
    found = MEASURES["jacobians"](subject("lstm", steps=1))
    (panel,) = [panel for panel in found.panels if panel.picture == "products"]
    assert panel.seen == "An exponent needs 2 steps or more." and found.numbers["largest"] > 0


def test_truncation_is_that_of_windows():
    """Against the model's own backward, one truncation after the other."""
    of = subject("lstm", 2)

    def flat(kind):
        grads = of.model(of.params, of.xs, of.targets)[2](Truncation.parse(kind).windows(T))[0]
        return np.concatenate([np.ravel(grads[name]) for name in of.model.stack.params])

    whole, parts = flat("full"), [flat(f"tbptt:1,{k}") for k in range(1, T + 1)]
    errors = np.array([np.linalg.norm(g - whole) / np.linalg.norm(whole) for g in parts])
    assert line("truncation", of, "truncation", "relative error")[1] == pytest.approx(errors, abs=1e-7)  # √ε at most
    assert line("truncation", of, "truncation", "cosine")[1] == pytest.approx([cos(g, whole) for g in parts])
    for share in (10, 1):
        far = np.flatnonzero(errors > share / 100)
        assert numbers("truncation", of)[f"steps within {share} %"] == far[-1] + 2


def test_gates_are_those_of_the_equations():
    of = with_params(subject("lstm", steps=40), b=3 * np.random.default_rng(1).standard_normal(4 * H))
    p, h, c = of.layers["0."].params, np.zeros((B, H)), np.zeros((B, H))
    values = {k: [] for k in "ifgo"}
    for x in of.xs:
        ai, af, ag, ao = np.split(x @ p["W"] + h @ p["U"] + p["b"], 4, axis=-1)
        i, f, g, o = sigma(ai), sigma(af), np.tanh(ag), sigma(ao)
        c = f * c + i * g
        h = o * np.tanh(c)
        for k, v in zip("ifgo", (i, f, g, o), strict=True):
            values[k].append(v)
    found = numbers("saturation", of)
    for k, v in values.items():
        v = np.stack(v)
        low, high = (-0.8, 0.8) if k == "g" else (0.1, 0.9)
        assert found[f"{k} left"] == np.mean(v < low) and found[f"{k} right"] == np.mean(v > high)
        x, y = line("saturation", of, "saturated", k)
        assert np.array_equal(x, np.mean(v < low, axis=(0, 1))) and np.array_equal(y, np.mean(v > high, axis=(0, 1)))
        x, y = line("saturation", of, "candidates" if k == "g" else "sigmoid gates", k)
        assert np.sum(y) == pytest.approx(1) and x @ y == pytest.approx(np.mean(v), abs=np.diff(x)[0] / 2)
    assert 0 < sum(found.values()) < 8


def test_a_unit_may_be_stuck_at_either_end():
    """Open f, shut i, and an o that is shut in the first unit alone."""
    of = with_params(subject("lstm"), b=np.concatenate([np.full(H, -50), np.full(H, 50), np.zeros(H), [-50, 0, 0, 0]]))
    (seen,) = [panel.seen for panel in MEASURES["saturation"](of).panels if panel.picture == "saturated"]
    assert "i 100%, f 100%, g 0%, o 25%" in seen


def test_what_leaves_the_range_is_no_gate():
    wide = with_params(subject("ugrnn"))
    assert set(gate_values(wide.path)) == {"g", "c"}
    loud = with_params(subject("elman:activation=relu"), b=np.full(H, 5.0))
    assert MEASURES["bounds"](loud).numbers
    with pytest.raises(Exception, match="Elman has none"):
        MEASURES["saturation"](loud)


ENDS = {
    "lstm": {"g": (-1, 1)},
    "lstm-1997": {"g": (-2, 2)},
    "lstm-niaf": {},
    "gru": {"n": (-1, 1)},
    "lstm-layernorm": {"g": (-1, 1)},
}


@pytest.mark.parametrize("spec", ENDS)
def test_the_range_of_a_gate_is_the_cell_s_whatever_it_does_on_a_batch(spec):
    """Small weights leave every gate in the middle of its range, and no identity or ReLU is taken for a gate."""
    what = subject(spec)
    found = gate_values(with_params(what, **{n: w / 100 for n, w in what.layers["0."].params.items()}).path)
    sigmoids = {name: (0, 1) for name in found if name not in "gn"}
    assert {name: (gate.low, gate.high) for name, gate in found.items()} == sigmoids | ENDS[spec] and sigmoids
    for gate in found.values():
        assert not np.any(gate.left) and not np.any(gate.right)


def test_a_clipped_gate_is_stuck_where_it_is_clipped():
    gate = gate_values(with_params(subject("lstm:clip=2"), b=np.full(4 * H, 2.5)).path)["i"]
    assert (gate.low, gate.high) == pytest.approx((sigma(-2), sigma(2))) and np.all(gate.right > 0)


def test_how_numbers_are_said():
    texts = {log(2) / 3: "halves every 3 steps", inf: "is gone after one step"}
    texts |= {-log(2) / 5: "doubles every 5 steps"}
    assert all(falls(Decay(rate, 0, 9)) == text for rate, text in texts.items())
    assert falls(Decay(0.0, 0, 9)) == "neither falls nor grows"
    assert falls(Decay(nan, 0, 9)) == "is there at one lag at the most"
    assert ranked({f"W{k}": Decay(nan, 0, 0) for k in range(9)}).endswith("W8 is there at one lag at the most.")
    assert said_exp(log(3)) == "3" and said_exp(-1000.0) == "exp(-1e+03)"
    assert said_exp(-inf) == "0" and said_exp(inf) == "inf"
    off = " (unevenly: off that by a factor of 3)"
    assert falls(Decay(log(2), 0, 30, log(3))) == "halves every step"  # a little, of a fall by 30 halves
    assert (
        falls(Decay(log(2), 0, 9, log(3))) == f"halves every step{off}" and falls(Decay(log(2), 0, 9, 0.1))[-1] == "p"
    )
    assert falls(Decay(-log(2), 0, 9, log(3))).endswith(off) and falls(Decay(0.0, 0, 9, log(3))).endswith(off)
    rates = {f"W{k}": Decay(log(2) / k, 0, 9) for k in range(1, 7)}
    assert ranked(rates) == (
        "With the lag, of 6 parts that of W6 halves every 6 steps, the longest, and that of W1 halves every step."
    )
    assert ranked({"W": rates["W2"]}) == "With the lag, the part of W halves every 2 steps."


def test_what_is_thinned():
    assert spread(1, 10, 3) == [1, 5, 9] and spread(0, 4, 9) == [0, 1, 2, 3] and spread(2, 9, 1) == [8]
    assert powers(12) == [1, 2, 4, 8, 12] and powers(1) == [1]
    assert np.array_equal(exp(np.array([0.0, -np.inf, 800.0, -800.0])), [1.0, np.nan, np.nan, np.nan], equal_nan=True)
    assert fitted(np.array([0.0, 4.0, 2.0, 1.0])).factor == pytest.approx(0.5)
    assert fitted(np.array([4.0, 2.0, np.nan, 9.0])).last == 1 and np.isnan(fitted(np.array([1.0])).rate)
    assert np.isnan(fitted(np.zeros(4)).rate)
