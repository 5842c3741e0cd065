"""Subjects of the flow: fresh cells on one batch, runs from their folders, and their gradient on every backend."""

from __future__ import annotations

from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
from helpers import refusal, relative_error, tolerance
from rnnbp_mgu import MGU
from rnnbp_numpy import NumpyBackend
from rnnbp_recent.mingru import mingru
from rnnbp_recent.minlstm import minlstm
from rnnbp_recent.slstm import SLSTM

from rnnbp.flow import subjects
from rnnbp.flow.agreement import batch_gradient, parts_apart
from rnnbp.flow.fresh import fresh_subjects
from rnnbp.flow.measures.gradient import measure
from rnnbp.flow.stacked import Stacked
from rnnbp.losses import CrossEntropy, MeanSquaredError
from rnnbp.model import Model
from rnnbp.penalties import ActivationPenalty
from rnnbp.runs import read_checkpoint, write_checkpoint
from rnnbp.stacking import Stack, stack
from rnnbp.training import Config, train
from rnnbp.training.trained import run_subject

SMALL = {"time_steps": 6, "batch": 3, "input_size": 4, "hidden_size": 5}
TEXT = "the cat sat on the mat, the dog sat on the log. " * 20
EXACT = 1e-13  # of sums, relative


def one(cell="lstm", **problem):
    return fresh_subjects([cell], **(SMALL | problem))[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run on text, with clipping and penalties and zoneout and two residual layers, and one on a task."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text(TEXT)
    sizes = {"hidden": 6, "batch": 3, "time_steps": 5, "steps": 4, "save_every": 2}
    cell = "lstm/zoneout:rate=0.25"
    extras = {"clip_step": 0.5, "ar": 0.1, "l2": 0.1, "truncation": "tbptt:1,2", "layers": 2, "residual": True}
    train(Config(files=(folder / "text.txt",), cell=cell, **sizes, **extras), folder / "text")
    train(Config(task="adding", cell="gru", **sizes), folder / "task")
    return folder


def test_cells_and_schemes_side_by_side():
    found = fresh_subjects(["lstm", "gru"], [None, "orthogonal,b=0.5"], seed=3, **SMALL)
    assert [s.label for s in found] == [
        "lstm, as it draws",
        "lstm, orthogonal,b=0.5",
        "gru, as it draws",
        "gru, orthogonal,b=0.5",
    ]
    for s in found:
        assert np.array_equal(s.xs, found[0].xs) and np.array_equal(s.targets, found[0].targets)
        assert s.xs.shape == (6, 3, 4) and s.about == "noise, T = 6, B = 3, I = 4, H = 5"
    drawn = found[0].model.init(np.random.default_rng(3))
    assert all(np.array_equal(found[0].params[n], w) for n, w in drawn.items())
    u = found[1].params["0.U"][:, :5]
    assert relative_error(u.T @ u, np.eye(5)) < tolerance() and np.all(found[1].params["0.b"] == 0.5)
    assert not np.array_equal(fresh_subjects(["lstm"], seed=4, **SMALL)[0].xs, found[0].xs)


def test_sizes_are_those_asked_for_or_those_of_the_data(tmp_path):
    assert one(layers=3).about.endswith("3 layers")
    (bare,) = fresh_subjects(["rnn"])
    assert bare.xs.shape == (64, 2, 32) and bare.label == "rnn"
    (task,) = fresh_subjects(["rnn"], task="adding")
    assert task.xs.shape == (100, 2, 2) and task.source == "task adding" and task.dys[:-1].any() == False  # noqa: E712
    (single,) = fresh_subjects(["rnn"], task="four-steps")  # which has one sequence
    assert single.xs.shape[:2] == (4, 1)
    (tmp_path / "text.txt").write_text(TEXT)
    (text,) = fresh_subjects(["rnn"], files=(str(tmp_path / "text.txt"),), time_steps=7)
    assert text.xs.shape == (7, 2) and text.source == "text" and text.path.xs.shape == (7, 2, len(set(TEXT)))


def test_chance_is_at_its_mean():
    s = one("gru/zoneout:rate=0.25", layers=2)
    assert set(s.data) == {"0.zoneout_h", "1.zoneout_h"} and all(np.all(d == 0.25) for d in s.data.values())


@pytest.mark.parametrize("layers", [1, 2])
def test_what_the_stack_gives_is_what_the_model_reads(layers):
    s = one("lstm/learned-start", layers=layers)
    params = {n: w + 0.1 for n, w in s.params.items()}
    s0 = tuple(cell.random_state(np.random.default_rng(0), 3) for _, cell in s.model.stack.cells)
    for subject in (replace(s, params=params), replace(s, params=params, s0=s0)):
        logits, _ = s.model.run(params, s.xs, subject.s0)
        assert relative_error(subject.ys @ params["readout.W"] + params["readout.b"], logits) < tolerance()
    assert isinstance(s.path.cell, Stacked) == (layers > 1)
    assert list(s.layers) == [f"{k}." for k in range(layers)]
    for prefix, path in s.layers.items():
        assert np.array_equal(path.params["U"], s.params[f"{prefix}U"])


def test_errors_of_the_outputs_are_those_of_the_loss():
    """Against differences of the loss, as the model computes it, under a shift of all outputs at one step."""
    s = one()
    step, shift = 1e-6, np.random.default_rng(1).standard_normal((3, 5))
    w, b = s.params["readout.W"], s.params["readout.b"]

    def loss(moved):
        return float(s.model.loss(moved @ w + b, s.targets)[0])

    for t in (0, 5):
        d = np.zeros_like(s.ys)
        d[t] = step * shift
        slope = (loss(s.ys + d) - loss(s.ys - d)) / (2 * step)
        assert np.sum(s.dys[t] * shift) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "cell", ["lstm:peepholes=true", "gru:reset=before", "rhn", "lstm/zoneout/learned-start", "rnn"]
)
def test_the_parts_add_up_to_the_gradient(cell, layers):
    s = one(cell, layers=layers)
    found = measure(s).numbers
    assert list(found) == list(s.path.params) and max(found.values()) < EXACT


