"""Training under every kind of truncation, in a run folder that is resumed with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import refusal

from rnnbp import training
from rnnbp.training.config import Config
from rnnbp.training.setup import set_up

SMALL = {"task": "copy", "cell": "lstm:peepholes=true", "hidden": 5, "time_steps": 24, "batch": 3, "steps": 4}
SMALL |= {"save_every": 2, "backend": "numpy", "dtype": "float64"}


def trained(folder, **more):
    """The weights after a run."""
    state = training.train(Config(**SMALL | more), folder)
    return {name: np.asarray(w) for name, w in state.params.items()}


def test_kinds_train_differently_and_steps_is_a_tbptt(tmp_path):
    kinds = ["full", "steps:4", "tbptt:4,4", "decay:0.5", "1997", "gates:i+f", "peepholes"]
    found = {kind: trained(tmp_path / kind.replace(":", "-"), truncation=kind) for kind in kinds}
    assert all(np.array_equal(found["steps:4"][n], found["tbptt:4,4"][n]) for n in found["full"])
    weights = [found[kind]["0.U"] for kind in kinds if kind != "steps:4"]
    assert all(not np.array_equal(a, b) for k, a in enumerate(weights) for b in weights[:k])


@pytest.mark.parametrize("kind", ["decay:0.5", "1997"])
def test_a_run_goes_on_with_its_truncation(tmp_path, kind):
    whole = trained(tmp_path / "whole", truncation=kind)
    trained(tmp_path / "half", truncation=kind, steps=2)
    assert json.loads((tmp_path / "half" / "config.json").read_text())["truncation"] == kind
    state = training.resume(tmp_path / "half", {"steps": 4})
    assert all(np.array_equal(np.asarray(w), whole[n]) for n, w in state.params.items())


def test_what_the_cell_cannot_have_is_refused_before_anything_is_written(tmp_path):
    said = refusal(
        lambda: training.train(Config(**SMALL | {"cell": "gru", "truncation": "peepholes"}), tmp_path / "run")
    )
    assert "GRU has none such" in said and not (tmp_path / "run").exists()
    assert "truncation must be full" in refusal(lambda: set_up(Config(**SMALL, truncation="half")))
