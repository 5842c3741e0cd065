"""The training loop: pure steps, rows of metrics, checkpoints; words to the user are left to the caller."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnbp.errors import UserError
from rnnbp.optim import global_norm
from rnnbp.runs import (
    append_flow_row,
    append_row,
    check_free,
    create_run,
    cut_rows,
    read_checkpoint,
    write_checkpoint,
    write_config,
)
from rnnbp.training.clipping import clip
from rnnbp.training.config import Config
from rnnbp.training.flow import FlowConfig, flow_row
from rnnbp.training.gradients import gradient, of_step_clipping
from rnnbp.training.masking import of_evaluation, of_update
from rnnbp.training.setup import Setup, set_up
from rnnbp.training.state import State, begin, complete, from_checkpoint, to_checkpoint
from rnnbp.training.tally import Tally


class Diverged(Exception):
    """The loss is no longer a finite number; the message says where, and what is kept."""


class Progress(NamedTuple):
    """What a caller is told after every step; valid_loss only where it was measured."""

    step: int
    steps: int
    loss: float | None
    valid_loss: float | None
    tokens: int
    setup: Setup


Report = Callable[[Progress], None]
Stop = Callable[[], bool]


def train(
    config: Config,
    folder: Path,
    *,
    force: bool = False,
    report: Report = lambda _: None,
    stop: Stop = lambda: False,
) -> State:
    """Train from the start into a new run folder. `stop` is asked after every step; then the run is saved and left."""
    setup = set_up(config)
    check_free(folder, force)
    state = begin(setup)
    valid_loss = evaluate(setup, state)
    if not math.isfinite(valid_loss):
        raise Diverged(f"the validation loss is {valid_loss} before the first step: nothing was written")
    state = replace(state, best=valid_loss)
    row = state.tally.row(0, valid_loss, setup.batch * setup.time_steps)
    first = None if config.flow is None else flow_row(setup, state, FlowConfig.parse(config.flow))
    create_run(folder, config.to_dict(), to_checkpoint(setup, state), row, force, first)
    report(Progress(0, config.steps, None, valid_loss, 0, setup))
    return _go_on(setup, state, folder, report, stop)


def resume(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    report: Report = lambda _: None,
    stop: Stop = lambda: False,
) -> State:
    """Go on from RUN/last.safetensors, to the same bits as a run that was never interrupted.

    `changes` are options given anew: `steps` may change, and `files` where the same text lies elsewhere; any other must
    say what the run was started with.
    """
    checkpoint = read_checkpoint(folder / "last.safetensors")
    meta, given, free = complete(checkpoint), changes or {}, ("steps", "files")
    config, step = Config.from_dict(meta["config"]), meta["step"]
    for name, value in given.items():
        if name not in free and value != getattr(config, name):
            option, old = f"--{name.replace('_', '-')}", getattr(config, name)
            its = "run, which has none" if old is None else f"run's {old}"
            raise UserError(f"{option} {value} conflicts with the {its}: leave it out to resume")
    config = replace(config, **{name: value for name, value in given.items() if name in free})
    if config.steps < step:
        raise UserError(f"--steps must be at least {step}, where the run stands; got {config.steps}")
    setup = set_up(config)
    state = from_checkpoint(setup, checkpoint)
    cut_rows(folder, step)
    write_config(folder, config.to_dict())
    report(Progress(step, config.steps, None, None, 0, setup))
    return _go_on(setup, state, folder, report, stop)


def _go_on(setup: Setup, state: State, folder: Path, report: Report, stop: Stop) -> State:
    """Step after step, with a row and a checkpoint every `save_every` steps and at the end, and samples of the flow."""
    config, saved = setup.config, state.step
    flow = None if config.flow is None else FlowConfig.parse(config.flow)
    while state.step < config.steps and not stop():
        due = (state.step + 1) % config.save_every == 0 or state.step + 1 == config.steps
        state, loss = advance(setup, state, saved, measured=due)
        if flow is not None and state.step % flow.every == 0:  # before the checkpoint, which stands for the row too
            append_flow_row(folder, flow_row(setup, state, flow))
        valid_loss = None
        if due:
            valid_loss = evaluate(setup, state)
            if not math.isfinite(valid_loss):
                raise Diverged(_kept(f"the validation loss is {valid_loss} at step {state.step}", saved))
            state = _record(setup, state, folder, valid_loss)
            saved = state.step
        report(Progress(state.step, config.steps, loss, valid_loss, setup.batch * setup.time_steps, setup))
    if saved != state.step:
        write_checkpoint(folder / "last.safetensors", to_checkpoint(setup, state))
    return state


def advance(setup: Setup, state: State, saved: int, measured: bool = False) -> tuple[State, float]:
    """One update, and the loss before it. `saved` is the step of the last checkpoint, for the message of Diverged.

    measured: what clipping at every step does to the gradient is found out, by another pass without it.
    """
    begun = time.perf_counter()
    batch, cursor = setup.source.batch(state.cursor, setup.batch, setup.time_steps)
    carried = None if batch.fresh else state.carried
    masks = of_update(setup, state.step + 1, *batch.xs.shape[:2])
    given = (state.params, _placed(setup, batch.xs), _placed(setup, batch.targets), carried, masks)
    with np.errstate(all="ignore"):  # what overflows is met below, with its step
        found = gradient(setup, *given)
        if not math.isfinite(found.loss):
            raise Diverged(_kept(f"the loss is {found.loss} at step {state.step + 1}", saved))
        norm = float(global_norm(found.gradients))
        if not math.isfinite(norm):
            raise Diverged(_kept(f"the gradient's norm is {norm} at step {state.step + 1}", saved))
        clipped = clip(found.gradients, setup.config.limits)
        params, moments = setup.optimizer.update(state.params, clipped.gradients, state.moments)
        seconds = time.perf_counter() - begun
        step = of_step_clipping(setup, found, *given) if measured else None
    tally = state.tally.plus(found.loss, found.penalty, norm, clipped, step, seconds)
    return State(state.step + 1, params, moments, found.last, cursor, state.best, tally), found.loss


def evaluate(setup: Setup, state: State) -> float:
    """The mean loss over the validation batches, by their numbers of steps and sequences."""
    total, weight, carried = 0.0, 0, None
    with np.errstate(all="ignore"):
        for batch in setup.source.validation(setup.batch, setup.time_steps):
            carried = None if batch.fresh else carried
            data = of_evaluation(setup.model, setup.backend, setup.config.dtype, *batch.xs.shape[:2])
            logits, carried = setup.model.run(
                state.params, _placed(setup, batch.xs), carried, data=data, backend=setup.backend
            )
            value, _ = setup.model.loss(logits, _placed(setup, batch.targets))
            size = batch.xs.shape[0] * batch.xs.shape[1]
            total, weight = total + float(value) * size, weight + size
    return total / weight


def _record(setup: Setup, state: State, folder: Path, valid_loss: float) -> State:
    """A row of metrics, then the checkpoint that stands for it: a kill between them leaves a row that resuming cuts."""
    append_row(folder, state.tally.row(state.step, valid_loss, setup.batch * setup.time_steps))
    better = valid_loss < state.best
    state = replace(state, best=min(valid_loss, state.best), tally=Tally())
    checkpoint = to_checkpoint(setup, state)
    if better:
        write_checkpoint(folder / "best.safetensors", checkpoint)
    write_checkpoint(folder / "last.safetensors", checkpoint)
    return state


def _placed(setup: Setup, host: Any) -> Any:
    """A batch's array on the backend: floats in the run's dtype, symbols as they are."""
    return setup.backend.asarray(host, setup.config.dtype if host.dtype.kind == "f" else None)


def _kept(what: str, saved: int) -> str:
    return f"{what}: the checkpoint of step {saved} is kept; try a smaller --lr, or --clip-norm"
