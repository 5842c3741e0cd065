"""The two ends of a model by themselves, a loss and the readout, as subjects of a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.arithmetic import Arithmetic, plain
from rnnbp.checking.arithmetic import Loss as Scalar
from rnnbp.checking.levels import verify_all
from rnnbp.checking.numeric import MEMORY
from rnnbp.checking.report import Report
from rnnbp.checking.subjects import Subject, Tensors, held_by
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.initializers import glorot_uniform
from rnnbp.losses import Loss
from rnnbp.model import readout
from rnnbp.numerics import Array, HostArray
from rnnbp.registry import LOSSES

SHAPE = (5, 3, 4)  # T, B, O: unlike each other


def check_losses(
    specs: Iterable[str] | None = None,
    *,
    backend: Backend | str | None = None,
    dtype: str = "float64",
    method: str = "complex-step",
    seed: int = 0,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Report:
    """Check ∂L/∂y of losses on random outputs y: with and without a mask, for each kind of target that they take.

    specs: NAME[:option=value,…]; by default every registered loss with each reduction and choice of steps.
    """
    how = setting(backend, dtype, method, "full", seed=seed)
    check_counts(memory=memory)
    subjects = [subject for spec in specs or all_losses() for subject in loss_subjects(spec, how, seed)]
    return Report(tuple(verify_all(subjects, how, memory, progress)[0]), seed)


def all_losses() -> list[str]:
    """Every registered loss with each of the options that all losses have."""
    options = product(("mean", "sum"), ("every", "last"))
    return [f"{name}:reduction={r},steps={s}" for (r, s), name in product(options, LOSSES)]


def loss_subjects(spec: str, how: Setting, seed: int) -> Iterator[Subject]:
    """A loss by name, for each kind of target that it takes; with a mask, and then with a cotangent, and without."""
    loss: Loss = LOSSES.make(spec)
    rng = np.random.default_rng(seed)
    mask = np.ones(SHAPE[:2], dtype=bool)
    mask[-2:, -1] = mask[1, 0] = False  # one sequence is shorter, one has a gap
    taken = {kind: target for kind, target in _targets(loss, rng).items() if _takes(loss, target, how)}
    if not taken:
        raise UserError(f"loss {spec} takes neither class numbers nor floats (T, B, O) as its target: check it by hand")
    for (kind, target), flags in product(taken.items(), (None, mask)):
        y = rng.standard_normal(SHAPE)
        if flags is None:
            yield loss_subject(f"{spec}, {kind}", loss, y, target, None, how)
        else:
            yield loss_subject(f"{spec}, {kind}, mask", loss, y, target, flags, how, weight=rng.standard_normal())


def _targets(loss: Loss, rng: np.random.Generator) -> Mapping[str, HostArray]:
    shape = SHAPE if loss.steps == "every" else SHAPE[1:]
    return {"class numbers": rng.integers(0, SHAPE[-1], shape[:-1]), "floats": rng.uniform(0.1, 1, shape)}


def _takes(loss: Loss, target: HostArray, how: Setting) -> bool:
    axes, letters = (SHAPE, "T, B, O") if loss.steps == "every" else (SHAPE[1:], "B, O")
    try:
        loss.check_target(how.backend.xp, _constant(plain(how.backend), target, how.dtype, how), axes, letters)
    except UserError:
        return False
    return True


def loss_subject(
    name: str,
    loss: Loss,
    y: HostArray,
    target: HostArray,
    mask: HostArray | None,
    how: Setting,
    weight: float | None = None,
) -> Subject:
    """∂L/∂y of a loss on outputs y (T, B, O), the scalar being L, or weight · L with the cotangent `weight`."""
    scale = None if weight is None else held_by(how.dtype, weight)

    def of(where: Arithmetic) -> Scalar:
        wanted = _constant(where, target, "float64", how)
        flags = None if mask is None else where.constant(mask)
        factor = 1.0 if scale is None else float(scale)
        return lambda given: factor * loss(given["y"], wanted, flags)[0]

    def gradients(given: Tensors) -> Tensors:
        here = plain(how.backend)
        flags = None if mask is None else here.constant(mask)
        _, backward = loss(given["y"], _constant(here, target, how.dtype, how), flags)
        return {"y": backward() if scale is None else backward(here.constant(scale, how.dtype))}

    tensors = {"y": held_by(how.dtype, y)}
    return Subject(name, tensors, of, gradients, 8 * y.size, padded=mask is not None, level="loss")


def readout_subject(
    name: str, shape: tuple[int, int, int], width: int, how: Setting, rng: np.random.Generator
) -> Subject:
    """The dense layer after the cells, h W + b for h (T, B, H), with the scalar Σ y∘dy for outputs y of that shape."""
    time_steps, batch, outputs = shape
    drawn = {"readout.W": glorot_uniform()(rng, (width, outputs)), "readout.b": rng.standard_normal(outputs)}
    drawn |= {"h": rng.standard_normal((time_steps, batch, width))}
    dy = held_by(how.dtype, rng.standard_normal(shape))

    def of(where: Arithmetic) -> Scalar:
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


def _constant(where: Arithmetic, value: HostArray, dtype: str, how: Setting) -> Array:
    integral = np.issubdtype(value.dtype, np.integer)
    return where.constant(value) if integral else where.constant(held_by(how.dtype, value), dtype)
