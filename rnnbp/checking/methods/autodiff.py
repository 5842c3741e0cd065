"""Gradients by the automatic differentiation of PyTorch or JAX, applied to the forward that a check differentiates.

Nothing of the hand-written backward takes part: `torch.autograd` or `jax.grad` goes through the Array API calls of the
loss itself, so this is an oracle of another kind than a difference. `rnnbp.detach` cuts there too. Whatever backend is
checked, the loss is rebuilt with the arrays of the library that differentiates it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import ClassVar, TypeAlias

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.checking.methods.numeric import Asked, Whole
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array, HostArray
from rnnbp.registry import BACKENDS

Point: TypeAlias = Mapping[str, HostArray]


def autodiff(
    loss: Callable[[Arithmetic], Loss], point: Point, backend: Backend, library: str | None = None
) -> dict[str, HostArray]:
    """The gradient of `loss` at `point` in float64, by every tensor, on the host.

    library: "torch" or "jax". Without it the backend's own if it is one of these, else torch if it is installed, else
    jax. Where the backend is the library's own, its device is used. Without either library: a UserError.
    """
    if library not in (None, *ENGINES):
        raise unknown("library for autodiff", library, ENGINES)
    chosen = library or _library(backend)
    tracer = traced(backend if backend.name == chosen else find_backend(chosen))
    tensors = {name: tracer.asarray(value, "float64") for name, value in point.items()}
    found = ENGINES[chosen](loss(Arithmetic(tracer, tracer.xp)), tensors)
    return {name: tracer.to_numpy(gradient) for name, gradient in found.items()}


def _library(backend: Backend) -> str:
    if backend.name in ENGINES:
        return backend.name
    for name in ENGINES:
        if BACKENDS.load(name).available() is None:
            return name
    raise UserError("method autodiff needs PyTorch or JAX and neither is installed: pip install torch, or jax")


def traced(backend: Backend) -> Backend:
    """The same backend with the portable scan: torch's own switches the graph off, and a fast one has none."""
    found: Backend = _portable(type(backend))(backend.device)
    return found


@cache
def _portable(kind: type[Backend]) -> type[Backend]:
    return type(f"Traced{kind.__name__}", (kind,), {"scan": Backend.scan, "path": Backend.path})


def _by_torch(loss: Loss, tensors: Mapping[str, Array]) -> dict[str, Array]:
    import torch

    leaves = {name: value.requires_grad_() for name, value in tensors.items()}
    with torch.enable_grad():
        value = loss(leaves)
    if not value.requires_grad:  # all of it is detached
        return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return {n: torch.zeros_like(leaves[n]) if d is None else d for n, d in zip(leaves, found, strict=True)}


def _by_jax(loss: Loss, tensors: Mapping[str, Array]) -> dict[str, Array]:
    import jax

    found: dict[str, Array] = jax.grad(loss)(dict(tensors))
    return found


ENGINES = {"torch": _by_torch, "jax": _by_jax}


class Autodiff(Whole):
    """torch.autograd or jax.grad of the loss: the backend's own library, else torch if it is installed, else jax."""

    name = "autodiff"
    library: ClassVar[str | None] = None

    def gradients(self, asked: Asked) -> dict[str, HostArray]:
        return autodiff(asked.subject.loss, asked.subject.tensors, asked.backend, self.library)


class AutodiffTorch(Autodiff):
    """torch.autograd of the loss, on any backend."""

    name = "autodiff-torch"
    library = "torch"


class AutodiffJax(Autodiff):
    """jax.grad of the loss, on any backend."""

    name = "autodiff-jax"
    library = "jax"
