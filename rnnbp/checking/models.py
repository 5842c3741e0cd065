"""The gradients of a whole model, cells and readout and loss, on the data of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.numeric import MEMORY
from rnnbp.checking.report import Report
from rnnbp.checking.subjects import Subject, Tensors, free_name, held_by, truncated, unlike_zero
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting, verify
from rnnbp.errors import UserError
from rnnbp.model import Model
from rnnbp.numerics import Array, HostArray
from rnnbp.registry import LOSSES, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import States, stack
from rnnbp.truncation import Window, parse


def check_task(
    task: str,
    cell: str = "lstm",
    *,
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    truncation: str = "full",
    time_steps: int | None = None,
    batch: int | None = None,
    input_size: int | None = None,
    hidden_size: int | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """`rnnbp.gradcheck` of the model that learns a task: its first batch of that seed, its loss, random parameters.

    Every parameter of cell and readout is checked, the inputs X where they are dense, and the first states, at the
    values where a training run starts them. Options as in `rnnbp.gradcheck`; time_steps and batch are the task's
    own unless given.
    """
    how = setting(backend, dtype, method, truncation)
    check_counts(time_steps=time_steps, batch=batch, memory=memory)
    check_counts(0, seed=seed)
    source: Source = TASKS.make(task)
    if input_size not in (None, source.input_size):
        raise UserError(f"input_size is the task's own, {source.input_size}; got {input_size}: leave it out")
    loss = LOSSES.make(source.loss)
    cells = stack(cell, source.input_size, 6 if hidden_size is None else hidden_size)
    symbols = source.input_size if source.inputs == "one-hot" else None
    model = Model(cells, source.output_size, loss, source.inputs, symbols)
    sizes = (source.batch_size if batch is None else batch, source.time_steps if time_steps is None else time_steps)
    xs, targets, _ = source.batch(source.start(seed), *sizes)[0]
    windows = parse(truncation, sizes[1])
    subject = model_subject(cell, model, xs, targets, windows, how, np.random.default_rng(seed))
    return Report(tuple(verify(subject, how, memory, progress)), seed, task)


def model_subject(
    name: str,
    model: Model,
    xs: HostArray,
    targets: HostArray,
    windows: Sequence[Window],
    how: Setting,
    rng: np.random.Generator,
) -> Subject:
    """A model on one batch, with its own loss as the scalar; the loss sees the outputs of `truncated`."""
    backend, xp = how.backend, how.backend.xp
    params = tuple(model.params)
    like = backend.asarray(0.0, "float64")
    first = model.stack.initial_state(xp, xs.shape[1], like)
    dense = model.inputs == "dense"
    xs_name = free_name("X", params)
    states = [[free_name(f"{prefix}{state}0", params) for state in cell.states] for prefix, cell in model.stack.cells]
    tensors = {n: held_by(how.dtype, v) for n, v in unlike_zero(model.init(rng), rng).items()}
    tensors |= {xs_name: held_by(how.dtype, xs)} if dense else {}
    for names, s in zip(states, first, strict=True):
        tensors |= {n: held_by(how.dtype, backend.to_numpy(z)) for n, z in zip(names, s, strict=True)}

    def constant(where: Arithmetic, value: HostArray, dtype: str) -> Array:
        integral = np.issubdtype(value.dtype, np.integer)
        return where.constant(value) if integral else where.constant(held_by(how.dtype, value), dtype)

    def pick(given: Tensors) -> tuple[dict[str, Array], Any, States]:
        s0 = tuple(tuple(given[n] for n in names) for names in states)
        return {n: given[n] for n in params}, given[xs_name] if dense else None, s0

    def loss(where: Arithmetic) -> Loss:
        symbols, wanted = constant(where, xs, "float64"), constant(where, targets, "float64")

        def segment(given: Tensors, start: int, stop: int, s: States | None) -> tuple[Array, States]:
            p, inputs, s0 = pick(given)
            inputs = inputs[..., start:stop, :, :] if dense else symbols[start:stop, :]
            return model.run(p, inputs, s or s0, backend=where.scanner)

        real = {n: where.constant(v, "float64") for n, v in tensors.items()}
        forward = truncated(where.xp, segment, windows, real)
        return lambda given: model.loss(forward(given)[0], wanted)[0]

    def gradients(given: Tensors) -> Tensors:
        p, inputs, s0 = pick(given)
        here = plain(backend)
        inputs = inputs if dense else constant(here, xs, how.dtype)
        _, _, backward = model(p, inputs, constant(here, targets, how.dtype), s0, backend=backend)
        dparams, dxs, ds0 = backward(windows)
        named = {n: d for names, ds in zip(states, ds0, strict=True) for n, d in zip(names, ds, strict=True)}
        return dparams | ({xs_name: dxs} if dense else {}) | named

    widest = max(spec.shape[-1] for spec in model.params.values())
    work = 4 * xs.shape[0] * xs.shape[1] * (widest + len(tensors))
    blocks = {prefix + n: gates for prefix, cell in model.stack.cells for n, gates in cell.blocks.items()}
    return Subject(name, tensors, loss, gradients, work, level="model", blocks=blocks)
