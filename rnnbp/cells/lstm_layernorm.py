"""Long short-term memory with layer normalisation, and layer normalisation with its backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbp.cellbase import Cell, Cotangents, Data, Param, Params, State, StepBackward
from rnnbp.errors import UserError
from rnnbp.initializers import constant, glorot_uniform
from rnnbp.numerics import Array, Namespace, chunks, matmul, sigmoid

NormBackward = Callable[[Array], tuple[Array, Array, Array]]  # dy -> dz, dα, dβ


def layer_norm(xp: Namespace, z: Array, alpha: Array, beta: Array, eps: float) -> tuple[Array, NormBackward]:
    """Layer normalisation over the last axis, z (..., B, D), with gain α and bias β (..., D) (Ba et al. 2016, eq. 3).

        m = z − mean(z)    r = 1 / √(mean(m²) + ε)    n = m r    y = α ∘ n + β

    Backward. With dn = α ∘ dy, and q = mean(dn ∘ n):

        dr = Σ dn ∘ m = D q / r                   r scales all of m
        dm = dn r − dr r³ m / D = r (dn − q n)    for ∂r/∂m = −r³ m / D
        dz = dm − mean(dm) = r (dn − mean(dn) − q n)              for n has mean zero
        dα = Σ dy ∘ n    dβ = Σ dy                over the batch
    """
    size = z.shape[-1]

    def mean(v: Array) -> Array:
        return xp.sum(v, axis=-1, keepdims=True) / size  # xp.mean takes no complex numbers

    m = z - mean(z)  # [1]
    r = 1 / xp.sqrt(mean(m * m) + eps)  # [2]
    n = m * r  # [3]
    y = alpha[..., None, :] * n + beta[..., None, :]  # [4]

    def backward(dy: Array) -> tuple[Array, Array, Array]:
        dn = dy * alpha[..., None, :]  # [4]
        dz = r * (dn - mean(dn) - mean(dn * n) * n)  # [3] [2] [1]
        return dz, xp.sum(dy * n, axis=-2), xp.sum(dy, axis=-2)  # [4]

    return y, backward


@dataclass(frozen=True)
class LayerNormLSTM(Cell):
    """Long short-term memory with layer normalisation (Ba, Kiros & Hinton 2016, supplement, eq. 20–22).

        a = LN(x W; α_x, β_x) + LN(h U; α_h, β_h) + b     each over all 4H numbers
        i = σ(a_i)    f = σ(a_f)    g = tanh(a_g)    o = σ(a_o)
        c' = f ∘ c + i ∘ g
        t = tanh(LN(c'; α_c, β_c))
        h' = o ∘ t

    Backward, where LNᵀ is the backward of `layer_norm`:
        da_o = dh' t o(1−o)    dc' += LNᵀ(dh' o (1−t²))
        da_i = dc' g i(1−i)    da_f = dc' c f(1−f)    da_g = dc' i (1−g²)
        dx = LNᵀ(da) Wᵀ    dh = LNᵀ(da) Uᵀ    dc = dc' f
    It reduces within the step, so it is not pointwise.
    Shapes: x (B, I), h and c (B, H), W (I, 4H), U (H, 4H) and b, alpha_x, beta_x, alpha_h, beta_h (4H) in the order
    i, f, g, o; alpha_c, beta_c (H). Gains start at 1 and biases at 0, but that of f in b at `forget_bias`.
    ε > 0 keeps LN finite where all is equal, as h U is where h = 0.
    """

    eps: float = 1e-5
    forget_bias: float = 1.0

    source = "Ba, Kiros & Hinton 2016, arXiv 1607.06450"
    memory_gates = {"i": -1, "f": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.eps > 0:
            raise UserError(f"eps must be above 0, for the variance of h U is 0 where h = 0; got {self.eps}")

    @property
    def states(self) -> dict[str, tuple[int, ...]]:
        return {"h": (self.hidden_size,), "c": (self.hidden_size,)}

    @property
    def params(self) -> dict[str, Param]:
        n = self.hidden_size
        specs = {"W": Param((self.input_size, 4 * n), glorot_uniform(4)), "U": Param((n, 4 * n), glorot_uniform(4))}
        specs |= {"b": Param((4 * n,), constant(0.0, self.forget_bias, 0.0, 0.0))}
        for of, width in {"x": 4 * n, "h": 4 * n, "c": n}.items():
            specs |= {f"alpha_{of}": Param((width,), constant(1.0)), f"beta_{of}": Param((width,), constant(0.0))}
        return specs

    @property
    def blocks(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("W", "U", "b"), ("i", "f", "g", "o"))

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, StepBackward]:
        del e
        h, c = s

        def norm(of: str, z: Array) -> tuple[Array, NormBackward]:
            return layer_norm(xp, z, p[f"alpha_{of}"], p[f"beta_{of}"], self.eps)

        ax, norm_x = norm("x", matmul(xp, x, p["W"]))  # [1]
        ah, norm_h = norm("h", matmul(xp, h, p["U"]))  # [2]
        ai, af, ag, ao = chunks(ax + ah + p["b"][..., None, :], 4)  # [3]
        i, f, g, o = sigmoid(xp, ai), sigmoid(xp, af), xp.tanh(ag), sigmoid(xp, ao)  # [4]
        c1 = f * c + i * g  # [5]
        v, norm_c = norm("c", c1)  # [6]
        t = xp.tanh(v)  # [7]
        h1 = o * t  # [8]

        def backward(ds1: State) -> tuple[dict[str, Any], Any, Cotangents]:
            dh1, dc1 = ds1
            do = dh1 * t * o * (1 - o)  # [8] [4]
            of_c, dalpha_c, dbeta_c = norm_c(dh1 * o * (1 - t * t))  # [8] [7] [6]
            dc1 = dc1 + of_c  # [6]
            di, df, dg = dc1 * g * i * (1 - i), dc1 * c * f * (1 - f), dc1 * i * (1 - g * g)  # [5] [4]
            da = xp.concat([di, df, dg, do], axis=-1)
            dxW, dalpha_x, dbeta_x = norm_x(da)  # [3] [1]
            dhU, dalpha_h, dbeta_h = norm_h(da)  # [3] [2]
            dp = {"W": xp.matmul(xp.matrix_transpose(x), dxW), "U": xp.matmul(xp.matrix_transpose(h), dhU)}  # [1] [2]
            dp |= {"b": xp.sum(da, axis=-2), "alpha_x": dalpha_x, "beta_x": dbeta_x}
            dp |= {"alpha_h": dalpha_h, "beta_h": dbeta_h, "alpha_c": dalpha_c, "beta_c": dbeta_c}
            dp |= {"da_i": di, "da_f": df, "da_g": dg, "da_o": do}  # for the record
            dx, dh = (matmul(xp, d, xp.matrix_transpose(p[w])) for d, w in ((dxW, "W"), (dhU, "U")))  # [1] [2]
            return dp, dx, (dh, dc1 * f)  # [5]

        return (h1, c1), backward
