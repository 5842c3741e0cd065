"""Masks in training: drawn from the seed and the number of the update, and without chance in evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import refusal, relative_error
from rnnbp_cli import main

import rnnbp
from rnnbp.around.masks import in_evaluation, in_training
from rnnbp.runs import read_checkpoint
from rnnbp.training import Config, resume, sample, train
from rnnbp.training.loop import advance, evaluate
from rnnbp.training.masking import of_update
from rnnbp.training.setup import set_up
from rnnbp.training.state import begin

WORDS = {"task": "adding", "hidden": 6, "layers": 2, "steps": 6, "save_every": 3, "batch": 3, "time_steps": 8}
AROUND = {"cell": "lstm/zoneout:rate=0.2/recurrent-dropout:rate=0.3/learned-start", "residual": True, "dropout": 0.4}


def arrays(folder):
    return read_checkpoint(folder / "last.safetensors").arrays


@pytest.mark.parametrize("variational", [False, True])
def test_a_resumed_run_has_the_bits_of_one_that_went_through(tmp_path, variational):
    config = Config(**WORDS, **AROUND, variational=variational)
    train(config, tmp_path / "whole")
    asked = iter([False, False, False, True])
    train(config, tmp_path / "parts", stop=lambda: next(asked, True))
    resume(tmp_path / "parts")
    whole, parts = arrays(tmp_path / "whole"), arrays(tmp_path / "parts")
    assert any("start.h" in name for name in whole) and whole.keys() == parts.keys()
    assert all(np.array_equal(whole[n], parts[n]) for n in whole)


def test_every_update_has_masks_of_its_own_and_evaluation_has_none():
    setup = set_up(Config(**WORDS, **AROUND))
    one, again, two = (of_update(setup, n, 8, 3) for n in (1, 1, 2))
    assert all(np.array_equal(one[n], again[n]) for n in one) and any(np.any(one[n] != two[n]) for n in one)
    assert set(one) == {f"{k}.{n}" for k in (0, 1) for n in ("zoneout_h", "zoneout_c", "dropout_h")} | {
        "1.dropout",
        "2.dropout",
    }
    state = begin(setup)
    assert evaluate(setup, state) == evaluate(setup, state)
    means = in_evaluation(setup.model.stack, 8, 3)
    assert set(means) == {name for name in one if "." in name and not name.endswith(".dropout")}
    after, loss = advance(setup, state, 0)
    assert np.isfinite(loss) and any(np.any(after.params[n] != state.params[n]) for n in state.params)


def test_dropout_masks_have_the_rate_and_are_shared_by_the_steps_where_asked():
    cells = rnnbp.stack("gru", 4, 50, 2)
    for shared in (False, True):
        masks = in_training(cells, np.random.default_rng(0), 30, 20, 0.25, shared)
        assert list(masks) == ["1.dropout", "2.dropout"]
        for m in masks.values():
            assert m.shape == (30, 20, 50) and np.allclose(np.unique(m), [0, 1 / 0.75])
            assert abs(np.mean(m == 0) - 0.25) < (0.05 if shared else 0.02)
            assert np.all(m == m[:1]) == shared
    assert in_training(cells, np.random.default_rng(0), 30, 20) == {} == in_evaluation(cells, 30, 20)


def test_dropout_makes_another_loss_and_the_mean_of_many_is_near_that_without():
    """Inverted dropout keeps the mean of what the readout gets, a linear map after one layer."""
    cells = rnnbp.stack("gru", 4, 10)
    rng = np.random.default_rng(0)
    p, xs = cells.init(rng), rng.standard_normal((5, 3, 4))
    plain = cells.run(p, xs)[0]
    several = [cells.run(p, xs, data=in_training(cells, rng, 5, 3, 0.5))[0] for _ in range(2000)]
    assert relative_error(several[0], plain) > 0.1
    assert relative_error(np.mean(several, axis=0), plain) < 0.03


def test_text_is_sampled_without_masks(tmp_path):
    text = tmp_path / "text"
    text.write_text("to be or not to be " * 40)
    config = Config(files=(str(text),), hidden=8, steps=2, batch=2, time_steps=5, cell="gru/zoneout", dropout=0.5)
    train(config, tmp_path / "run")
    assert "".join(sample(tmp_path / "run", length=5)) == "".join(sample(tmp_path / "run", length=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "--dropout must be a number of at least 0 and below 1; got 1.0"),
        ({"dropout": True}, "--dropout must be a number of at least 0 and below 1; got True"),
        ({"variational": True}, "--variational is about the masks of --dropout, which is not given: add it"),
    ],
)
def test_refusals(options, message):
    assert message in refusal(lambda: Config(**WORDS, **options))


def test_one_layer_cannot_be_residual():
    assert "got one layer" in refusal(lambda: set_up(Config(**{**WORDS, "layers": 1}, residual=True)))


def test_the_command_line_trains_with_all_of_it(tmp_path, capsys):
    words = "train --task adding --cell lstm/zoneout/learned-start --layers 2 --residual --dropout 0.2 --variational"
    more = f"--hidden 5 --steps 2 --batch 2 --time-steps 6 --out {tmp_path / 'run'}"
    with pytest.raises(SystemExit) as end:
        main([*words.split(), *more.split()])
    assert not end.value.code, capsys.readouterr().err
    config = read_checkpoint(tmp_path / "run" / "last.safetensors").meta["config"]
    assert config["residual"] is True and config["variational"] is True and config["dropout"] == 0.2
