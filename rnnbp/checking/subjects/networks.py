"""A whole model on one batch, and its readout alone, as subjects of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rnnbp.checking.losses import constant_of
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss, plain
from rnnbp.checking.subjects.decayed import defining
from rnnbp.checking.subjects.subject import Subject, Tensors, free_name, held_by, truncated, unlike_zero
from rnnbp.checking.verdicts import Setting
from rnnbp.initializers import glorot_uniform
from rnnbp.model import Model, readout
from rnnbp.numerics import Array, HostArray
from rnnbp.stacking import States
from rnnbp.truncation import Window


def model_subject(
    name: str,
    model: Model,
    xs: HostArray,
    targets: HostArray,
    windows: Sequence[Window],
    how: Setting,
    rng: np.random.Generator,
) -> Subject:
    """A model on one batch, with its own loss as the scalar; the loss sees the outputs of `truncated`.

    Data of its cells are drawn uniform in (0, 1). Where a cell learns its initial state no first state is given.
    """
    backend, xp = how.backend, how.backend.xp
    params = tuple(model.params)
    like = backend.asarray(0.0, "float64")
    first = model.stack.initial_state(xp, xs.shape[1], like)
    claimed = replace(model, stack=model.stack.of_cells(lambda cell: defining(cell, windows)))
    dense = model.inputs == "dense"
    xs_name = free_name("X", params)
    states = [[free_name(f"{prefix}{state}0", params) for state in cell.states] for prefix, cell in model.stack.cells]
    tensors = {n: held_by(how.dtype, v) for n, v in unlike_zero(model.init(rng), rng).items()}
    tensors |= {xs_name: held_by(how.dtype, xs)} if dense else {}
    learned = any(cell.starting for _, cell in model.stack.cells)
    for names, s in () if learned else zip(states, first, strict=True):
        tensors |= {n: held_by(how.dtype, backend.to_numpy(z)) for n, z in zip(names, s, strict=True)}

    shapes = {prefix + n: shape for prefix, cell in model.stack.cells for n, shape in cell.data.items()}
    drawn = {n: held_by(how.dtype, rng.uniform(0, 1, (*xs.shape[:2], *shape))) for n, shape in shapes.items()}

    def pick(given: Tensors) -> tuple[dict[str, Array], Any, States | None]:
        s0 = None if learned else tuple(tuple(given[n] for n in names) for names in states)
        return {n: given[n] for n in params}, given[xs_name] if dense else None, s0

    def loss(where: Arithmetic) -> Loss:
        symbols, wanted = constant_of(where, xs, "float64", how), constant_of(where, targets, "float64", how)
        data = {n: where.constant(d, "float64") for n, d in drawn.items()}

        def segment(given: Tensors, start: int, stop: int, s: States | None) -> tuple[Array, States]:
            p, inputs, s0 = pick(given)
            inputs = inputs[..., start:stop, :, :] if dense else symbols[start:stop, :]
            part = {n: d[start:stop, ...] for n, d in data.items()}
            return claimed.run(p, inputs, s or s0, data=part, backend=where.scanner)

        real = {n: where.constant(v, "float64") for n, v in tensors.items()}
        forward = truncated(where.xp, segment, windows, real)
        return lambda given: model.loss(forward(given)[0], wanted)[0]

    def gradients(given: Tensors) -> Tensors:
        p, inputs, s0 = pick(given)
        here = plain(backend)
        inputs = inputs if dense else constant_of(here, xs, how.dtype, how)
        data = {n: here.constant(d, how.dtype) for n, d in drawn.items()}
        _, _, backward = model(p, inputs, constant_of(here, targets, how.dtype, how), s0, data=data, backend=backend)
        dparams, dxs, ds0 = backward(windows)
        named = {n: d for names, ds in zip(states, ds0, strict=True) for n, d in zip(names, ds, strict=True)}
        named = {} if learned else named
        return dparams | ({xs_name: dxs} if dense else {}) | named

    widest = max(spec.shape[-1] for spec in model.params.values())
    work = 4 * xs.shape[0] * xs.shape[1] * (widest + len(tensors))
    blocks = {prefix + n: gates for prefix, cell in model.stack.cells for n, gates in cell.blocks.items()}
    return Subject(name, tensors, loss, gradients, work, level="model", blocks=blocks, windows=tuple(windows))


def readout_subject(
    name: str, shape: tuple[int, int, int], width: int, how: Setting, rng: np.random.Generator
) -> Subject:
    """The dense layer after the cells, h W + b for h (T, B, H), with the scalar Σ y∘dy for outputs y of that shape."""
    time_steps, batch, outputs = shape
    drawn = {"readout.W": glorot_uniform()(rng, (width, outputs)), "readout.b": rng.standard_normal(outputs)}
    drawn |= {"h": rng.standard_normal((time_steps, batch, width))}
    dy = held_by(how.dtype, rng.standard_normal(shape))

    def of(where: Arithmetic) -> Loss:
        weights = where.constant(dy, "float64")

        def scalar(given: Tensors) -> Array:
            y = readout(given["readout.W"], given["readout.b"], given["h"])[0]
            return where.xp.sum(y * weights, axis=(-3, -2, -1))

        return scalar

    def gradients(given: Tensors) -> Tensors:
        _, backward = readout(given["readout.W"], given["readout.b"], given["h"])
        return dict(zip(drawn, backward(plain(how.backend).constant(dy, how.dtype)), strict=True))

    tensors = {n: held_by(how.dtype, v) for n, v in drawn.items()}
    work = time_steps * batch * (width + 4 * outputs)
    return Subject(name, tensors, of, gradients, work, level="readout")
