"""The gradients of a whole model, cells and readout and loss, on the data of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.distances import check_against, held_to, truncation_finding
from rnnbp.checking.kinks.crossings import uncrossed
from rnnbp.checking.levels import Make, of_levels, verify_all
from rnnbp.checking.losses import loss_subject
from rnnbp.checking.methods.directions import DIRECTIONS
from rnnbp.checking.methods.numeric import MEMORY
from rnnbp.checking.properties.examination import Properties, of_backward
from rnnbp.checking.properties.pullbacks import Pullback, loss_pullback, readout_pullback, subject_pullback
from rnnbp.checking.report import Report
from rnnbp.checking.subjects.networks import model_subject, readout_subject
from rnnbp.checking.subjects.subject import Subject
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.model import Model
from rnnbp.numerics import HostArray
from rnnbp.registry import LOSSES, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import stack
from rnnbp.truncation import Truncation, Window, full, uncut


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
    properties: bool | None = None,
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
    words |= {"properties": properties, "seed": seed, "memory": memory, "progress": progress}
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
    properties: bool | None = None,
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
    properties: whether those of `checking.properties` are examined, too; by default where every entry is checked.
    xs, targets: host arrays as the model takes them, xs (T, B, I) or class numbers (T, B). name: in the report.
    extent: "exhaustive", "directional", or "auto": directional beyond 2000 scalars, with `directions` random directions
    for each gate block. For a large model take method "tangent", or "directional", which is short for both.
    Other options as in `rnnbp.gradcheck`.
    """
    if not isinstance(model, Model):
        raise UserError(f"check_model takes a Model of rnnbp; got {type(model).__name__}")
    if inexact := [
        f"{prefix}{type(cell).__name__} {cell.inexact}" for prefix, cell in model.stack.cells if cell.inexact
    ]:
        raise UserError(inexact[0])
    if model.penalty is not None:
        raise UserError("check_model checks the loss, without what is beside it: leave out the model's penalty")
    how = setting(backend, dtype, method, truncation, extent, directions, seed)
    check_counts(memory=memory)
    check_against(against)
    kind, all_steps = Truncation.parse(truncation), full(xs.shape[0])
    windows, cut = kind.windows(xs.shape[0]), replace(model, stack=model.stack.of_cells(kind.of))
    free = replace(model, stack=model.stack.of_cells(uncut)) if against == "full" else model
    shape = (*xs.shape[:2], model.output_size)

    def rng(part: int) -> np.random.Generator:  # what one part draws does not depend on the levels asked for
        return np.random.default_rng([seed, part])

    def whole(seed: int, parts: Sequence[Window] = windows, of: Model = cut) -> Subject:
        return model_subject(name, of, xs, targets, parts, how, np.random.default_rng(seed))

    known: dict[str, Make] = {
        "loss": lambda: [loss_subject(name, model.loss, rng(1).standard_normal(shape), targets, None, how)],
        "readout": lambda: [readout_subject(name, shape, model.stack.output_size, how, rng(2))],
        "model": lambda: [held_to(against, whole(taken), whole(taken, all_steps, free))],
    }
    taken, kinks = uncrossed(whole, seed, how, memory)
    subjects = of_levels(known, levels, how)
    checks, findings = verify_all(subjects, how, memory, progress)
    if windows != all_steps or cut != free:
        findings.append(truncation_finding(whole(taken), whole(taken, all_steps, free), how, against))
    findings += [kinks] if kinks is not None else []
    asked = [s for s in subjects if (not how.directional(s) if properties is None else properties)]
    findings += [_properties(name, model, targets, asked, how)] if asked else []
    return Report(tuple(checks), seed, findings=tuple(findings))


def _properties(name: str, model: Model, targets: HostArray, subjects: Sequence[Subject], how: Setting) -> Properties:
    """What the backwards of the levels have: of the whole model only what needs no cotangent, for it takes none."""

    def readout(subject: Subject) -> Pullback:
        shape = (*subject.tensors["h"].shape[:-1], model.output_size)
        return readout_pullback(subject.tensors, np.random.default_rng(0).standard_normal(shape))

    pullbacks: dict[str, Callable[[Subject], Pullback]] = {
        "loss": lambda s: loss_pullback(model.loss, s.tensors["y"], targets, None, np.asarray(1.0)),
        "readout": readout,
        "model": subject_pullback,
    }
    return Properties(name, {s.level: of_backward(pullbacks[s.level](s), how) for s in subjects})
