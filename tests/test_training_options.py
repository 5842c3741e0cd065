"""Initialisation, penalties, weight decay and clipping in training: each does what it says, and goes on to the bit."""

import json

import numpy as np
import pytest

from rnnbp import UserError
from rnnbp.drawing import drawn
from rnnbp.optim import global_norm
from rnnbp.penalties import ActivationPenalty, l2
from rnnbp.runs import FIRST, read_checkpoint, read_rows, write_checkpoint
from rnnbp.training import Config, Diverged, resume, train
from rnnbp.training.clipping import clip, cosine, norm_ratio
from rnnbp.training.gradients import gradient
from rnnbp.training.setup import set_up
from rnnbp.training.state import begin

SMALL = {"task": "adding", "hidden": 6, "time_steps": 6, "batch": 4, "steps": 6, "save_every": 2, "dtype": "float64"}
EVERYTHING = {
    "init": "orthogonal,chrono:6",
    "l2": 0.01,
    "weight_decay": 0.1,
    "ar": 0.5,
    "tar": 0.5,
    "clip_step": 0.01,
    "clip_value": 0.01,
    "clip_tensor": 0.02,
    "clip_norm": 0.02,
}


def arrays(folder, name="last"):
    return read_checkpoint(folder / f"{name}.safetensors").arrays


def without_speed(folder):
    return [{**row, "tokens_per_second": None} for row in read_rows(folder)]


def one_step(tmp_path, **options):
    """The parameters before and after one update by plain gradient descent with rate 1."""
    config = Config(**SMALL | {"steps": 1, "optimizer": "sgd", "lr": 1.0} | options)
    train(config, tmp_path / "run", force=True)
    setup = set_up(config)
    after = {n.removeprefix("params/"): w for n, w in arrays(tmp_path / "run").items() if n.startswith("params/")}
    return setup, begin(setup), after


def raw(setup, state):
    """The gradient of the loss alone on the first batch, by the library's own parts."""
    batch, _ = setup.source.batch(state.cursor, setup.batch, setup.time_steps)
    return setup.model(state.params, batch.xs, batch.targets)[2]()[0]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_resume_is_bit_identical_with_everything_on(tmp_path, cell):
    config = Config(**SMALL | EVERYTHING, cell=cell, layers=2)
    train(config, tmp_path / "whole")
    asked = iter(range(100))
    train(config, tmp_path / "parts", stop=lambda: next(asked) >= 3)
    assert read_checkpoint(tmp_path / "parts" / "last.safetensors").meta["step"] == 3
    resume(tmp_path / "parts")
    one, two = arrays(tmp_path / "whole"), arrays(tmp_path / "parts")
    assert one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)
    assert without_speed(tmp_path / "whole") == without_speed(tmp_path / "parts")
    last = read_rows(tmp_path / "whole")[-1]
    assert last["clip_norm"] == last["clip_value"] == last["clip_tensor"] == last["clip_step"] == last["clipped"] == 1
    assert 0 < last["cosine_min"] <= last["cosine"] < 1 and 0 < last["cosine_step"] < 1 and last["penalty"] > 0


def test_the_scheme_draws_the_first_weights():
    setup = set_up(Config(**SMALL, init="U=orthogonal,b.f=2,readout.W=zeros"))
    first = begin(setup).params
    wanted = drawn(setup.model, "U=orthogonal,b.f=2,readout.W=zeros", np.random.default_rng(0))
    assert all(np.array_equal(first[n], wanted[n]) for n in wanted) and not first["readout.W"].any()


def test_l2_is_a_part_of_the_gradient(tmp_path):
    setup, start, after = one_step(tmp_path, l2=0.25)
    value, decay = l2(setup.model.params, start.params, 0.25)
    g = raw(setup, start)
    for name, w in start.params.items():
        wanted = w - g[name] - (0.25 * w if w.ndim > 1 else 0)
        assert np.allclose(after[name], wanted, rtol=1e-13, atol=1e-15), name
    assert set(decay()) == {n for n, w in start.params.items() if w.ndim > 1}
    (_, row) = read_rows(tmp_path / "run")
    assert np.isclose(row["penalty"], value, rtol=1e-14)


