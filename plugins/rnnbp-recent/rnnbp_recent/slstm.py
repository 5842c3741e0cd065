"""sLSTM: an LSTM with an exponential input gate, a normaliser and a stabiliser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp import (
    Array,
    Cotangents,
    Data,
    Namespace,
    Params,
    PointwiseBackward,
    PointwiseCell,
    State,
    UserError,
    sigmoid,
)
from rnnbp_recent.functions import log_sigmoid

NO_WEIGHT = -1e4  # m before the first step: exp of it is 0 in every precision, and even float16 holds it


@dataclass(frozen=True)
class SLSTM(PointwiseCell):
    """Scalar LSTM of xLSTM (Beck et al. 2024, arXiv 2405.04517, eq. 8–17), one head, without the block around it.

        w = m + log σ(a_f)              the old memory's log weight; m + a_f with forget=exp
        m' = max(w, a_i)                stabiliser: the larger log weight
        f = exp(w − m')                 forget gate       a_k = x W_k + h U_k + b_k
        i = exp(a_i − m')               input gate        of f and i, one is 1 and the other no larger
        z = tanh(a_z)                   cell input
        c' = f ∘ c + i ∘ z              cell state
        n' = f ∘ n + i                  normaliser: the sum of all weights
        o = σ(a_o)                      output gate
        h' = o ∘ q    q = c' / n'

    Multiplying c and n by e^δ and lowering m by δ leaves every h as it is: m only keeps exp from overflowing. Still
    the c', n' and m' that the step returns depend on it, so errors flow through m', the maximum like a ReLU's kink.

    Backward, with dh' … dm' the errors that reach the new states from outside:

        da_o = dh' q o(1−o)    dc' += dh' o / n'    dn' −= dh' o q / n'
        d_f = (dc' c + dn' n) f    d_i = (dc' z + dn') i      through the exponents w − m' and a_i − m'
        w larger:    dw = dm' − d_i    da_i = d_i             f is 1 whatever w is, and m' is w
        a_i larger:  dw = d_f          da_i = dm' − d_f       i is 1 whatever a_i is, and m' is a_i
        da_f = dw (1−σ(a_f))    da_z = dc' i (1−z²)    dc = dc' f    dn = dn' f    dm = dw

    Shapes: x (B, I); h, c, n, m (B, H); W (I, 4H), U (H, 4H), b (4H) in the order i, f, z, o.
    forget: "sigmoid" or "exp" (eq. 13 allows both). σ is what the authors' own code has; with exp the log weight m can
    grow at every step, and the differences between large m that make f and i are less and less exact.
    forget_bias: what b_f starts at. Before the first step n = 1 with log weight m = −10⁴: as in the paper, the first
    step forgets all of it (f = 0), yet n is never 0, and no state is infinite, so nothing can be NaN.
    """

    forget: str = "sigmoid"
    forget_bias: float = 1.0

    gates = ("i", "f", "z", "o")
    memory_gates = {"f": 1, "i": -1}
    source = "Beck et al. 2024, arXiv 2405.04517"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forget not in ("sigmoid", "exp"):
            raise UserError(f"forget must be sigmoid or exp; got {self.forget!r}")
        if not self.bias and self.forget_bias != 1:
            raise UserError(f"forget_bias is where a bias starts; got {self.forget_bias} with bias=false: leave it out")

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {name: (self.hidden_size,) for name in ("h", "c", "n", "m")}

    def gate_bias(self, gate: str) -> float:
        return self.forget_bias if gate == "f" else 0.0

    def initial_state(self, xp: Namespace, batch: int, like: Array) -> State:
        h, c, n, m = super().initial_state(xp, batch, like)
        return h, c, n + 1, m + NO_WEIGHT

    def random_state(self, rng: np.random.Generator, batch: int) -> tuple[Any, ...]:
        h, c, n, m = super().random_state(rng, batch)
        return h, c, 0.5 + n * n, m

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del p, e
        (ai, af, az, ao), (_, c, n, m) = a, s
        w = m + (log_sigmoid(xp, af) if self.forget == "sigmoid" else af)  # [1]
        kept = xp.real(w) > xp.real(ai)
        m1 = xp.where(kept, w, ai)  # [2]
        f, i = xp.exp(w - m1), xp.exp(ai - m1)  # [3]
        z, o = xp.tanh(az), sigmoid(xp, ao)  # [4]
        c1, n1 = f * c + i * z, f * n + i  # [5]
        q = c1 / n1  # [6]
        h1 = o * q  # [7]

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            dh1, dc1, dn1, dm1 = ds1
            do, dq = dh1 * q * o * (1 - o), dh1 * o / n1  # [7] [4]
            dc1, dn1 = dc1 + dq, dn1 - dq * q  # [6]
            dz = dc1 * i * (1 - z * z)  # [5] [4]
            of_f, of_i = (dc1 * c + dn1 * n) * f, (dc1 * z + dn1) * i  # [5] [3]
            dw, di = xp.where(kept, dm1 - of_i, of_f), xp.where(kept, of_i, dm1 - of_f)  # [3] [2]
            df = dw * (1 - sigmoid(xp, af)) if self.forget == "sigmoid" else dw  # [1]
            return (di, df, dz, do), (None, dc1 * f, dn1 * f, dw), {}  # [5] [1]

        return (h1, c1, n1, m1), backward
