"""The two ends of a model by themselves, a loss and the readout, as subjects of a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.levels import verify_all
from rnnbp.checking.methods.numeric import MEMORY
from rnnbp.checking.operands.arithmetic import Arithmetic, plain
from rnnbp.checking.operands.arithmetic import Loss as Scalar
from rnnbp.checking.properties.examination import Properties, of_backward
from rnnbp.checking.properties.pullbacks import loss_pullback
from rnnbp.checking.report import Report
from rnnbp.checking.subjects.subject import Subject, Tensors, held_by
from rnnbp.checking.verdicts import Progress, Setting, check_counts, setting
from rnnbp.errors import UserError
from rnnbp.losses import Loss
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

    specs: NAME[:option=value,…]; by default every registered loss with each reduction and choice of steps. What
    their backwards have, `checking.properties`, is examined, too.
    """
    how = setting(backend, dtype, method, "full", seed=seed)
    check_counts(memory=memory)
    cases = [case for spec in specs or all_losses() for case in loss_cases(spec, how, seed)]
    subjects = [loss_subject(case.name, *case[1:5], how, case.weight) for case in cases]
    checks, findings = verify_all(subjects, how, memory, progress)
    missed = {case.name: of_backward(loss_pullback(*case[1:5], np.asarray(case.weight or 1.0)), how) for case in cases}
    return Report(tuple(checks), seed, findings=(*findings, Properties("losses", {"loss": _merged(missed)})))


def all_losses() -> list[str]:
    """Every registered loss with each of the options that all losses have."""
    options = product(("mean", "sum"), ("every", "last"))
    return [f"{name}:reduction={r},steps={s}" for (r, s), name in product(options, LOSSES)]


class LossCase(NamedTuple):
    """A loss on outputs y (T, B, O) with a target; `weight` is the cotangent, None for that of one."""

    name: str
    loss: Loss
    y: HostArray
    target: HostArray
    mask: HostArray | None
    weight: float | None


def loss_cases(spec: str, how: Setting, seed: int) -> Iterator[LossCase]:
    """A loss by name, for each kind of target that it takes; with a mask, and then with a cotangent, and without."""
    loss: Loss = LOSSES.make(spec)
    rng = np.random.default_rng(seed)
    mask = np.ones(SHAPE[:2], dtype=bool)
    mask[-2:, -1] = mask[1, 0] = False  # one sequence is shorter, one has a gap
    taken = {kind: target for kind, target in _targets(loss, rng).items() if _takes(loss, target, how)}
    if not taken:
        raise UserError(f"loss {spec} takes neither class numbers nor floats (T, B, O) as its target: check it by hand")
    for kind, target in taken.items():
        yield LossCase(f"{spec}, {kind}", loss, rng.standard_normal(SHAPE), target, None, None)
        y, weight = rng.standard_normal(SHAPE), rng.standard_normal()
        yield LossCase(f"{spec}, {kind}, mask", loss, y, target, mask, weight)


def _merged(missed: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """By property, what each case says of it."""
    names = dict.fromkeys(name for found in missed.values() for name in found)
    return {n: "; ".join(f"{case}: {found[n]}" for case, found in missed.items() if found[n]) for n in names}


def _targets(loss: Loss, rng: np.random.Generator) -> Mapping[str, HostArray]:
    shape = SHAPE if loss.steps == "every" else SHAPE[1:]
    return {"class numbers": rng.integers(0, SHAPE[-1], shape[:-1]), "floats": rng.uniform(0.1, 1, shape)}


def _takes(loss: Loss, target: HostArray, how: Setting) -> bool:
    axes, letters = (SHAPE, "T, B, O") if loss.steps == "every" else (SHAPE[1:], "B, O")
    try:
        loss.check_target(how.backend.xp, constant_of(plain(how.backend), target, how.dtype, how), axes, letters)
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
        wanted = constant_of(where, target, "float64", how)
        flags = None if mask is None else where.constant(mask)
        factor = 1.0 if scale is None else float(scale)
        return lambda given: factor * loss(given["y"], wanted, flags)[0]

    def gradients(given: Tensors) -> Tensors:
        here = plain(how.backend)
        flags = None if mask is None else here.constant(mask)
        _, backward = loss(given["y"], constant_of(here, target, how.dtype, how), flags)
        return {"y": backward() if scale is None else backward(here.constant(scale, how.dtype))}

    tensors = {"y": held_by(how.dtype, y)}
    return Subject(name, tensors, of, gradients, 8 * y.size, padded=mask is not None, level="loss")


def constant_of(where: Arithmetic, value: HostArray, dtype: str, how: Setting) -> Array:
    """A host array as a constant: class numbers as they are, others as numbers that the checked dtype holds."""
    integral = np.issubdtype(value.dtype, np.integer)
    return where.constant(value) if integral else where.constant(held_by(how.dtype, value), dtype)
