"""The pieces of a training run, made from what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.around.clipping import clipped
from rnnbp.backends import Backend
from rnnbp.backends import backend as backend_by_name
from rnnbp.drawing import drawn
from rnnbp.model import Model
from rnnbp.optim import Optimizer
from rnnbp.penalties import ActivationPenalty
from rnnbp.registry import LOSSES, OPTIMIZERS, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import stack
from rnnbp.text import read
from rnnbp.training.config import Config
from rnnbp.truncation import Truncation, Window


@dataclass(frozen=True)
class Setup:
    """The pieces of a run."""

    config: Config
    source: Source
    model: Model
    backend: Backend
    optimizer: Optimizer
    time_steps: int
    batch: int
    windows: list[Window]

    @property
    def data(self) -> dict[str, Any]:
        """What a checkpoint says of the data: enough to rebuild the model without them, and to know them again."""
        source = self.source
        return {
            "fingerprint": source.fingerprint,
            "vocabulary": source.vocabulary,
            "inputs": source.inputs,
            "input_size": source.input_size,
            "output_size": source.output_size,
            "loss": self.config.loss or source.loss,
        }


def set_up(config: Config) -> Setup:
    """All pieces from their names; whatever is wrong with one is a UserError before anything is written."""
    source: Source = TASKS.make(config.task) if config.task else read(config.files)
    time_steps = config.time_steps or source.time_steps
    batch = config.batch or source.batch_size
    found = backend_by_name(config.backend, config.device)
    decay = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    optimizer: Optimizer = OPTIMIZERS.make(config.optimizer, config.lr, **decay)
    loss = config.loss or source.loss
    windows = Truncation.parse(config.truncation).windows(time_steps)
    model = build_model(config, source.inputs, source.input_size, source.output_size, loss)
    source.batch(source.start(config.seed), batch, time_steps)  # text too short for one window says so here
    return Setup(config, source, model, found, optimizer, time_steps, batch, windows)


def build_model(config: Config, inputs: str, input_size: int, output_size: int, loss: str) -> Model:
    """The model of a run, for data of that kind and size."""
    symbols = None if inputs == "dense" else input_size
    layers = stack(config.cell, input_size, config.hidden, config.layers, residual=config.residual)
    layers = layers.of_cells(Truncation.parse(config.truncation).of)
    limit = config.clip_step
    if limit is not None:
        layers = layers.of_cells(lambda cell: clipped(cell, limit))
    penalty = ActivationPenalty(config.ar, config.tar) if config.ar or config.tar else None
    return Model(layers, output_size, LOSSES.make(loss), inputs, symbols, penalty)


def initial_params(setup: Setup) -> dict[str, Any]:
    """The weights that the seed draws, on the backend."""
    config, rng = setup.config, np.random.default_rng(setup.config.seed)
    params = setup.model.init(rng) if config.init is None else drawn(setup.model, config.init, rng)
    return {name: setup.backend.asarray(value, config.dtype) for name, value in params.items()}
