"""What the tests of rnnbp_torch.Module share: modules with the parameters of a problem, their gradients by name."""

from __future__ import annotations

import numpy as np
import pytest
from cases import WAYS
from helpers import inner, named

torch = pytest.importorskip("torch")
from rnnbp_torch import Module  # noqa: E402

CELLS = ["lstm:peepholes=true", "gru", "gru:reset=before", "data", "own scan", "states of any shape", "None for zero"]
BACKENDS = [None, "torch", "numpy"]
SHARED = ["lstm:peepholes=true", "gru", "data"]  # cells whose scans NumPy's loops take


def tensor(x):
    """Host arrays, in any tuple or dictionary, as leaves of a graph; flags as they are."""
    if isinstance(x, dict):
        return {name: tensor(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(tensor(value) for value in x)
    if not isinstance(x, np.ndarray):
        return x
    return torch.tensor(x, requires_grad=x.dtype != bool)


def module_of(q, backend=None):
    """The module of a problem's cell, with the problem's parameters."""
    module = Module(q.cell, backend=backend, dtype=torch.float64)
    module.load_state_dict({name: torch.tensor(value) for name, value in q.params.items()})
    return module


def inputs(q, way="plain"):
    """Xs, s0 and what is passed by name."""
    data = {name: torch.tensor(d) for name, d in q.data.items()} or None
    return tensor(q.xs), tensor(q.s0), {"data": data, **tensor(WAYS[way])}


def differentiate(q, ys, last):
    """The backward of the problem's scalar, through whatever graph made ys and last."""
    inner(ys, last, torch.tensor(q.dys), tuple(map(torch.tensor, q.ds_T))).backward()


def found(module, xs, s0, q):
    """All gradients that a backward left, by name."""
    grads = {name: p.grad for name, p in module.named_parameters()}
    tensors = named({name: grads[name] for name in q.params}, xs.grad, tuple(z.grad for z in s0), q.cell)
    return {name: d.numpy() for name, d in tensors.items()}


def by_module(q, backend, way):
    module, (xs, s0, options) = module_of(q, backend), inputs(q, way)
    differentiate(q, *module(xs, s0, **options))
    return found(module, xs, s0, q)
