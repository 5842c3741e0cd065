"""What can be checked: a scalar function of named tensors, and the gradient that a backward written by hand claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.cellbase import Cell
from rnnbp.checking.operands.arithmetic import Arithmetic, Loss
from rnnbp.numerics import Array, HostArray, Namespace, broadcast
from rnnbp.truncation import Window

if TYPE_CHECKING:
    from rnnbp.checking.subjects.problems import Problem

Tensors: TypeAlias = Mapping[str, Array]
# (tensors, start, stop, state at start or None for the first one) -> ys (..., stop−start, B, O), state at stop
Segment: TypeAlias = Callable[[Tensors, int, int, Any], tuple[Array, Any]]


@dataclass(frozen=True)
class Subject:
    """`gradients(tensors)` must be the derivatives of `loss(arithmetic)(tensors)` by each tensor.

    The loss takes tensors with a leading axis of copies, complex ones, and operands of the arithmetic; the gradients
    are taken once, in the dtype that is checked. `work` is roughly how many numbers one copy's loss holds at once.
    `level` says what is checked: a step, a sequence, a model. `blocks` names what lies side by side on the last axis of
    a tensor: the gates. `problem` is what a cell over a sequence was made from, for methods that run it their own way;
    `exchange` gives the same subject of another cell than `cell`, in float64 on that backend. `path` names the code
    that a scan in the backward runs through, as `Backend.path` does; subjects that differ in their backwards alone have
    one dictionary `shared`, of what was found out about the loss.
    """

    name: str
    tensors: Mapping[str, HostArray]  # float64
    loss: Callable[[Arithmetic], Loss]
    gradients: Callable[[Tensors], Tensors]
    work: int
    padded: bool = False  # whether one of the sequences is shorter than the others
    level: str = "sequence"
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: Problem | None = None
    windows: tuple[Window, ...] = ()
    cell: Cell | None = None
    exchange: Callable[[Cell, Backend], Subject] | None = None
    path: str = ""
    shared: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def claimed(self, backend: Backend, dtype: str) -> dict[str, HostArray]:
        """The gradients that the backward gives in that dtype, as float64 host arrays; what is missing is left out."""
        found = self.gradients({n: backend.asarray(v, dtype) for n, v in self.tensors.items()})
        return {n: np.asarray(backend.to_numpy(d), dtype=np.float64) for n, d in found.items() if d is not None}


def inner(xp: Namespace, values: Sequence[Array], errors: Sequence[Array]) -> Array:
    """Σ values ∘ errors over all axes of the errors: one number per copy."""
    return sum(xp.sum(z * d, axis=tuple(range(-d.ndim, 0))) for z, d in zip(values, errors, strict=True))


def truncated(
    xp: Namespace, segment: Segment, windows: Sequence[Window], real: Tensors
) -> Callable[[Tensors], tuple[Array, Any]]:
    """The forward whose derivative is the truncated one: tensors -> ys (..., T, B, O) and the last state.

    The outputs of steps lo … stop−1 of each window come from steps start … stop−1, run from the state at `start`. For a
    window that begins with the sequence that is the first state; for any other it is a constant, the number that the
    forward of the `real` tensors gives. So the values are those of the plain forward, and a derivative ends at `start`.
    The windows' steps lo … stop−1 must tile the sequence. A sum over windows of backwards therefore claims, for any
    scalar L of these outputs and the last state,

        parameters   ∂L/∂θ: what a truncated training step uses
        X            ∂L/∂x_t: every window with start ≤ t < stop adds to it, the others do not see x_t
        s0           ∂L/∂s0: from the windows with start = 0 alone; `ds_start` of any other window is the error that
                     truncation throws away, and no part of the claim

    With full BPTT, one window, these are the plain gradients.
    """
    held: dict[int, Any] = {0: None}
    for before, start in pairwise(sorted({0, *(window.start for window in windows)})):
        held[start] = segment(real, before, start, held[before])[1]

    def forward(tensors: Tensors) -> tuple[Array, Any]:
        pieces: list[Array] = []
        last: Any = None
        for start, lo, stop in windows:
            ys, last = segment(tensors, start, stop, held[start])
            pieces.append(ys[..., lo - start :, :, :])
        if len(pieces) == 1:
            return pieces[0], last
        lead = np.broadcast_shapes(
            *(ys.shape[:-3] for ys in pieces)
        )  # not every window sees the tensor with the copies
        return xp.concat([broadcast(xp, ys, lead, 3) for ys in pieces], axis=-3), last

    return forward


def free_name(name: str, taken: Sequence[str]) -> str:
    """The name, primed where a parameter has it already."""
    return free_name(name + "'", taken) if name in taken else name


def unlike_zero(drawn: Mapping[str, HostArray], rng: np.random.Generator) -> dict[str, HostArray]:
    """Drawn parameters with noise on top: no bias is zero and no two gates start alike.

    A product with many rows gets no more noise than one with 16: saturated gates would hide their gradients.
    """

    def noisy(value: HostArray) -> HostArray:
        rows = value.shape[0] if value.ndim > 1 else 1
        return value + 0.3 * min(1.0, sqrt(16 / rows)) * rng.standard_normal(value.shape)

    return {name: noisy(value) for name, value in drawn.items()}


def held_by(dtype: str, value: Any) -> HostArray:
    """The nearest numbers that `dtype` holds, as a read-only float64 host array."""
    host = np.asarray(value, dtype=dtype).astype(np.float64)
    host.flags.writeable = False
    return host
