"""The simple recurrent network of Elman."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rnnbp.cellbase import Cotangents, Data, Params, State
from rnnbp.errors import unknown
from rnnbp.numerics import Array, Namespace, relu, sigmoid
from rnnbp.pointwise import PointwiseBackward, PointwiseCell

Function = Callable[[Namespace, Array], Array]

# activation -> (φ(a), φ'(a) written with h = φ(a))
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "tanh": (lambda xp, a: xp.tanh(a), lambda _, h: 1 - h * h),
    "sigmoid": (sigmoid, lambda _, h: h * (1 - h)),
    "relu": (relu, lambda xp, h: xp.where(xp.real(h) > 0, xp.ones_like(h), xp.zeros_like(h))),
    "identity": (lambda _, a: a, lambda xp, h: xp.ones_like(h)),
}


@dataclass(frozen=True)
class Elman(PointwiseCell):
    """Simple recurrent network (Elman 1990).

        h' = φ(x W + h U + b)        φ: tanh, relu, sigmoid or identity

    Backward, with dh' the whole error of h':  da = dh' ∘ φ'(a), where φ' is 1 − h'², [h' > 0], h' (1 − h') or 1.
    Shapes: x (B, I), h (B, H), W (I, H), U (H, H), b (H).
    """

    activation: str = "tanh"

    gates = ("h",)
    source = "Elman 1990"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del s, p, e
        phi, slope = ACTIVATIONS[self.activation]
        h1 = phi(xp, a[0])  # [1]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            da = dh1 * slope(xp, h1)  # [1]
            return (da,), (None,), {}

        return (h1,), backward


def rnn(input_size: int, hidden_size: int, bias: bool = True) -> Elman:
    """The tanh Elman network: `torch.nn.RNN` with one bias."""
    return Elman(input_size, hidden_size, bias)