@pytest.mark.parametrize("plugin", [MGU, SLSTM, mingru, minlstm])
def test_plugins_flow_like_any_cell(plugin):
    layers, rng = Stack(((plugin(4, 5),), (plugin(5, 5),))), np.random.default_rng(0)
    model = Model(layers, 3, MeanSquaredError())
    xs, targets = rng.standard_normal((6, 3, 4)), rng.standard_normal((6, 3, 3))
    assert max(parts_apart(subjects.Subject("plugged", model, model.init(rng), xs, targets, "noise")).values()) < EXACT


def test_the_parts_are_those_of_every_backend(backend):
    s = replace(one("gru/zoneout", layers=2), on=backend)
    found = measure(s)
    assert max(found.numbers.values()) < EXACT and f"dL/dW by {backend.name} in float64:" in found.notes[0]


def test_it_is_that_backend_which_computes():
    placed = []

    class Watched(NumpyBackend):
        def asarray(self, x, dtype=None):
            placed.append(dtype)
            return super().asarray(x, dtype)

    parts_apart(replace(one(), on=Watched(), dtype="float32"))
    assert set(placed) == {"float32"} and len(placed) == 7  # parameters, inputs, targets


def test_single_precision_is_seen():
    s = replace(one(), dtype="float32")
    assert 1e-9 < max(parts_apart(s).values()) < 1e-5
    assert "in float32" in measure(s).notes[0]


def test_a_wrong_part_is_seen():
    s = one()
    found = s.by_lag
    s.__dict__["by_lag"] = replace(found, gradient={n: 1.001 * d for n, d in found.gradient.items()})
    assert min(parts_apart(s).values()) == pytest.approx(1e-3, rel=1e-6)
    s.__dict__["by_lag"] = replace(found, gradient={n: 0 * d for n, d in found.gradient.items()})
    assert set(parts_apart(s).values()) == {1.0}


def test_a_gradient_of_zero_has_parts_of_zero():
    s = one()
    s = replace(s, params=s.params | {"readout.W": 0 * s.params["readout.W"]})
    assert set(parts_apart(s).values()) == {0.0}
    s.__dict__["by_lag"] = one().by_lag
    assert set(parts_apart(s).values()) == {np.inf}


@pytest.mark.parametrize("cell", ["lstm", "rhn"])
def test_errors_that_are_followed_for_some_steps_are_held_to_truncation(monkeypatch, cell):
    monkeypatch.setattr(subjects, "KEPT", 1500)
    s = one(cell, layers=2)
    assert 0 < s.by_lag.lags < 5
    assert max(parts_apart(s).values()) < EXACT
    assert f"through {s.by_lag.lags + 1} of 6 steps" in measure(s).notes[0]
    whole = batch_gradient(s)
    assert (
        relative_error(
            s.by_lag.gradient["0.U" if cell == "lstm" else "0.U1"], whole["0.U" if cell == "lstm" else "0.U1"]
        )
        > 1e-3
    )


def test_penalties_are_no_part_of_the_flow():
    s = one()
    with_penalty = replace(s.model, penalty=ActivationPenalty(alpha=0.1))
    assert "the loss alone" in refusal(lambda: replace(s, model=with_penalty))


