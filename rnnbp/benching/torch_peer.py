"""The peer: torch.nn.LSTM, GRU or RNN with the same weights. torch is imported when one is built.

torch writes x Wᵀ + b_ih + h Uᵀ + b_hh, with the gates in this package's order (i, f, g, o and r, z, n). Our b is b_ih;
b_hh is zero but for the GRU's third part, which the reset gate multiplies: our bu.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.benching.contenders import BOTH, FORWARD, Contender
from rnnbp.benching.problems import Problem
from rnnbp.cells.elman import Elman
from rnnbp.cells.gru import GRU
from rnnbp.cells.lstm import LSTM
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray


def layer_of(cell: Any) -> tuple[str, dict[str, Any]] | None:
    """The class in torch.nn that computes the same as a cell, and its options; None where there is none."""
    if is_textbook(cell, LSTM):
        return "LSTM", {}
    if is_textbook(cell, GRU):
        return "GRU", {}
    if is_textbook(cell, Elman, "activation") and cell.activation in ("tanh", "relu"):
        return "RNN", {"nonlinearity": cell.activation}
    return None


def is_textbook(cell: Any, kind: type[Any], *free: str) -> bool:
    """Whether a cell is of that kind and has no unusual option, those in `free` and its biases aside."""
    options = ("bias", "forget_bias", *free)
    given = {name: getattr(cell, name) for name in options if hasattr(cell, name)}
    return type(cell) is kind and cell == kind(cell.input_size, cell.hidden_size, **given)


def lacks(cell: Any) -> str:
    """Why there is no such layer; "" where there is."""
    return "" if layer_of(cell) else "torch.nn has no such cell"


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
    parameters = {name.removesuffix("_l0"): parameter for name, parameter in layer.named_parameters()}

    def renamed(grads: dict[str, HostArray]) -> dict[str, HostArray]:
        return from_torch(grads, problem.params)

    return by_autograd(f"torch.nn.{kind}", on, problem, lambda xs: layer(xs)[0], parameters, renamed)


def by_autograd(
    name: str,
    on: Backend,
    problem: Problem,
    layer: Callable[[Any], Any],
    parameters: dict[str, Any],
    renamed: Callable[[dict[str, HostArray]], dict[str, HostArray]],
) -> Contender:
    """A layer xs -> ys of torch and autograd's backward of it; `renamed` gives its gradients by our names."""
    import torch

    dtype = problem.xs.dtype.name
    xs, dys = on.asarray(problem.xs, dtype).requires_grad_(), on.asarray(problem.dys, dtype)

    def forward() -> Any:
        with torch.no_grad():
            return (layer(xs),)

    def both() -> Any:
        ys = layer(xs)
        return ys, torch.autograd.grad(ys, [xs, *parameters.values()], dys)

    def answers() -> dict[str, HostArray]:
        ys, (dxs, *grads) = both()
        found = {name: on.to_numpy(d) for name, d in zip(parameters, grads, strict=True)}
        return {"Y": on.to_numpy(ys), "dX": on.to_numpy(dxs), **renamed(found)}

    return Contender(name, on, {FORWARD: forward, BOTH: both}, answers)


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
