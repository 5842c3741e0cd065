"""Curvature, and the measurements of training runs, against dense Hessians, differences and means written out."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from flow_subjects import B, T, line, numbers, subject
from helpers import refusal

from rnnbp.around.clipping import clipped
from rnnbp.flow.measures import MEASURES, PICTURES, curvature


def flat(named):
    return np.concatenate([np.ravel(d) for d in named.values()])


def dense_hessian(what):
    """By central differences of the model's gradient, and the gradient."""
    sizes, step = np.cumsum([w.size for w in what.params.values()])[:-1], 1e-5

    def gradient(theta):
        parts = np.split(theta, sizes)
        params = {name: part.reshape(w.shape) for (name, w), part in zip(what.params.items(), parts, strict=True)}
        return flat(what.model(params, what.xs, what.targets)[2]()[0])

    theta = flat(what.params)
    made = np.array([(gradient(theta + e) - gradient(theta - e)) / 2 / step for e in step * np.eye(theta.size)])
    return (made + made.T) / 2, gradient(theta)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_curvature_is_that_of_the_dense_hessian(cell, monkeypatch):
    monkeypatch.setattr(curvature, "TOLERANCE", 1e-8)
    what = subject(cell, hidden=2)
    hessian, g = dense_hessian(what)
    every = np.linalg.eigvalsh(hessian)
    wanted = every[np.argsort(-abs(every))][:3]
    found = numbers("curvature", what)
    assert found["along the gradient"] == pytest.approx(g @ hessian @ g / (g @ g), abs=1e-7)
    assert found["largest"] == pytest.approx(wanted[0], abs=1e-7) and found["error"] < 1e-6
    assert found["largest step"] == pytest.approx(2 / every[-1], rel=1e-6)
    (panel,) = MEASURES["curvature"](what).panels
    assert f"of largest size is {found['largest']:.3g} ± {found['error']:.3g}, and" in panel.seen
    assert line("curvature", what, "curvature", "eigenvalues")[1] == pytest.approx(wanted, abs=1e-7)


def test_curvature_of_a_large_network_is_that_along_the_gradient(monkeypatch):
    what = subject("gru")
    both = numbers("curvature", what)
    monkeypatch.setattr(curvature, "WORK", 0)
    found = MEASURES["curvature"](what)
    assert found.numbers == {"along the gradient": both["along the gradient"]} and "too long" in found.notes[0]


def test_eigenvalues_that_have_not_settled_say_so(monkeypatch):
    what = subject("gru")
    (settled,) = MEASURES["curvature"](what).notes
    monkeypatch.setattr(curvature, "TOLERANCE", 1e-8)
    monkeypatch.setattr(curvature, "WORK", 5 * T * B * sum(w.size for w in what.params.values()))
    (cut,) = MEASURES["curvature"](what).notes
    assert "not settled" in cut and "from 5 Hessian" in cut and "not settled" not in settled


def test_where_the_first_eigenvalues_are_negative_the_largest_one_bounds_the_step(monkeypatch):
    kept, what = curvature.hessian_eigenvalues, subject("rnn", hidden=2)

    def turned(gradient, point, k, which="magnitude", **options):
        found = kept(gradient, point, k, which, **options)
        return found if which == "largest" else replace(found, values=-np.abs(found.values))

    monkeypatch.setattr(curvature, "hessian_eigenvalues", turned)
    largest = np.linalg.eigvalsh(dense_hessian(what)[0])[-1]
    assert numbers("curvature", what)["largest step"] == pytest.approx(2 / largest, rel=1e-3)


def test_without_positive_curvature_every_step_is_stable(monkeypatch):
    kept = curvature.hessian_eigenvalues

    def turned(*given, **options):
        found = kept(*given, **options)
        return replace(found, values=-np.abs(found.values))

    monkeypatch.setattr(curvature, "hessian_eigenvalues", turned)
    assert numbers("curvature", subject("rnn"))["largest step"] == inf


def test_curvature_needs_the_gradient_of_a_function():
    model = subject("rnn").model
    cut = replace(model, stack=model.stack.of_cells(lambda cell: clipped(cell, 0.1)))
    assert "whose gradient is known" in refusal(lambda: MEASURES["curvature"](replace(subject("rnn"), model=cut)))


ROWS = (
    {"step": 0, "valid_loss": 4.0},
    {"step": 10, "train_loss": 3.0, "valid_loss": 3.5, "grad_norm": 2.0, "clip_norm": 1.0, "norm_ratio": 0.5}
    | {"cosine": 1.0, "cosine_min": 0.9, "clip_value": None},
    {"step": 40, "train_loss": 2.0, "valid_loss": 2.5, "grad_norm": 1.0, "clip_norm": 0.2, "norm_ratio": 0.9}
    | {"cosine": 0.8, "cosine_min": 0.7, "clip_value": None},
)


def test_clipping_over_a_run():
    """A row counts as many steps as it sums up: 10 and 30."""
    what = replace(subject("rnn"), rows=ROWS, config={"clip_norm": 0.5})
    wanted = {"clipped by norm": 0.4, "‖g'‖ / ‖g‖": 0.8, "cosine": 0.85, "smallest cosine": 0.7}
    assert numbers("clipping", what) == pytest.approx(wanted)
    x, y = line("clipping", what, "clipped", "by norm")
    assert list(x) == [10, 40] and list(y) == [1.0, 0.2]
    assert list(line("clipping", what, "gradient norm", "limit of the norm")[1]) == [0.5, 0.5]
    assert list(line("clipping", what, "after clipping", "smallest cosine")[1]) == [0.9, 0.7]