def test_weight_decay_is_apart_from_the_gradient(tmp_path):
    """Clipping to almost nothing leaves the decay as it is; it would shrink what L2 adds."""
    setup, start, after = one_step(tmp_path, weight_decay=0.25, clip_norm=1e-12)
    for name, w in start.params.items():
        assert np.allclose(after[name], 0.75 * w if w.ndim > 1 else w, rtol=1e-9, atol=1e-11), name
    assert setup.optimizer.weight_decay == 0.25 and read_rows(tmp_path / "run")[-1]["penalty"] == 0


def test_activation_penalties_are_apart_from_the_loss(tmp_path):
    setup, start, after = one_step(tmp_path, ar=2.0, tar=3.0)
    plain = set_up(Config(**SMALL))
    batch, _ = plain.source.batch(start.cursor, setup.batch, setup.time_steps)
    own = {n: start.params[n] for n in plain.model.stack.params}
    ys = plain.model.stack.run(own, batch.xs)[0]
    (before, row) = read_rows(tmp_path / "run")
    assert np.isclose(row["penalty"], ActivationPenalty(2.0, 3.0)(ys)[0], rtol=1e-14)
    assert np.isclose(row["train_loss"], plain.model(start.params, batch.xs, batch.targets)[0], rtol=1e-14)
    g = raw(setup, start)  # of the model with its penalty, which test_model checks by complex steps
    assert all(np.allclose(after[n], w - g[n], rtol=1e-13, atol=1e-15) for n, w in start.params.items())
    free = raw(plain, start)
    assert not np.allclose(g["0.U"], free["0.U"])
    train(Config(**SMALL | {"steps": 1}), tmp_path / "free")
    assert before["valid_loss"] == read_rows(tmp_path / "free")[0]["valid_loss"]


@pytest.mark.parametrize("name", ["value", "tensor", "norm"])
def test_telemetry_of_each_limit(tmp_path, name):
    for limit, share in ((1e-4, 1.0), (1e4, 0.0)):
        setup, start, _ = one_step(tmp_path, **{f"clip_{name}": limit})
        row = read_rows(tmp_path / "run")[-1]
        assert row[f"clip_{name}"] == row["clipped"] == share
        assert {n: row[f"clip_{n}"] for n in ("value", "tensor", "norm") if n != name} == dict.fromkeys(
            {"value", "tensor", "norm"} - {name}
        )
        g = raw(setup, start)
        assert np.isclose(row["grad_norm"], float(global_norm(g)), rtol=1e-12), "the norm is that before clipping"
        assert (row["cosine"] == row["cosine_min"] == 1.0) == (share == 0 or name == "norm")
        if share and name == "value":
            flat = np.concatenate([d.ravel() for d in g.values()])
            held = np.clip(flat, -limit, limit)
            wanted = flat @ held / np.linalg.norm(flat) / np.linalg.norm(held)
            assert np.isclose(row["cosine"], wanted, rtol=1e-12)
        flat, sizes = np.concatenate([d.ravel() for d in g.values()]), [np.linalg.norm(d) for d in g.values()]
        after = {"value": np.linalg.norm(np.clip(flat, -limit, limit)), "norm": min(limit, np.linalg.norm(flat))}
        after |= {"tensor": np.linalg.norm(np.minimum(sizes, limit))}
        assert np.isclose(row["norm_ratio"], after[name] / np.linalg.norm(flat), rtol=1e-12)


def test_clipping_at_every_step_is_measured_against_the_gradient_without(tmp_path):
    setup, start, after = one_step(tmp_path, clip_step=0.001)
    g = raw(setup, start)  # with clipping
    assert all(np.allclose(after[n], w - g[n], rtol=1e-13, atol=1e-15) for n, w in start.params.items())
    bare = raw(set_up(Config(**SMALL)), start)
    row = read_rows(tmp_path / "run")[-1]
    assert row["clip_step"] == 1 and np.isclose(row["cosine_step"], cosine(bare, g), rtol=1e-12)
    assert np.isclose(row["norm_ratio_step"], float(global_norm(g) / global_norm(bare)), rtol=1e-12)
    assert row["cosine_step"] < 0.999 and row["clipped"] == 0 and row["clip_norm"] is row["norm_ratio"] is None
    _, start, wide = one_step(tmp_path, clip_step=1e3)
    row = read_rows(tmp_path / "run")[-1]
    assert row["clip_step"] == 0 and row["cosine_step"] > 1 - 1e-12
    assert all(np.allclose(wide[n], w - bare[n], rtol=1e-12, atol=1e-14) for n, w in start.params.items())


