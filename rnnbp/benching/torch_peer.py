"""The peer: torch.nn.LSTM, GRU or RNN with the same weights. torch is imported when one is built.

torch writes x Wᵀ + b_ih + h Uᵀ + b_hh, with the gates in this package's order (i, f, g, o and r, z, n). Our b is b_ih;
b_hh is zero but for the GRU's third part, which the reset gate multiplies: our bu.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from rnnbp.backends import Backend, backend
from rnnbp.benching.contenders import BOTH, FORWARD, Contender
from rnnbp.benching.plans import on_gpu
from rnnbp.benching.problems import Problem
from rnnbp.cells.elman import Elman
from rnnbp.cells.gru import GRU
from rnnbp.cells.lstm import LSTM
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray


def layer_of(cell: Any) -> tuple[str, dict[str, Any]] | None:
    """The class in torch.nn that computes the same as a cell, and its options; None where there is none."""
    if type(cell) is LSTM and not cell.peepholes:
        return "LSTM", {}
    if type(cell) is GRU:
        return "GRU", {}
    if type(cell) is Elman and cell.activation in ("tanh", "relu"):
        return "RNN", {"nonlinearity": cell.activation}
    return None


def device_beside(ours: Backend) -> Backend:
    """The torch backend on the kind of device that a backend computes on: a GPU is compared with a GPU."""
    if not on_gpu(ours):
        return backend("torch", "cpu")
    number = (ours.device or ours.devices()[0]).partition(":")[2]
    try:
        return backend("torch", f"cuda:{number or 0}")
    except UserError as error:
        raise UserError(f"backend {ours.name} is on a GPU and the peer cannot follow: {error}") from None


@contextmanager
def like_with_like(threads: int | None) -> Iterator[None]:
    """For a while torch takes as many threads as the others, and full float32 products (no TF32), as they do."""
    import torch

    cudnn, before = torch.backends.cudnn, (torch.get_num_threads(), torch.backends.cudnn.allow_tf32)
    torch.set_num_threads(threads or before[0])
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.allow_tf32 = before[1]


def torch_peer(problem: Problem, on: Backend) -> Contender:
    """torch.nn's layer on a device of the torch backend, with the problem's weights, input and cotangents."""
    import torch

    found = layer_of(problem.cell)
    if found is None:
        raise UserError(f"torch.nn has no layer like {type(problem.cell).__name__}: time it alone")
    kind, options = found
    size, dtype = problem.size, problem.xs.dtype.name
    layer = getattr(torch.nn, kind)(size.input_size, size.hidden_size, bias=problem.cell.bias, **options)
    layer = layer.to(device=on.device or "cpu", dtype=getattr(torch, dtype))
    with torch.no_grad():
        for name, value in to_torch(problem.params).items():
            getattr(layer, f"{name}_l0").copy_(on.asarray(value))
    names = [name.removesuffix("_l0") for name, _ in layer.named_parameters()]
    xs, dys = on.asarray(problem.xs, dtype).requires_grad_(), on.asarray(problem.dys, dtype)

    def forward() -> Any:
        with torch.no_grad():
            return layer(xs)

    def both() -> Any:
        ys, _ = layer(xs)
        return ys, torch.autograd.grad(ys, [xs, *layer.parameters()], dys)

    def answers() -> dict[str, HostArray]:
        ys, (dxs, *grads) = both()
        found = {name: on.to_numpy(d) for name, d in zip(names, grads, strict=True)}
        return {"Y": on.to_numpy(ys), "dX": on.to_numpy(dxs), **from_torch(found, problem.params)}

    return Contender(f"torch.nn.{kind}", on, {FORWARD: forward, BOTH: both}, answers)


def to_torch(params: dict[str, HostArray]) -> dict[str, HostArray]:
    """Our parameters by torch's names, in torch's layout."""
    named = {"weight_ih": params["W"].T, "weight_hh": params["U"].T}
    if "b" in params:
        b_hh = np.zeros_like(params["b"])
        if "bu" in params:
            b_hh[-len(params["bu"]) :] = params["bu"]
        named |= {"bias_ih": params["b"], "bias_hh": b_hh}
    return named


def from_torch(grads: dict[str, HostArray], params: dict[str, HostArray]) -> dict[str, HostArray]:
    """The gradients by our names, each with d before it, in our layout."""
    named = {"dW": grads["weight_ih"].T, "dU": grads["weight_hh"].T}
    if "b" in params:
        named["db"] = grads["bias_ih"]
    if "bu" in params:
        named["dbu"] = grads["bias_hh"][-len(params["bu"]) :]
    return named
