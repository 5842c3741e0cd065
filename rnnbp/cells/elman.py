"""The simple recurrent network of Elman."""

from __future__ import annotations

from dataclasses import dataclass

from rnnbp.cellbase import Cotangents, Data, Params, State
from rnnbp.cells.activations import activation
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseBackward, PointwiseCell


@dataclass(frozen=True)
class Elman(PointwiseCell):
    """Simple recurrent network (Elman 1990).

        h' = φ(x W + h U + b)        φ: tanh, or as `activation` says

    Backward, with dh' the whole error of h':  da = dh' ∘ φ'(a), where φ' is 1 − h'² for tanh,
    [h' > 0] for relu, h' (1 − h') for sigmoid, 1 for identity.
    clip: bound of what enters φ, beyond which φ' is 0. Shapes: x (B, I), h (B, H), W (I, H), U (H, H), b (H).
    """

    activation: str = "tanh"
    clip: float | None = None

    gates = ("h",)
    source = "Elman 1990"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation, self.clip)  # or it says which there are

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del s, p, e
        h1, to_a = activation(self.activation, self.clip)(xp, a[0])  # [1]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            return (to_a(dh1),), (None,), {}  # [1]

        return (h1,), backward


def rnn(input_size: int, hidden_size: int, bias: bool = True) -> Elman:
    """The tanh Elman network: `torch.nn.RNN` with one bias."""
    return Elman(input_size, hidden_size, bias)