def test_a_gradient_that_only_clipping_keeps_finite_has_no_cosine(tmp_path):
    """A linear network at zero with U = 1e60: after six steps back the plain error overflows; updates vanish."""
    unstable = {"cell": "elman:activation=identity", "init": "input=0,recurrent=identity:1e60"}
    unstable |= {"optimizer": "sgd", "lr": 1e-300}
    with pytest.raises(Diverged, match="the gradient's norm is"):
        train(Config(**SMALL | unstable | {"time_steps": 9, "steps": 1}), tmp_path / "plain")
    train(Config(**SMALL | unstable | {"time_steps": 9, "steps": 1}, clip_step=1e-90), tmp_path / "held")
    row = read_rows(tmp_path / "held")[-1]
    assert row["clip_step"] == 1 and row["cosine_step"] is row["norm_ratio_step"] is None
    assert np.isfinite(row["grad_norm"])


def test_clips_go_from_entries_over_tensors_to_all(backend):
    g = {"a": backend.asarray(np.asarray([3.0, -4.0])), "b": backend.asarray(np.asarray([[12.0]]))}
    after, fired, turned, left = clip(g, {"norm": 1.0, "value": 6.0, "tensor": 5.5})
    assert fired == {"value": True, "tensor": True, "norm": True}
    # value: b -> 6; tensor: b -> 5.5, a stays at 5; norm: all by 1/√(25 + 30.25)
    scale = 1 / np.sqrt(25 + 5.5**2)
    assert np.allclose(backend.to_numpy(after["a"]), [3 * scale, -4 * scale], rtol=1e-14)
    assert np.isclose(float(after["b"][0, 0]), 5.5 * scale, rtol=1e-14)
    assert np.isclose(turned, (25 + 12 * 5.5) / (13 * np.sqrt(25 + 5.5**2)), rtol=1e-14)
    assert np.isclose(left, 1 / 13, rtol=1e-14), "the norm was √(9 + 16 + 144), and is the limit of the last"
    assert clip(g, {"norm": 20.0, "value": 20.0})[3] == 1.0
    nothing = {n: 0 * d for n, d in g.items()}
    assert cosine(g, nothing) == 1.0 and norm_ratio(nothing, nothing) == 1.0 and norm_ratio(g, nothing) == 0.0