def test_clipping_on_the_way_back():
    """What is known of the last step of a row stands for all of its steps."""
    rows = (
        {"step": 10, "clip_step": 1.0, "norm_ratio_step": 0.4, "cosine_step": 0.6},
        {"step": 40, "clip_step": 0.0, "norm_ratio_step": 1.0, "cosine_step": None},
    )
    what = replace(subject("rnn"), rows=rows, config={"clip_step": 0.5})
    wanted = {"clipped on the way back": 0.25, "‖g'‖ / ‖g‖ on the way back": 0.85, "cosine on the way back": 0.6}
    assert numbers("clipping", what) == pytest.approx(wanted)
    assert "last step of each row alone" in MEASURES["clipping"](what).notes[0]
    assert not MEASURES["clipping"](replace(what, rows=ROWS)).notes


def test_clipping_of_an_earlier_version_lacks_how_much():
    rows = tuple({name: x for name, x in row.items() if name not in ("norm_ratio", "cosine")} for row in ROWS)
    found = MEASURES["clipping"](replace(subject("rnn"), rows=rows))
    assert list(found.numbers) == ["clipped by norm", "smallest cosine"]
    assert [panel.picture for panel in found.panels] == ["clipped", "gradient norm"]
    assert [one.label for one in found.panels[1].lines] == ["before clipping"]


def test_what_is_no_run_or_clips_nothing_is_refused():
    assert "no run" in refusal(lambda: MEASURES["clipping"](subject("rnn")))
    assert "no run" in refusal(lambda: MEASURES["clipping"](replace(subject("rnn"), rows=ROWS[:1])))
    rows = tuple({"step": row["step"], "valid_loss": 1.0} for row in ROWS)
    assert "--clip-norm" in refusal(lambda: MEASURES["clipping"](replace(subject("rnn"), rows=rows)))
    assert "--flow every=100" in refusal(lambda: MEASURES["training"](subject("rnn")))


def test_what_was_recorded_over_training():
    samples = (
        {"step": 0, "lags.half-life": 3.0, "saturation.f left": 0.1, "lags.kept": None},
        {"step": 20, "lags.half-life": None, "saturation.f left": 0.2, "lags.kept": None},
        {"step": 40, "lags.half-life": 7.0, "saturation.f left": 0.4, "lags.kept": None},
    )
    what = replace(subject("rnn"), rows=ROWS, samples=samples)
    found = MEASURES["training"](what)
    assert found.numbers == {"samples": 3.0}
    assert [panel.picture for panel in found.panels] == ["loss", "lags over training", "saturation over training"]
    x, y = line("training", what, "lags over training", "half-life", "half-life, steps")
    assert list(x) == [0, 20, 40] and np.array_equal(y, [3.0, np.nan, 7.0], equal_nan=True)
    assert [one.label for one in found.panels[1].lines] == ["half-life"]  # nothing was recorded of the other
    assert "from 3 to 7 between steps 0 and 40" in found.panels[1].seen
    assert "validation loss goes from 4 to 2.5 in 40 steps" in found.panels[0].seen
    assert np.array_equal(line("training", what, "loss", "training")[1], [np.nan, 3.0, 2.0], equal_nan=True)


def test_what_is_counted_in_other_units_has_a_panel_and_a_scale_of_its_own():
    row = {
        "step": 0,
        "states.half-life": 3.0,
        "states.|0.c|": 0.1,
        "states.|1.c|": 0.2,
        "states.log10 error left": -4.0,
    }
    samples = (row, {name: 2 * x for name, x in row.items()})
    panels = MEASURES["training"](replace(subject("rnn"), samples=samples)).panels
    assert {panel.part: [one.label for one in panel.lines] for panel in panels} == {
        "half-life, steps": ["half-life"],
        "mean size": ["|0.c|", "|1.c|"],
        "log10 of the share": ["log10 error left"],
    }
    assert PICTURES["states over training"].own_scale and not PICTURES["terms"].own_scale


def test_what_stands_still_and_what_is_infinite_is_said():
    samples = tuple(
        {"step": k, "lags.half-life": y, "saturation.f left": 0.1} for k, y in ((0, 3.0), (2, 7.0), (4, inf))
    )
    found = MEASURES["training"](replace(subject("rnn"), samples=(*samples, samples[-1] | {"step": 6})))
    assert found.notes == ("half-life of lags is infinite in 2 of 4 samples, which no line shows.",)
    assert "from 3 to 7 between steps 0 and 2" in found.panels[0].seen
    assert found.panels[1].seen == "Nothing changes between steps 0 and 6; f left is 0.1."
    alone = MEASURES["training"](replace(subject("rnn"), samples=samples[1:2]))
    assert alone.panels[1].seen == "At step 2, where alone it is known, f left is 0.1."


def test_of_many_recorded_numbers_those_that_change_most():
    row = {"step": 1} | {f"saturation.g{k} left": 0.1 for k in range(11)}
    later = {f"saturation.g{k} left": 0.1 + k / 100 for k in (1, 4, 5, 6, 7, 8, 9, 10)} | {"step": 2}
    less = {f"saturation.g{k} left": 0.1 - k / 1e6 for k in (0, 2, 3)}
    found = MEASURES["training"](replace(subject("rnn"), samples=(row, row | later | less)))
    assert len(found.panels[0].lines) == 8 and found.notes == ("Of saturation the 8 of 11 numbers that change most.",)
    assert [one.label for one in found.panels[0].lines] == [f"g{k} left" for k in (1, 4, 5, 6, 7, 8, 9, 10)]
    assert "g10 left, goes from 0.1 to 0.2 between" in found.panels[0].seen