def test_an_embedding_and_a_start_from_carried_states():
    rng = np.random.default_rng(0)
    model = Model(stack("lstm", 4, 5, layers=2), 7, CrossEntropy(), "embedding", 7)
    ids, targets = rng.integers(0, 7, (6, 3)), rng.integers(0, 7, (6, 3))
    s0 = tuple(cell.random_state(rng, 3) for _, cell in model.stack.cells)
    s = subjects.Subject("embedded", model, model.init(rng), ids, targets, "noise", s0=s0)
    assert max(parts_apart(s).values()) < EXACT
    s.__dict__["by_lag"] = replace(s, s0=None).by_lag
    assert max(parts_apart(s).values()) > 1e-3


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_is_its_weights_on_its_validation_data(runs):
    s = run_subject(runs / "text", "last")
    assert s.label == "text" and s.source == "text of the run, validation; step 4"
    assert s.xs.shape == s.targets.shape == (5, 2) and np.array_equal(s.xs[1:], s.targets[:-1])
    held = TEXT[len(TEXT) - round(len(TEXT) * 0.1) :]
    assert "".join(sorted(set(TEXT))[k] for k in s.xs[:, 0]) == held[:5]
    kept = read_checkpoint(runs / "text" / "last.safetensors").arrays
    assert all(np.array_equal(w, kept[f"params/{n}"]) and w.dtype == np.float64 for n, w in s.params.items())
    assert [row["step"] for row in s.rows] == [0, 2, 4] and s.config["layers"] == 2 and s.samples == ()
    assert all(np.all(d == 0.25) for d in s.data.values()) and len(s.data) == 4


def test_the_loss_alone_goes_back_all_the_way(runs):
    """Without the clipping, penalties and windows of the run."""
    s = run_subject(runs / "text")
    assert s.model.penalty is None and not s.path.cell.inexact and s.model.stack.residual == (1,)
    assert max(parts_apart(s).values()) < EXACT


def test_a_checkpoint_is_chosen(tmp_path):
    train(Config(task="adding", hidden=4, batch=2, time_steps=6, steps=1, lr=1e3), tmp_path / "worse")
    best, last = (run_subject(tmp_path / "worse", name) for name in ("best", "last"))
    assert best.source.endswith("step 0") and last.source.endswith("step 1")
    assert not np.array_equal(best.params["0.U"], last.params["0.U"])
    assert "'first'" in refusal(lambda: run_subject(tmp_path / "worse", "first"))


def test_a_run_on_another_text(runs, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("sat the dog on the cat")
    s = run_subject(runs / "text", files=(other,), time_steps=4, batch=2)
    known = sorted(set(TEXT))
    assert ["".join(known[k] for k in s.xs[:, b]) for b in (0, 1)] == ["sat ", "g on"]
    assert s.source.startswith("text other.txt; step")
    assert run_subject(runs / "text", files=(other,)).xs.shape == (5, 2)
    assert "one character more, 31; got 22" in refusal(lambda: run_subject(runs / "text", files=(other,), batch=6))
    other.write_text("a quick zebra")
    assert "characters that the run has seen; got 'b'" in refusal(lambda: run_subject(runs / "text", files=(other,)))
    assert "learnt task adding" in refusal(lambda: run_subject(runs / "task", files=(other,)))


def test_a_run_on_a_task(runs):
    s = run_subject(runs / "task", batch=4, time_steps=8)
    assert s.xs.shape == (8, 4, 2) and s.source == "task adding, validation; step 4"
    assert isinstance(s.model.loss, MeanSquaredError) and max(parts_apart(s).values()) < EXACT


def test_a_run_on_a_single_sequence(tmp_path):
    train(Config(task="four-steps", hidden=3, steps=1), tmp_path / "run")
    assert run_subject(tmp_path / "run").xs.shape[:2] == (4, 1)


def test_what_a_run_refuses(runs, tmp_path):
    assert "no checkpoint at" in refusal(lambda: run_subject(tmp_path))
    assert "must hold 50 sequences of 5 steps" in refusal(lambda: run_subject(runs / "text", batch=50))
    assert "at least 1; got 0" in refusal(lambda: run_subject(runs / "text", time_steps=0))


def test_a_checkpoint_that_is_not_there_or_not_finite(runs, tmp_path):
    run = copytree(runs / "task", tmp_path / "run")
    (run / "best.safetensors").unlink()
    assert "has no best.safetensors: say --checkpoint last" in refusal(lambda: run_subject(run))
    found = read_checkpoint(run / "last.safetensors")
    found.arrays["params/0.U"][0, 0] = np.nan
    write_checkpoint(run / "last.safetensors", found)
    why = refusal(lambda: run_subject(run, "last"))
    assert "must be finite; 0.U of" in why and "last.safetensors is not" in why


def test_data_that_have_changed_are_refused(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    train(Config(files=(tmp_path / "text.txt",), hidden=4, batch=2, time_steps=5, steps=1), tmp_path / "run")
    (tmp_path / "text.txt").write_text(TEXT.replace("cat", "hat"))
    assert "name a text with --text" in refusal(lambda: run_subject(tmp_path / "run"))
    assert run_subject(tmp_path / "run", files=(tmp_path / "text.txt",)).xs.shape == (5, 2)