@pytest.mark.parametrize("options", [{}, {"clip_step": 0.01, "ar": 1.0, "tar": 1.0, "l2": 0.1}])
def test_every_backend_gives_the_same_gradient(backend, options):
    """The penalties are in the gradient on every backend; and what a run clips on the way back."""
    config = Config(**SMALL | options, backend=backend.name)
    setup, host = set_up(config), set_up(Config(**SMALL | options))
    start = begin(setup)
    batch, _ = setup.source.batch(start.cursor, setup.batch, setup.time_steps)
    found = gradient(setup, start.params, backend.asarray(batch.xs), backend.asarray(batch.targets), None)
    wanted = gradient(host, begin(host).params, batch.xs, batch.targets, None)
    assert np.isclose(found.loss, wanted.loss, rtol=1e-13) and np.isclose(found.penalty, wanted.penalty, rtol=1e-13)
    for name, g in wanted.gradients.items():
        assert np.allclose(backend.to_numpy(found.gradients[name]), g, rtol=1e-11, atol=1e-14), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "ortho"}, "unknown scheme of initialisation 'ortho'"),
        ({"l2": -1.0}, "--l2 must be a number >= 0; got -1.0"),
        ({"ar": float("nan")}, "--ar must be a number >= 0; got nan"),
        ({"tar": float("inf")}, "--tar must be a number >= 0; got inf"),
        ({"weight_decay": -0.1}, "--weight-decay must be a number >= 0; got -0.1"),
        ({"clip_tensor": 0.0}, "--clip-tensor must be a number above 0; got 0.0"),
        ({"clip_step": -1.0}, "--clip-step must be a number above 0; got -1.0"),
        (
            {"weight_decay": 0.1, "optimizer": "adamw:weight_decay=0.2"},
            "--weight-decay and --optimizer adamw:weight_decay=0.2 say the same: leave one of them out",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "b.q=1"}, "unknown parameter or gate to initialise 'b.q'"),
        ({"init": "chrono:9", "cell": "elman"}, "has none in its memory_gates"),
        ({"clip_step": 1.0, "cell": "gru:reset=before"}, "ResetBeforeGRU is none"),
    ],
)
def test_what_does_not_fit_the_cell_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(Config(**SMALL | options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_conflicts_with_the_run_are_refused(tmp_path):
    train(Config(**SMALL, l2=0.1), tmp_path / "run")
    for given in ({"l2": 0.2}, {"clip_step": 1.0}, {"init": "torch"}, {"weight_decay": 0.0}):
        has = "run's 0.1" if "l2" in given else "run, which has none"
        with pytest.raises(UserError, match=f"conflicts with the {has}: leave it out to resume"):
            resume(tmp_path / "run", given)
    resume(tmp_path / "run", {"l2": 0.1})


def as_before(folder):
    """A run as an earlier version left it: format 1, without what came later."""
    path = folder / "last.safetensors"
    found = read_checkpoint(path)
    meta = json.loads(json.dumps(dict(found.meta))) | {"format": 1}
    later = ("init", "l2", "weight_decay", "ar", "tar", "clip_step", "clip_tensor")
    meta["config"] = {name: value for name, value in meta["config"].items() if name not in later}
    first = ("steps", "loss", "grad_norm", "clipped", "seconds")
    meta["tally"] = {name: meta["tally"][name] for name in first}
    write_checkpoint(path, type(found)(found.arrays, meta))
    rows = [[repr(row[c]) if row[c] is not None else "" for c in FIRST] for row in read_rows(folder)]
    (folder / "metrics.csv").write_text("\n".join([",".join(FIRST), *map(",".join, rows)]) + "\n")


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    train(Config(**SMALL, clip_norm=0.01), tmp_path / "whole")
    train(Config(**SMALL | {"steps": 4}, clip_norm=0.01), tmp_path / "parts")
    as_before(tmp_path / "parts")
    resume(tmp_path / "parts", {"steps": 6})
    one, two = arrays(tmp_path / "whole"), arrays(tmp_path / "parts")
    assert all(np.array_equal(one[n], two[n]) for n in one)
    rows = read_rows(tmp_path / "parts")
    assert rows[-1] | {"tokens_per_second": None} == without_speed(tmp_path / "whole")[-1]
    assert rows[1]["penalty"] is None and rows[1]["clipped"] == 1.0


def test_the_mean_is_over_the_steps_of_a_row(tmp_path):
    """Two runs of one step each, and one of two steps in a row."""
    train(Config(**SMALL | {"steps": 2, "save_every": 1}, clip_norm=0.01), tmp_path / "each")
    train(Config(**SMALL | {"steps": 2}, clip_norm=0.01), tmp_path / "both")
    each = [row["norm_ratio"] for row in read_rows(tmp_path / "each")[1:]]
    assert each[0] != each[1] and np.isclose(read_rows(tmp_path / "both")[-1]["norm_ratio"], np.mean(each), rtol=1e-14)


def test_a_row_that_an_earlier_version_began_has_no_norm_ratio(tmp_path):
    """It did not count it; the next row has it again."""
    asked = iter(range(100))
    train(Config(**SMALL, clip_norm=0.01), tmp_path / "run", stop=lambda: next(asked) >= 3)
    path = tmp_path / "run" / "last.safetensors"
    found = read_checkpoint(path)
    tally = {name: value for name, value in found.meta["tally"].items() if name != "norm_ratio"}
    assert tally["steps"] == 1
    write_checkpoint(path, type(found)(found.arrays, {**found.meta, "tally": tally}))
    resume(tmp_path / "run")
    ratios = [row["norm_ratio"] for row in read_rows(tmp_path / "run")]
    assert ratios[0] is ratios[2] is None and 0 < ratios[1] < 1 and 0 < ratios[3] < 1


def test_a_run_that_decayed_biases_is_refused(tmp_path):
    train(Config(**SMALL, optimizer="adamw:weight_decay=0.1"), tmp_path / "run")
    as_before(tmp_path / "run")
    with pytest.raises(UserError, match="the run decayed biases, which this version does not: start it anew"):
        resume(tmp_path / "run")
