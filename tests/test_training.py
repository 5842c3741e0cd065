"""The training loop: it learns, it stops where it should, and it goes on to the bit."""

import json

import numpy as np
import pytest

from rnnbp import UserError
from rnnbp.runs import read_checkpoint, read_rows, write_checkpoint
from rnnbp.training import Config, Diverged, resume, sample, train

TEXT = "the cat sat on the mat, the dog sat on the log. " * 40
SMALL = {"hidden": 8, "time_steps": 6, "batch": 3, "steps": 12, "save_every": 4, "dtype": "float64"}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


def same(one, two):
    """Two checkpoints hold the same bits."""
    a, b = (read_checkpoint(folder / "last.safetensors") for folder in (one, two))
    assert a.arrays.keys() == b.arrays.keys()
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    ignored = {"config", "tally"}
    assert {k: v for k, v in a.meta.items() if k not in ignored} == {
        k: v for k, v in b.meta.items() if k not in ignored
    }
    rows = [[{**row, "tokens_per_second": None} for row in read_rows(folder)] for folder in (one, two)]
    assert rows[0] == rows[1]


def test_it_learns_a_text(text, tmp_path):
    config = Config((text,), **SMALL | {"steps": 300, "save_every": 100, "lr": 0.02, "hidden": 24})
    train(config, tmp_path / "run")
    losses = [row["valid_loss"] for row in read_rows(tmp_path / "run")]
    assert losses[-1] < 0.35 * losses[0]
    written = "".join(sample(tmp_path / "run", "the ", 40, temperature=0.0))
    assert set(written.split()) & {"cat", "dog", "sat", "mat,", "log."}


@pytest.mark.parametrize(("task", "below"), [("four-steps", 0.05), ("adding", 0.05)])
def test_it_learns_a_task(tmp_path, task, below):
    steps = {"time_steps": 8, "batch": 20} if task == "adding" else {}
    config = Config(task=task, hidden=12, lr=0.02, steps=300, save_every=100, **steps)
    assert train(config, tmp_path / "run").best < below


@pytest.mark.parametrize("cell", ["lstm", "gru:reset=before", "elman"])
@pytest.mark.parametrize(
    "options", [{}, {"layers": 2, "truncation": "tbptt:2,4", "clip_norm": 0.1, "clip_value": 0.01}]
)
def test_resume_is_bit_identical(text, tmp_path, cell, options):
    config = Config((text,), cell=cell, **SMALL, **options)
    train(config, tmp_path / "whole")
    asked = iter(range(100))
    train(config, tmp_path / "parts", stop=lambda: next(asked) >= 6)
    assert read_checkpoint(tmp_path / "parts" / "last.safetensors").meta["step"] == 6
    resume(tmp_path / "parts")
    same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("task", ["adding:", "copy:length=2,symbols=3"])
@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.9", "rmsprop", "adamw:weight_decay=0.1"])
def test_resume_of_a_task_is_bit_identical(tmp_path, task, optimizer):
    config = Config(task=task.rstrip(":"), optimizer=optimizer, **SMALL)
    train(config, tmp_path / "whole")
    asked = iter(range(100))
    train(config, tmp_path / "parts", stop=lambda: next(asked) >= 5)
    resume(tmp_path / "parts")
    same(tmp_path / "whole", tmp_path / "parts")


def test_steps_may_grow(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "whole")
    train(Config((text,), **SMALL | {"steps": 8}), tmp_path / "parts")
    resume(tmp_path / "parts", {"steps": 12})
    same(tmp_path / "whole", tmp_path / "parts")


def test_the_last_checkpoint_alone_is_enough(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "whole")
    train(Config((text,), **SMALL | {"steps": 8}), tmp_path / "parts")
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "parts" / "last.safetensors").rename(alone / "last.safetensors")
    resume(alone, {"steps": 12})
    a, b = (read_checkpoint(folder / "last.safetensors").arrays for folder in (tmp_path / "whole", alone))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_every_backend_trains_alike(backend, text, tmp_path):
    config = SMALL | {"steps": 3, "save_every": 3}
    train(Config((text,), **config), tmp_path / "numpy")
    train(Config((text,), **config, backend=backend.name), tmp_path / "other")
    a, b = (read_checkpoint(tmp_path / name / "last.safetensors").arrays for name in ("numpy", "other"))
    for name in a:
        assert np.allclose(a[name], b[name], rtol=1e-9, atol=1e-12), name


def test_the_carried_state_matters(text, tmp_path):
    """The second window starts from where the first one ended, not from zero."""
    train(Config((text,), **SMALL | {"steps": 1, "save_every": 1}), tmp_path / "run")
    arrays = read_checkpoint(tmp_path / "run" / "last.safetensors").arrays
    assert arrays["state/0/0"].any() and arrays["state/0/1"].any()


def test_a_lost_loss_stops_and_keeps_the_last_good_checkpoint(text, tmp_path):
    config = Config((text,), cell="elman:activation=identity", optimizer="sgd", **SMALL | {"steps": 100}, lr=1e30)
    with pytest.raises(Diverged, match=r"at step \d+: the checkpoint of step 0 is kept; try a smaller --lr"):
        train(config, tmp_path / "run")
    for name in ("last.safetensors", "best.safetensors"):
        checkpoint = read_checkpoint(tmp_path / "run" / name)
        assert checkpoint.meta["step"] == 0
        assert all(np.isfinite(a).all() for a in checkpoint.arrays.values())


