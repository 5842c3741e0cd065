"""The method of complex steps, and what takes its place where a forward drops the imaginary part."""

from __future__ import annotations

import numpy as np

from rnnbp.checking.methods.differences import COMPLEX_STEP, FivePoint, Perturbed, losses
from rnnbp.checking.methods.numeric import MOST_COPIES, Asked, NumericMethod
from rnnbp.checking.methods.shared import SharingSpace, shared
from rnnbp.checking.methods.steps import stepped
from rnnbp.checking.methods.tangents import Tangents
from rnnbp.checking.operands.arithmetic import Arithmetic
from rnnbp.checking.operands.space import bare
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

SHARED_FROM = 1024  # entries; copies of a smaller matrix are made faster than operands
SAME_TANGENT, SAME_DIFFERENCE = 1e-8, 1e-4  # what rounding, or a kink nearby, may make of one slope


class ImaginaryPartLost(UserError):
    """The loss of a complex step came back real: of this dtype."""

    def __init__(self, dtype: object) -> None:
        super().__init__(
            f"a complex step needs a forward that stays complex; the loss came back {dtype}: something on "
            "the way (abs, a norm, a float buffer) drops the imaginary part: rewrite it, or use method tangent"
        )


class ComplexStep(Perturbed):
    """Im L(v + ih d) / h: exact to rounding (Squire & Trapp 1998). `detach` takes the real part."""

    name = "complex-step"

    def slopes(self, asked: Asked, tensor: str, directions: HostArray) -> HostArray:
        perturbed = asked.subject.tensors[tensor] + 1j * COMPLEX_STEP * directions
        return self._of(asked, losses(asked, tensor, perturbed, "complex128"))

    def entries(self, asked: Asked, tensor: str) -> HostArray:
        """Copies of a large matrix share it (see `shared`), where the forward takes operands in place of arrays."""
        value = asked.subject.tensors[tensor]
        if value.ndim != 2 or value.size < SHARED_FROM:
            return super().entries(asked, tensor)
        try:
            shared_losses(asked, tensor, np.arange(1))
        except Exception:  # of whatever kind: copies as arrays then work, or raise what is to be said
            return super().entries(asked, tensor)
        found, copies = np.zeros(value.size), max(1, min(asked.memory // (16 * asked.subject.work), MOST_COPIES))
        for first in range(0, value.size, copies):
            entries = np.arange(first, min(first + copies, value.size))
            found[entries] = self._of(asked, shared_losses(asked, tensor, entries))
            asked.advance(len(entries))
        return found.reshape(value.shape)

    def _of(self, asked: Asked, loss: Array) -> HostArray:
        """The slopes that losses carry."""
        xp = asked.backend.xp
        if not xp.isdtype(loss.dtype, "complex floating"):
            raise ImaginaryPartLost(loss.dtype)
        slope: HostArray = asked.backend.to_numpy(xp.imag(loss)) / COMPLEX_STEP
        return slope

    def instead(self, asked: Asked, tensor: str) -> tuple[NumericMethod, str] | None:
        """Tangents, or five-point differences where a function has no rule, if along one direction they differ.

        Where a forward drops the imaginary part its real part is still right, and these look at nothing else.
        """
        direction = np.random.default_rng(asked.seed).choice([-1.0, 1.0], (1, *asked.subject.tensors[tensor].shape))
        other: NumericMethod = Tangents()
        try:
            (sure,) = other.along(asked, tensor, direction)
            doubt = SAME_TANGENT
        except UserError:  # a function without a rule, or that takes arrays alone
            other = FivePoint()
            (sure,) = other.along(asked, tensor, direction)
            doubt = SAME_DIFFERENCE
        try:
            (complex_slope,) = self.along(asked, tensor, direction)
            lost = False
        except ImaginaryPartLost:
            complex_slope, lost = 0.0, True
        if not lost and not abs(complex_slope - sure) > doubt * max(abs(complex_slope), abs(sure)):
            return None
        said = f"complex steps give {complex_slope:.6g} along one direction of {tensor}, method {other.name} {sure:.6g}"
        return other, f"{said}, which is used: something (abs, a norm, a float buffer) drops the imaginary part"


def shared_losses(asked: Asked, tensor: str, entries: HostArray) -> Array:
    """The loss for a complex step in each of these entries of a matrix."""
    subject, backend = asked.subject, asked.backend
    if "shared" not in asked.memo:
        space = SharingSpace(stepped(backend))
        tensors = {n: space.constant(backend.asarray(v, "float64")) for n, v in subject.tensors.items()}
        asked.memo["shared"] = space, subject.loss(Arithmetic(backend, space)), tensors
    space, loss, tensors = asked.memo["shared"]
    perturbed = shared(space, backend, subject.tensors[tensor], entries, COMPLEX_STEP)
    return bare(loss({**tensors, tensor: perturbed}))
