"""LSTM, GRU and the LSTM with peepholes on CuPy against torch.nn on the same GPU; one JSON line for each case.

Both start from the same numbers; outputs and the gradient of the inputs are compared before anything is timed. Then
forward, and forward + backward, are timed in turn with device events. Run by benchmarks/gpu.py.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rnnbp

SIZES = [(1024, 16, 768), (512, 64, 1024), (100, 128, 512)]  # T, B, H = I
CELLS = {"lstm": "LSTM", "gru": "GRU", "lstm:peepholes=true": None}  # what torch has of it
# mode -> (dtype, TF32, how far apart results may be, as ‖a−b‖/(‖a‖+‖b‖)): 16 spacings of what goes into a product; in
# strict float32, where sums are the larger part, 128
MODES = {
    "fp32": ("float32", False, 128 * 2.0**-23),
    "fp32, TF32": ("float32", True, 16 * 2.0**-10),
    "bf16": ("bfloat16", False, 16 * 2.0**-7),
    "fp16": ("float16", False, 16 * 2.0**-10),
}
SECONDS = 1.2  # for the rounds of one case
PLAIN = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False}


def drawn(cell: rnnbp.Cell, steps: int, batch: int) -> dict[str, np.ndarray]:
    """Parameters, inputs and cotangents on the host, in float32."""
    rng = np.random.default_rng(0)
    found = {name: p.astype("float32") for name, p in cell.init(rng).items()}
    found["xs"] = rng.standard_normal((steps, batch, cell.input_size), dtype="float32")
    found["dys"] = rng.standard_normal((steps, batch, cell.hidden_size), dtype="float32")
    return found


def ours(cell: rnnbp.Cell, q: dict[str, np.ndarray], dtype: str, tf32: bool) -> dict[str, Callable[[], Any]]:
    """Forward alone, and forward + backward: outputs and dxs."""
    import cupy
    from cupy._core import _routines_linalg as linalg

    linalg.set_compute_type("float32", linalg.COMPUTE_TYPE_TF32 if tf32 else linalg.COMPUTE_TYPE_DEFAULT)
    backend = rnnbp.backend("cupy")
    if dtype == "bfloat16":
        from ml_dtypes import bfloat16 as dtype  # type: ignore[no-redef]
    there = {name: cupy.asarray(a.astype(dtype)) for name, a in q.items()}
    xs, dys = there.pop("xs"), there.pop("dys")
    s0 = cell.initial_state(backend.xp, xs.shape[1], xs)

    def forward() -> Any:
        return backend.scan(cell, there, xs, s0, **PLAIN, keep=False)[0]

    def both() -> Any:
        ys, _, backward = backend.scan(cell, there, xs, s0, **PLAIN, keep=True)
        return ys, backward(dys)[1]

    return {"forward": forward, "both": both}


def theirs(kind: str, q: dict[str, np.ndarray], dtype: str, tf32: bool) -> dict[str, Callable[[], Any]]:
    """The same in torch, weights and biases in its layout: the same order of gates, transposed."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    there = {name: torch.tensor(a).to("cuda", getattr(torch, dtype)) for name, a in q.items()}
    xs, dys = there["xs"].requires_grad_(), there["dys"]
    layer = getattr(torch.nn, kind)(xs.shape[2], dys.shape[2]).to("cuda", getattr(torch, dtype))
    with torch.no_grad():
        layer.weight_ih_l0.copy_(there["W"].T)
        layer.weight_hh_l0.copy_(there["U"].T)
        layer.bias_ih_l0.copy_(there["b"])
        layer.bias_hh_l0.zero_()
        if kind == "GRU":
            layer.bias_hh_l0[2 * dys.shape[2] :].copy_(there["bu"])
    layer.flatten_parameters()

    def forward() -> Any:
        with torch.no_grad():
            return layer(xs)[0]

    def both() -> Any:
        ys = layer(xs)[0]
        return ys, torch.autograd.grad(ys, [xs, *layer.parameters()], dys)[0]

    return {"forward": forward, "both": both}


def host(a: Any) -> np.ndarray:
    """An array of CuPy or torch as float64 on the host."""
    if hasattr(a, "detach"):
        return np.asarray(a.detach().float().cpu().numpy(), "float64")
    return np.asarray(a.astype("float32").get(), "float64")


def apart(found: Any, expected: Any) -> float:
    """The largest ‖a−b‖/(‖a‖+‖b‖) of pairs of arrays; infinite where one is not finite."""
    errors = []
    for a, b in zip(map(host, found), map(host, expected), strict=True):
        error = float(np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b)))
        errors.append(error if np.isfinite(error) else 1.0)
    return max(errors)


def rounds(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, the calls in turn, at least three rounds after two to warm up."""
    backend = rnnbp.backend("cupy")
    for call in [*calls.values()] * 2:
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, taken.values())) < 3:
        for name, call in calls.items():
            taken[name].append(1e3 * backend.seconds(call))
    return taken


def case(name: str, size: tuple[int, int, int], mode: str) -> dict[str, Any]:
    """One line of the table."""
    (steps, batch, n), (dtype, tf32, limit) = size, MODES[mode]
    cell = rnnbp.cell(name, n, n)
    q = drawn(cell, steps, batch)
    mine = ours(cell, q, dtype, tf32)
    kind = CELLS[name]
    peer = theirs(kind, q, dtype, tf32) if kind else {}
    if kind:
        error = apart(mine["both"](), peer["both"]())
    else:  # no library has it: held to our own float32, which the tests hold to the reference
        error = apart(mine["both"](), ours(cell, q, "float32", False)["both"]())
        mine = ours(cell, q, dtype, tf32)
    taken = rounds({f"ours {k}": f for k, f in mine.items()} | {f"torch {k}": f for k, f in peer.items()}, SECONDS)
    best = {who: min(ms) for who, ms in taken.items()}
    middle = {who: statistics.median(ms) for who, ms in taken.items()}
    line = {"part": "timings", "cell": name, "size": list(size), "mode": mode, "apart": error, "limit": limit}
    line |= {"equal": error <= limit, "rounds": len(taken["ours both"])}
    line |= {"ours_ms": {k: best[f"ours {k}"] for k in mine}, "medians_ms": middle}
    return line | {"torch_ms": {k: best[f"torch {k}"] for k in peer} or None}


def main() -> None:
    for mode in ("bf16", "fp32, TF32", "fp32", "fp16"):
        for size in SIZES:
            for name in CELLS:
                try:
                    line = case(name, size, mode)
                except Exception as error:  # recorded, and the next case tried
                    told = f"{type(error).__name__}: {error}"
                    line = {"part": "timings", "cell": name, "size": list(size), "mode": mode, "failed": told}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
