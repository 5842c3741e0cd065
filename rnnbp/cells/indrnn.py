"""The independently recurrent network: each unit feeds back to itself alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnbp.cellbase import Cotangents, Data, Param, Params, State
from rnnbp.cells.activations import ACTIVATIONS, activation
from rnnbp.errors import UserError
from rnnbp.initializers import uniform
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class IndRNN(PointwiseCell):
    """Independently recurrent network (Li et al. 2018, section 3).

        h' = φ(a + u ∘ h)        a = x W + b        φ: relu, or as `activation` says

    Backward, with dh' the whole error of h':  da = dh' ∘ φ'    dh = da u    du = da h
    So an error is multiplied by u φ' at each step and by nothing else: with φ = relu it lives where |u| is near 1.
    Shapes: x (B, I), h (B, H), W (I, H), b (H), u (H); there is no U, hence no gate to cut.
    u starts uniform between `u_min` and `u_max`: 0 to 1 (the authors' choice for relu; the paper bounds it by γ^(1/T)
    for T steps and an error that may grow γ-fold). A last layer that only has to remember starts near 1.
    """

    activation: str = "relu"
    u_min: float = 0.0
    u_max: float = 1.0

    source = "Li et al. 2018, arXiv 1803.04831"
    gates = ("h",)
    recurrent = ()
    cut: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)  # or it says which there are
        if not self.u_min <= self.u_max:
            raise UserError(f"u starts between u_min and u_max; got u_min={self.u_min} above u_max={self.u_max}")

    @property
    def elementwise(self) -> dict[str, Param]:
        return {"u": Param((self.hidden_size,), uniform(self.u_min, self.u_max))}

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del e
        (h,), u = s, p["u"]
        phi, slope = ACTIVATIONS[self.activation]
        h1 = phi(xp, a[0] + u * h)  # [1]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            da = dh1 * slope(xp, h1)  # [1]
            return (da,), (da * u,), {"u": da * h}  # [1]

        return (h1,), backward
