"""A tanh network written out by hand, plain and with dropout of the recurrent state, with the faults of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rnnbp.cellbase import Cotangents, Data, Params, State
from rnnbp.checking.selftest.planting import LOOP_PLACES, FaultyBackward, FaultyCell
from rnnbp.numerics import Array, Namespace


@dataclass(frozen=True)
class FaultyRNN(FaultyCell):
    """h' = tanh(x W + h U + b), as `rnnbp.cells.elman` has it, with a backward of its own.

    Shapes: x (B, I), h (B, H), W (I, H), U (H, H), b (H).
    """

    gates: ClassVar[tuple[str, ...]] = ("h",)
    places = LOOP_PLACES | dict.fromkeys(("tanh-prime-missing", "tanh-prime-twice", "tanh-prime-of-activated"), ("h",))

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        del e
        (h,) = s
        h1 = xp.tanh(xp.matmul(x, p["W"]) + xp.matmul(h, p["U"]) + p["b"][..., None, :])  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            da = dh1 * self.tanh_slope(xp, "h", h1)
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), da),
                "U": xp.matmul(xp.matrix_transpose(seen), da),
                "b": self.bias_gradient(xp, da),
            }
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (self.back_to_h(xp, da, p["U"]),)

        return (h1,), backward


@dataclass(frozen=True)
class FaultyDropoutRNN(FaultyCell):
    """h' = tanh(x W + (h ∘ m) U + b), where the mask m comes with the step's data.

    Shapes: x (B, I), h and m (B, H), W (I, H), U (H, H), b (H).
    """

    gates: ClassVar[tuple[str, ...]] = ("h",)
    places = {**FaultyRNN.places, "mask-missing": ("dU", "dh")}

    @property
    def data(self) -> dict[str, tuple[int, ...]]:
        return {"m": (self.hidden_size,)}

    def step(self, xp: Namespace, p: Params, x: Array, s: State, e: Data) -> tuple[State, FaultyBackward]:
        (h,), m = s, e["m"]
        h1 = xp.tanh(xp.matmul(x, p["W"]) + xp.matmul(h * m, p["U"]) + p["b"][..., None, :])  # (..., B, H)

        def backward(ds1: State, seen: Array = h) -> tuple[dict[str, Any], Any, Cotangents]:
            (dh1,) = ds1
            da = dh1 * self.tanh_slope(xp, "h", h1)
            kept = seen * m
            if self.has("mask-missing:dU"):
                kept = seen
            dp = {
                "W": xp.matmul(xp.matrix_transpose(x), da),
                "U": xp.matmul(xp.matrix_transpose(kept), da),
                "b": self.bias_gradient(xp, da),
            }
            dh = self.back_to_h(xp, da, p["U"]) * m
            if self.has("mask-missing:dh"):
                dh = self.back_to_h(xp, da, p["U"])
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (dh,)

        return (h1,), backward
