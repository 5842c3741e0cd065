"""minGRU: a GRU whose gate and candidate do not see the state, so that the scan is parallel over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnbp import Array, Cotangents, Data, Namespace, Params, PointwiseBackward, PointwiseCell, State, sigmoid
from rnnbp_recent.functions import positive_candidate
from rnnbp_recent.parallel import parallel_scan


@dataclass(frozen=True)
class MinGRU(PointwiseCell):
    """Minimal GRU (Feng et al. 2024, arXiv 2410.01201, section 3.1), vanilla form; no U: no gate sees h.

        z = σ(a_z)                      update gate       a_k = x W_k + b_k
        n = a_n                         candidate; g(a_n) with positive=true, which keeps h positive
        h' = (1 − z) ∘ h + z ∘ n

    Backward:  da_z = dh' (n−h) z(1−z)    dn = dh' z    dh = dh' (1−z)
    Shapes: x (B, I), h (B, H), W (I, 2H), b (2H) in the order z, n.
    """

    positive: bool = False

    gates = ("z", "n")
    recurrent = ()
    memory_gates = {"z": -1}
    source = "Feng et al. 2024, arXiv 2410.01201"

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del p, e
        (az, an), (h,) = a, s
        z = sigmoid(xp, az)  # [1]
        n, candidate_backward = positive_candidate(xp, an) if self.positive else (an, lambda dn: dn)  # [2]
        h1 = (1 - z) * h + z * n  # [3]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            (dh1,) = ds1
            dz, dn = dh1 * (n - h) * z * (1 - z), candidate_backward(dh1 * z)  # [3] [1] [2]
            return (dz, dn), (dh1 * (1 - z),), {}  # [3]

        return (h1,), backward


@dataclass(frozen=True)
class ParallelMinGRU(MinGRU):
    """The same cell with a scan of its own, parallel over time."""

    def scan(self, xp: Namespace, p: Params, xs: Array, s0: State, **options: Any) -> Any:
        return parallel_scan(self, xp, p, xs, s0, **options)


def mingru(
    input_size: int, hidden_size: int, parallel: bool = True, positive: bool = False, bias: bool = True
) -> MinGRU:
    """The minGRU, parallel over time or, for kernels that are generated from the cell, step by step."""
    return (ParallelMinGRU if parallel else MinGRU)(input_size, hidden_size, bias, positive)
