"""A cell that breaks one rule of the contract at a time: for each check of the conformance suite, one it must find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

import rnnbp
from rnnbp.initializers import glorot_uniform, normal
from rnnbp.unrolling import unroll

# the check that must fail -> the fault
FAULTS = {
    "api-version": "another contract",
    "is-a-value": "an option that is a list",
    "initial-draws": "draws nan",
    "states-as-declared": "initial state in float64",
    "gradients-by-complex-step": "dU scaled by 1.001",
    "gradients-by-tangent": "dU scaled by 1.001",
    "gradients-unmasked": "wrong without a mask",
    "gradients-in-float32": "wrong in float32",
    "gradients-of-each-cotangent": "last states' error lost without the outputs'",
    "gradients-of-one-step": "wrong for T = 1",
    "gradients-of-one-sequence": "wrong for B = 1",
    "gradients-under-truncation": "window ignored",
    "zero-at-zero-cotangent": "dW = W at zero",
    "None-means-zero": "None not taken",
    "repeatable": "adds to the gradient of before",
    "linear-in-the-cotangent": "clipped",
    "inputs-untouched": "writes to the cotangent",
    "read-only-inputs": "writes to the cotangent",
    "non-contiguous-inputs": "reads the memory as it lies",
    "shapes-dtypes-devices": "shape lost",
    "finite-from-the-initial-state": "0 / 0 at zero",
    "forward-repeatable": "noise of its own",
    "fast-path-equals-loop": "wrong without a mask",
    "run-equals-scan": "another forward without a backward",
    "recomputed-scan-equals-scan": "noise of its own",
    "record-changes-nothing": "no record",
    "copies-equal-a-loop": "first axis summed",
    "windows-add-up": "window ignored",
    "masked-values-do-not-matter": "mask ignored",
    "resets-start-anew": "resets ignored",
    "reverse-turns-time": "reverse ignored",
    "dtype-carried": "float64 buffer",
    "device-carried": "float64 buffer",
    "standard-functions-only": "einsum",
    "complex-safe": "real part in the backward",
}


@dataclass(frozen=True)
class Misbehaving(rnnbp.Cell):
    """A tanh RNN, h' = tanh(x W + h U + b), right unless `fault` is one of `FAULTS`."""

    fault: str = ""
    option: Any = ()

    @property
    def api(self):
        return 2 if self.fault == "another contract" else 1

    @property
    def params(self):
        n_in, n = self.input_size, self.hidden_size
        specs = {"W": rnnbp.Param((n_in, n), glorot_uniform()), "U": rnnbp.Param((n, n), glorot_uniform())}
        return specs | {"b": rnnbp.Param((n,), normal(float("nan") if self.fault == "draws nan" else 0.5))}

    def initial_state(self, xp, batch, like):
        if self.fault == "initial state in float64":
            return (xp.zeros((batch, self.hidden_size), dtype=xp.float64),)
        return super().initial_state(xp, batch, like)

    def step(self, xp, p, x, s, e):
        del e
        (h,), fault = s, self.fault
        a = (xp.einsum("...bi,...ij->...bj", x, p["W"]) if fault == "einsum" else xp.matmul(x, p["W"])) + p["b"][
            ..., None, :
        ]
        a = a + xp.matmul(h, p["U"])
        if fault == "float64 buffer":
            a = a + xp.zeros((self.hidden_size,), dtype=xp.float64)
        if fault == "noise of its own":
            a = a + float(np.random.default_rng().standard_normal())
        h1 = xp.tanh(a)

        def backward(ds1):
            (dh1,) = ds1
            da = dh1 * (1 - h1 * h1)
            if fault == "real part in the backward":
                da = xp.real(da)
            dp = {"W": xp.matmul(xp.matrix_transpose(x), da), "U": xp.matmul(xp.matrix_transpose(h), da)}
            dp["b"] = xp.sum(da, axis=0 if fault == "first axis summed" else -2)
            if fault == "dU scaled by 1.001":
                dp["U"] = 1.001 * dp["U"]
            if fault == "0 / 0 at zero" and not xp.any(h != 0):
                dp["b"] = dp["b"] * float("nan")
            if fault == "shape lost":
                dp["b"] = dp["b"][None, ...]
            return dp, xp.matmul(da, xp.matrix_transpose(p["W"])), (xp.matmul(da, xp.matrix_transpose(p["U"])),)

        return (h1,), backward

    def scan(self, xp, p, xs, s0, **options):
        """The plain loop, spoiled."""
        fault, seen = self.fault, []
        if fault == "reads the memory as it lies" and is_numpy_array(xs):
            xs = np.ravel(xs, order="K").reshape(xs.shape)
        if fault.endswith(" ignored") and fault != "window ignored":
            name = fault.removesuffix(" ignored")
            options[name] = False if name == "reverse" else None
        if fault == "another forward without a backward" and not options["keep"]:
            xs = 1.001 * xs
        if fault == "no record":
            options["record"] = False
        ys, s_T, back = unroll(xp, self, p, xs, s0, **options)
        wrong = {
            "wrong without a mask": options["mask"] is None,
            "wrong in float32": xs.dtype == xp.float32,
            "wrong for T = 1": xs.shape[-3] == 1,
            "wrong for B = 1": xs.shape[-2] == 1,
        }.get(fault, False)

        def backward(dys=None, ds_T=None, window=None):
            if fault == "None not taken":
                dys = dys * 1.0
            if fault.startswith("last states' error lost") and (dys is None or not array_namespace(dys).any(dys != 0)):
                ds_T = None
            if fault == "writes to the cotangent":
                dys *= 1.0
                dys += 1.0
            dp, dxs, ds = back(dys, ds_T, None if fault == "window ignored" else window)
            space = array_namespace(dxs)
            if fault == "dW = W at zero" and not space.any(dys != 0):
                dp["W"] = p["W"]
            if fault == "clipped":
                dp = {n: space.clip(space.real(d), -1.0, 1.0) for n, d in dp.items()}
            if fault == "adds to the gradient of before":
                dp["b"] = dp["b"] + sum(seen)
                seen.append(dp["b"])
            return dp | ({"U": 1.001 * dp["U"]} if wrong else {}), dxs, ds

        if hasattr(back, "record"):
            backward.record = back.record
        return ys, s_T, backward


def misbehaving(fault: str) -> Misbehaving:
    return Misbehaving(4, 6, fault, [1] if fault == "an option that is a list" else ())
