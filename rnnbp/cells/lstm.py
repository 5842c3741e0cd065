"""Long short-term memory: one derivation for the whole family, whose members are options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnbp.cellbase import Cotangents, Data, Params, State
from rnnbp.cells.activations import activation
from rnnbp.cells.lstm_options import LSTMOptions
from rnnbp.numerics import Array, Namespace, detach
from rnnbp.pointwise import PointwiseBackward


@dataclass(frozen=True)
class LSTM(LSTMOptions):
    """Long short-term memory with forget gate (Gers, Schmidhuber & Cummins 2000) and its variants.

        i = σ(a_i + p_i ∘ c)      input gate              a_k = x W_k + h U_k + b_k
        f = σ(a_f + p_f ∘ c)      forget gate             p_k = 0 unless peepholes
        g = φ(a_g)                candidate               φ = ψ = tanh unless said
        c' = f ∘ c + i ∘ g        cell state
        o = σ(a_o + p_o ∘ c')     output gate: sees the new cell state
        h' = o ∘ ψ(c')

    Backward, with dh', dc' the errors that reach h' and c' from outside, and t = ψ(c'):

        da_o = dh' t o(1−o)                               through the output gate
        dc' += dh' o ψ'(c') + da_o p_o                    c' is also seen by the output and by o's peephole
        da_i = dc' g i(1−i)   da_f = dc' c f(1−f)   da_g = dc' i φ'(a_g)
        dc   = dc' f + da_i p_i + da_f p_f                the carousel, and the peepholes of i and f

    peepholes: diagonal (Gers & Schmidhuber 2000; Graves 2013, eq. 7–11). peephole_error=False: their weights learn, but
    no error passes them to c (Gers, Schraudolph & Schmidhuber 2002): the terms da_k p_k above are left out.
    without: gates that are 1 throughout, of i, f, o. coupled: f = 1 − i, so da_i = dc' (g − c) i(1−i), without a_f.
    input_activation φ, output_activation ψ: names of `cells.activations`. clip: bound of what enters σ and φ (ONNX).
    gate_recurrence: i, f and o are states, too, which U feeds to each other (Greff et al. 2017, FGR).

    Shapes: x (B, I), h and c (B, H), W (I, GH), U (H, GH), b (GH) in the order i, f, g, o less what is left out;
    pi, pf, po (H). The forget gate's bias starts at `forget_bias` (Józefowicz, Zaremba & Sutskever 2015).
    """

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        del e
        sigma, phi = (activation(name, self.clip) for name in ("sigmoid", self.input_activation))
        psi = activation(self.output_activation)
        (_, c, *_), operands = s, dict(zip(self.gates, a, strict=True))

        def gate(k: str, c: Array) -> tuple[Any, Any]:
            """σ(a_k + p_k ∘ c) with its backward; 1 where there is no such gate."""
            if k not in operands:
                return 1.0, None
            seen = c if self.peephole_error else detach(c)
            return sigma(xp, operands[k] + p[f"p{k}"] * seen if self.peepholes else operands[k])

        i, to_i = gate("i", c)  # [1]
        f, to_f = (1.0 - i, None) if self.coupled else gate("f", c)  # [2]
        g, to_g = phi(xp, operands["g"])  # [3]
        c1 = f * c + i * g  # [4]
        o, to_o = gate("o", c1)  # [5]
        t, to_c = psi(xp, c1)  # [6]
        h1 = o * t  # [7]
        shown = tuple({"i": i, "f": f, "o": o}[k] for k in self.sigmoids if self.gate_recurrence)
        seeing = self.sigmoids if self.peepholes and self.peephole_error else ()

        def backward(ds1: State) -> tuple[Cotangents, Cotangents, dict[str, Array]]:
            dh1, dc1, *fed = ds1  # with gate recurrence also the errors of the gates as states
            of = dict(zip(self.sigmoids, fed, strict=False))

            def back(k: str, to: Any, d: Array) -> Array:
                """The error of a_k, from the error d of the gate's value."""
                return None if to is None else to(d + of[k] if fed else d)

            do = back("o", to_o, dh1 * t)  # [7] [5]
            dc1 = dc1 + to_c(dh1 * o)  # [7] [6]
            dc1 = dc1 + do * p["po"] if "o" in seeing else dc1  # [5]
            di = back("i", to_i, dc1 * (g - c) if self.coupled else dc1 * g)  # [4] [2] [1]
            df = back("f", to_f, dc1 * c)  # [4] [2]
            dg = to_g(dc1 * i)  # [4] [3]
            dc = dc1 * f  # [4]
            for k, d in (("i", di), ("f", df)):
                dc = dc + d * p[f"p{k}"] if k in seeing else dc  # [2] [1]
            da = {k: d for k, d in {"i": di, "f": df, "g": dg, "o": do}.items() if k in operands}
            dp = {f"p{k}": da[k] * (c1 if k == "o" else c) for k in self.sigmoids if self.peepholes}  # [5] [2] [1]
            return tuple(da.values()), (None, dc, *(None for _ in fed)), dp

        return (h1, c1, *shown), backward
