"""minLSTM: an LSTM whose gates do not see the state and add up to one, so that the scan is parallel over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnbp import Array, Cotangents, Data, Namespace, Params, PointwiseBackward, PointwiseCell, State, sigmoid
from rnnbp_recent.functions import log_sigmoid, positive_candidate
from rnnbp_recent.parallel import parallel_scan


@dataclass(frozen=True)
class MinLSTM(PointwiseCell):
    """Minimal LSTM (Feng et al. 2024, arXiv 2410.01201, section 3.2), vanilla form; no U: no gate sees h.

        f = σ(a_f)    i = σ(a_i)        gates             a_k = x W_k + b_k
        k = f / (f + i)                 the share that is kept: what h weighs does not depend on the length
        n = a_n                         candidate; g(a_n) with positive=true, which keeps h positive
        h' = k ∘ h + (1 − k) ∘ n        1 − k = i / (f + i)

    k is written σ(log f − log i), which is the same, and where both gates underflow it is not 0 / 0.

    Backward:  dr = dh' (h−n) k(1−k)    da_f = dr (1−f)    da_i = −dr (1−i)    dn = dh' (1−k)    dh = dh' k
    Shapes: x (B, I), h (B, H), W (I, 3H), b (3H) in the order f, i, n.
    """

    positive: bool = False

    gates = ("f", "i", "n")
    recurrent = ()
    memory_gates = {"f": 1, "i": -1}
    source = "Feng et al. 2024, arXiv 2410.01201"

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del p, e
        (af, ai, an), (h,) = a, s
        f, i = sigmoid(xp, af), sigmoid(xp, ai)
        k = sigmoid(xp, log_sigmoid(xp, af) - log_sigmoid(xp, ai))  # [1]
        n, candidate_backward = positive_candidate(xp, an) if self.positive else (an, lambda dn: dn)  # [2]
        h1 = k * h + (1 - k) * n  # [3]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dr = dh1 * (h - n) * k * (1 - k)  # [3] [1]
            df, di, dn = dr * (1 - f), -dr * (1 - i), candidate_backward(dh1 * (1 - k))  # [1] [3] [2]
            return (df, di, dn), (dh1 * k,), {}  # [3]

        return (h1,), backward


@dataclass(frozen=True)
class ParallelMinLSTM(MinLSTM):
    """The same cell with a scan of its own, parallel over time."""

    def scan(self, xp: Namespace, p: Params, xs: Array, s0: State, **options: Any) -> Any:
        return parallel_scan(self, xp, p, xs, s0, **options)


def minlstm(
    input_size: int, hidden_size: int, parallel: bool = True, positive: bool = False, bias: bool = True
) -> MinLSTM:
    """The minLSTM, parallel over time or, for kernels that are generated from the cell, step by step."""
    return (ParallelMinLSTM if parallel else MinLSTM)(input_size, hidden_size, bias, positive)
