"""The gradients of a whole model, cells and readout and loss, on the data of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.crossings import uncrossed
from rnnbp.checking.directions import DIRECTIONS
from rnnbp.checking.distances import check_against, held_to, truncation_finding
from rnnbp.checking.levels import Make, of_levels, verify_all
from rnnbp.checking.losses import loss_subject, readout_subject
from rnnbp.checking.numeric import MEMORY
from rnnbp.checking.report import Report
from rnnbp.checking.subjects import Subject, Tensors, free_name, held_by, truncated, unlike_zero
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.model import Model
from rnnbp.numerics import Array, HostArray
from rnnbp.registry import LOSSES, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import States, stack
from rnnbp.truncation import Window, full, parse


def check_task(
    task: str,
    cell: str = "lstm",
    *,
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    truncation: str = "full",
    extent: str = "auto",
    directions: int = DIRECTIONS,
    levels: Sequence[str] | None = None,
    against: str = "claim",
    time_steps: int | None = None,
    batch: int | None = None,
    input_size: int | None = None,
    hidden_size: int | None = None,
    layers: int = 1,
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """`check_model` of the model that learns a task, with `layers` cells on top of each other, on its first batch of
    that seed.

    Options as in `check_model` and `rnnbp.gradcheck`; time_steps and batch are the task's own unless given.
    """
    check_counts(time_steps=time_steps, batch=batch, layers=layers)
    check_counts(0, seed=seed)
    source: Source = TASKS.make(task)
    if input_size not in (None, source.input_size):
        raise UserError(f"input_size is the task's own, {source.input_size}; got {input_size}: leave it out")
    cells = stack(cell, source.input_size, 6 if hidden_size is None else hidden_size, layers)
    symbols = source.input_size if source.inputs == "one-hot" else None
    model = Model(cells, source.output_size, LOSSES.make(source.loss), source.inputs, symbols)
    sizes = (source.batch_size if batch is None else batch, source.time_steps if time_steps is None else time_steps)
    xs, targets, _ = source.batch(source.start(seed), *sizes)[0]
    words: dict[str, Any] = {"backend": backend, "dtype": dtype, "method": method, "truncation": truncation}
    words |= {"extent": extent, "directions": directions, "levels": levels, "against": against}
    words |= {"seed": seed, "memory": memory, "progress": progress}
    return replace(check_model(model, xs, targets, name=cell, **words), task=task)


def check_model(
    model: Model,
    xs: HostArray,
    targets: HostArray,
    *,
    name: str = "model",
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    truncation: str = "full",
    extent: str = "auto",
    directions: int = DIRECTIONS,
    levels: Sequence[str] | None = None,
    against: str = "claim",
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """`rnnbp.gradcheck` of a whole model on one batch, its own loss being the scalar.

    Every parameter of cells and readout is checked, the inputs X where they are dense, and the first states. The
    parameters are drawn from that seed, with noise on top so that no bias is zero; the states are those at the start.

    levels: "loss", on random outputs with the batch's targets; "readout", the dense layer alone; "model", all of it; by
    default each of them.
    xs, targets: host arrays as the model takes them, xs (T, B, I) or class numbers (T, B). name: in the report.
    extent: "exhaustive", "directional", or "auto": directional beyond 2000 scalars, with `directions` random directions
    for each gate block. For a large model take method "tangent", or "directional", which is short for both.
    Other options as in `rnnbp.gradcheck`.
    """
    if not isinstance(model, Model):
        raise UserError(f"check_model takes a Model of rnnbp; got {type(model).__name__}")
    how = setting(backend, dtype, method, truncation, extent, directions, seed)
    check_counts(memory=memory)
    check_against(against)
    windows, uncut = parse(truncation, xs.shape[0]), full(xs.shape[0])
    shape = (*xs.shape[:2], model.output_size)

    def rng(part: int) -> np.random.Generator:  # what one part draws does not depend on the levels asked for
        return np.random.default_rng([seed, part])

    def whole(seed: int, parts: Sequence[Window] = windows) -> Subject:
        return model_subject(name, model, xs, targets, parts, how, np.random.default_rng(seed))

    known: dict[str, Make] = {
        "loss": lambda: [loss_subject(name, model.loss, rng(1).standard_normal(shape), targets, None, how)],
        "readout": lambda: [readout_subject(name, shape, model.stack.output_size, how, rng(2))],
        "model": lambda: [held_to(against, whole(taken), whole(taken, uncut))],
    }
    taken, kinks = uncrossed(whole, seed, how, memory)
    checks, findings = verify_all(of_levels(known, levels, how), how, memory, progress)
    if windows != uncut:
        findings.append(truncation_finding(whole(taken), whole(taken, uncut), how, against))
    return Report(tuple(checks), seed, findings=(*findings, *([kinks] if kinks is not None else [])))


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
    return Subject(name, tensors, loss, gradients, work, level="model", blocks=blocks, windows=tuple(windows))
