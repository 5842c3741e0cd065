"""The random masks of a run. Those of an update follow from the seed and its number: resuming draws the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnbp.around.masks import in_evaluation, in_training
from rnnbp.backends import Backend
from rnnbp.model import Model
from rnnbp.training.setup import Setup


def of_update(setup: Setup, number: int, time_steps: int, batch: int) -> dict[str, Any] | None:
    """The data of update `number`, from 1 on, on the backend; None for a model without any."""
    config = setup.config
    rng = np.random.default_rng([config.seed, number])
    masks = in_training(setup.model.stack, rng, time_steps, batch, config.dropout, config.variational)
    return {name: setup.backend.asarray(m, config.dtype) for name, m in masks.items()} or None


def of_evaluation(model: Model, backend: Backend, dtype: str, time_steps: int, batch: int) -> dict[str, Any] | None:
    """The data that evaluation runs on, without chance."""
    means = in_evaluation(model.stack, time_steps, batch)
    return {name: backend.asarray(m, dtype) for name, m in means.items()} or None
