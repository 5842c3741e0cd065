"""Slopes from perturbed copies of a tensor: differences of two or four real losses, and what complex steps share.

The perturbed tensor gets a leading axis of copies, one per direction; the loss returns one number per copy.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import numpy as np

from rnnbp.checking.methods.numeric import Asked, NumericMethod, in_chunks, of_units
from rnnbp.checking.methods.steps import stepped
from rnnbp.checking.operands.arithmetic import Arithmetic, plain
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

COMPLEX_STEP = 1e-30  # no subtraction, so it may be as small as one likes: its square vanishes beside 1
CENTRAL_STEP = 1e-5  # where truncation, step², meets rounding, eps / step
FIVE_POINT_STEP = 1e-3  # where truncation, step⁴, meets it
STEPS = {"central": CENTRAL_STEP, "five-point": FIVE_POINT_STEP}
STENCILS = {  # (k, weight): the slope is Σ weight · (L(k·step) − L(−k·step)) / step
    "central": ((1, 1 / 2),),
    "five-point": ((1, 2 / 3), (2, -1 / 12)),
}


class Perturbed(NumericMethod):
    """A method that needs no more of the loss than its values at perturbed tensors."""

    @abstractmethod
    def slopes(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        """`along` for few directions."""

    def along(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        return in_chunks(asked, tensor, directions, partial(self.slopes, asked, tensor))

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        return of_units(asked, tensor, partial(self.slopes, asked, tensor))


class Central(Perturbed):
    """(L(v + εd) − L(v − εd)) / 2ε, with ε‖d‖ = 1e-5."""

    name = "central"
    stops = False
    step: ClassVar[float] = CENTRAL_STEP

    def slopes(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        return self.difference(asked, tensor, directions, self.step)

    def difference(self, asked: Asked, tensor: str, directions: HostArray, step: float) -> HostArray:
        """One central difference, 2ε being the width that rounding made of it."""
        axes = tuple(range(1, directions.ndim))
        squares = np.sum(directions * directions, axis=axes, keepdims=True)
        steps = step / np.sqrt(np.where(squares > 0, squares, 1.0)) * directions
        value = asked.subject.tensors[tensor]
        up, down = value + steps, value - steps
        rise = [asked.backend.to_numpy(losses(asked, tensor, side, "float64")) for side in (up, down)]
        width = np.sum((up - down) * directions, axis=axes)  # 2ε Σd²
        scale = np.divide(squares.reshape(-1), width, out=np.zeros_like(width), where=width != 0)
        slope: HostArray = (rise[0] - rise[1]) * scale
        return slope


class FivePoint(Central):
    """(4 D(ε) − D(2ε)) / 3 of central differences D, with ε‖d‖ = 1e-3: the error falls with ε⁴."""

    name = "five-point"
    step = FIVE_POINT_STEP

    def slopes(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        near, far = (self.difference(asked, tensor, directions, step) for step in (self.step, 2 * self.step))
        return (4 * near - far) / 3


def losses(asked: Asked, tensor: str, perturbed: HostArray, dtype: str) -> Array:
    """The loss of each copy; one that does not depend on the tensor is the same for all."""
    subject, backend = asked.subject, asked.backend
    if "loss" not in asked.memo:
        where = plain(backend)
        asked.memo["loss"] = subject.loss(Arithmetic(backend, stepped(backend)))
        asked.memo["tensors"] = {name: where.constant(v, "float64") for name, v in subject.tensors.items()}
    out = asked.memo["loss"]({**asked.memo["tensors"], tensor: backend.asarray(perturbed, dtype)})
    if out.shape == () and _independent(asked, out):
        out = backend.xp.broadcast_to(backend.xp.astype(out, getattr(backend.xp, dtype)), perturbed.shape[:1])
    if tuple(out.shape) != perturbed.shape[:1]:
        raise UserError(f"the loss must be one number per copy, {perturbed.shape[:1]}; got shape {tuple(out.shape)}")
    return out


def _independent(asked: Asked, loss: Array) -> bool:
    """Whether copies of a tensor left the loss as it is without them, to the bit; a sum over copies is another one."""
    whole = asked.memo["loss"](asked.memo["tensors"])
    return bool(loss.dtype == whole.dtype and loss == whole)