def test_clipping_is_counted(text, tmp_path):
    train(Config((text,), **SMALL, clip_norm=1e-6), tmp_path / "always")
    train(Config((text,), **SMALL, clip_norm=1e6), tmp_path / "never")
    assert {row["clipped"] for row in read_rows(tmp_path / "always")} == {None, 1.0}
    assert {row["clipped"] for row in read_rows(tmp_path / "never")} == {None, 0.0}


def test_changed_data_are_refused(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "run")
    with open(text, "a") as file:
        file.write("!")
    with pytest.raises(UserError, match="the data have changed since the run began"):
        resume(tmp_path / "run")


def test_checkpoints_that_do_not_fit_are_refused(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    good = read_checkpoint(path)

    def broken(arrays=None, **config):
        meta = json.loads(json.dumps(dict(good.meta)))
        meta["config"].update(config)
        write_checkpoint(path, type(good)(arrays or good.arrays, meta))
        with pytest.raises(UserError) as caught:
            resume(tmp_path / "run")
        return str(caught.value)

    assert "unknown cell 'peephole-rnn'" in broken(cell="peephole-rnn")
    assert "params/0.W of the checkpoint must have shape" in broken(cell="gru")
    assert "params/0.W of the checkpoint must have shape (15, 36) for cell lstm; got (15, 32)" in broken(hidden=9)
    assert "holds parameter 0.b, which cell lstm:bias=false does not have" in broken(cell="lstm:bias=false")
    assert "lacks params/1.W, which cell lstm needs" in broken(layers=2)
    assert "lacks moments/step" in broken({n: a for n, a in good.arrays.items() if n != "moments/step"})


def test_metadata_that_lack_something_are_refused(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "run")
    path = tmp_path / "run" / "last.safetensors"
    good = read_checkpoint(path)
    for name in ("config", "data", "step", "cursor", "best", "tally", "path"):
        write_checkpoint(path, type(good)(good.arrays, {k: v for k, v in good.meta.items() if k != name}))
        with pytest.raises(UserError, match=f"the checkpoint lacks {name}, which every run writes"):
            resume(tmp_path / "run")
    for window in (10**6, -1, "first"):
        write_checkpoint(path, type(good)(good.arrays, {**good.meta, "cursor": {"window": window}}))
        with pytest.raises(UserError, match="a cursor must name one of the text's"):
            resume(tmp_path / "run", {"steps": 20})


def test_a_text_that_moved_can_be_named_anew(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "whole")
    train(Config((text,), **SMALL | {"steps": 8}), tmp_path / "parts")
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    with pytest.raises(UserError, match="text file not found"):
        resume(tmp_path / "parts", {"steps": 12})
    resume(tmp_path / "parts", {"steps": 12, "files": (str(tmp_path / "moved.txt"),)})
    same(tmp_path / "whole", tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / "config.json").read_text())["steps"] == 12


def test_conflicts_with_the_run_are_refused(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "run")
    with pytest.raises(UserError, match="--hidden 9 conflicts with the run's 8"):
        resume(tmp_path / "run", {"hidden": 9})
    with pytest.raises(UserError, match="--steps must be at least 12, where the run stands; got 5"):
        resume(tmp_path / "run", {"steps": 5})
    resume(tmp_path / "run", {"hidden": 8})


def test_sampling(text, tmp_path):
    train(Config((text,), **SMALL), tmp_path / "run")
    one, two = ("".join(sample(tmp_path / "run", "the", 30, seed=3)) for _ in range(2))
    assert one == two and len(one) == 30 and set(one) <= set(TEXT)
    assert one != "".join(sample(tmp_path / "run", "the", 30, seed=4))
    for arguments, message in [
        (("€",), "only characters that the run has seen; got '€'"),
        (("", 0), "--length must be at least 1; got 0"),
        (("", 5, -1.0), "--temperature must be a number >= 0; got -1.0"),
    ]:
        with pytest.raises(UserError, match=message):
            sample(tmp_path / "run", *arguments)
    train(Config(task="four-steps", steps=1, hidden=3), tmp_path / "task")
    with pytest.raises(UserError, match="learnt task four-steps, not text"):
        sample(tmp_path / "task")


def test_a_sample_of_one_step_at_a_time_equals_the_whole(text, tmp_path):
    """Temperature 0 gives what the model, run over the text so far, finds likeliest."""
    from rnnbp.training.setup import set_up
    from rnnbp.training.state import from_checkpoint

    train(Config((text,), **SMALL), tmp_path / "run")
    setup = set_up(Config((text,), **SMALL))
    state = from_checkpoint(setup, read_checkpoint(tmp_path / "run" / "best.safetensors"))
    known = setup.source.vocabulary
    written = "the"
    for _ in range(10):
        logits, _ = setup.model.run(state.params, np.asarray([[known.index(c)] for c in written]))
        written += known[int(np.argmax(logits[-1, 0]))]
    assert "the" + "".join(sample(tmp_path / "run", "the", 10, 0.0)) == written
