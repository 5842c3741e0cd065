"""A whole model: inputs, a stack of cells, a dense readout and a loss, with one backward through all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from rnnbp.backends import Backend
from rnnbp.cellbase import Param, Params, check_size
from rnnbp.embedding import check_symbols, embed, one_hot
from rnnbp.errors import UserError, unknown
from rnnbp.initializers import constant, glorot_uniform, normal
from rnnbp.losses import Loss
from rnnbp.numerics import Array, HostArray, fold, matmul, one_namespace, unfold
from rnnbp.penalties import ActivationPenalty
from rnnbp.recomputing import Remat
from rnnbp.stacking import Stack, States
from rnnbp.truncation import Window, full
from rnnbp.validation import check_names, check_windows

ModelBackward: TypeAlias = Callable[..., tuple[dict[str, Array], Array, States]]


class Parts(NamedTuple):
    """What a model computes, its loss apart from its penalty; the backward is that of their sum."""

    loss: Array  # one number per copy
    penalty: Array  # as the loss; None for a model without one
    last: States
    backward: ModelBackward


@dataclass(frozen=True)
class Model:
    """inputs -> stack -> h W + b -> loss, plus the penalty on the stack's outputs h where there is one.

    inputs: "dense", xs (..., T, B, I); or class numbers (T, B) below `symbols`, as "one-hot" rows or as rows of a
    learned "embedding". Parameters: the stack's, `readout.W` (H, O), `readout.b` (O) and, for an embedding,
    `embedding.E` (symbols, I).
    """

    stack: Stack
    output_size: int
    loss: Loss
    inputs: str = "dense"
    symbols: int | None = None
    penalty: ActivationPenalty | None = None

    def __post_init__(self) -> None:
        check_size("output_size", self.output_size)
        if not isinstance(self.loss, Loss):
            raise UserError(f"loss must be a Loss, such as CrossEntropy(); got {self.loss!r}")
        kinds = ("dense", "one-hot", "embedding")
        if self.inputs not in kinds:
            raise unknown("kind of inputs", self.inputs, kinds)
        if self.symbols is not None:
            check_size("symbols", self.symbols)
        if (self.inputs == "dense") != (self.symbols is None):
            raise UserError(f"symbols counts the classes of one-hot or embedding inputs; got {self.symbols}")
        if self.inputs == "one-hot" and self.symbols != self.stack.input_size:
            raise UserError(f"one-hot inputs need input_size = symbols = {self.symbols}; got {self.stack.input_size}")

    @property
    def params(self) -> dict[str, Param]:
        """Every parameter by name."""
        width, n = self.stack.output_size, self.output_size
        specs = {"readout.W": Param((width, n), glorot_uniform()), "readout.b": Param((n,), constant(0.0))}
        if self.inputs == "embedding" and self.symbols is not None:
            specs["embedding.E"] = Param((self.symbols, self.stack.input_size), normal(1.0))
        return self.stack.params | specs

    def init(self, rng: np.random.Generator) -> dict[str, HostArray]:
        """Freshly drawn parameters, as host arrays in float64."""
        return {name: spec.init(rng, spec.shape) for name, spec in self.params.items()}

    def __call__(
        self,
        params: Params,
        xs: Array,
        targets: Array,
        s0: States | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: Params | None = None,
        remat: Remat = None,
        backend: Backend | None = None,
    ) -> tuple[Array, States, ModelBackward]:
        """The loss and penalty (one number per copy), the last states, and the backward.

        backward(windows=None) -> (dparams, dxs, ds0): summed over the windows, each taken through all layers with its
        own cut; default full BPTT. dxs is None where the inputs are symbols; ds0 comes from the windows that start at
        step 0. The other arguments are those of `Stack.scan`.
        """
        options = {"mask": mask, "resets": resets, "data": data, "remat": remat, "backend": backend}
        loss, penalty, last, backward = self.apart(params, xs, targets, s0, **options)
        return loss if penalty is None else loss + penalty, last, backward

    def apart(self, params: Params, xs: Array, targets: Array, s0: States | None = None, **options: Any) -> Parts:
        """As a call, with the same options; the loss and the penalty each by itself."""
        check_names("parameters of the model", params, self.params)
        own = {name: params[name] for name in self.stack.params}
        dense, inputs_backward = self.dense(params, xs)
        ys, last, stack_backward = self.stack.scan(own, dense, s0, **options)
        logits, readout_backward = readout(params["readout.W"], params["readout.b"], ys)
        value, loss_backward = self.loss(logits, targets, options.get("mask"))
        penalty, penalty_backward = None, None
        if self.penalty is not None:
            penalty, penalty_backward = self.penalty(ys, options.get("mask"), options.get("resets"))

        def backward(windows: Sequence[Window] | None = None) -> tuple[dict[str, Array], Array, States]:
            time_steps = ys.shape[-3]
            parts = full(time_steps) if windows is None else windows
            parts = check_windows(parts, time_steps, self.stack.bidirectional)
            dW, db, dys = readout_backward(loss_backward())
            dys = dys if penalty_backward is None else dys + penalty_backward()
            total: Any = None
            for window in parts:
                dparams, dxs, ds = stack_backward(dys, None, window)
                ds0 = ds if window.start == 0 else zeros_like(ds)  # else it is the error of a later state
                total = (dparams, dxs, ds0) if total is None else add(total, (dparams, dxs, ds0))
            dparams, dxs, ds0 = total
            dtable = inputs_backward(dxs)
            dparams |= {"readout.W": dW, "readout.b": db} | ({} if dtable is None else {"embedding.E": dtable})
            return {name: dparams[name] for name in self.params}, None if self.symbols else dxs, ds0

        return Parts(value, penalty, last, backward)

    def run(
        self,
        params: Params,
        xs: Array,
        s0: States | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: Params | None = None,
        backend: Backend | None = None,
    ) -> tuple[Array, States]:
        """The outputs before the loss, logits (..., T, B, O), and the last states; nothing is kept."""
        check_names("parameters of the model", params, self.params)
        own = {name: params[name] for name in self.stack.params}
        dense = self.dense(params, xs)[0]
        ys, last = self.stack.run(own, dense, s0, mask=mask, resets=resets, data=data, backend=backend)
        return readout(params["readout.W"], params["readout.b"], ys)[0], last

    def dense(self, params: Params, xs: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The stack's dense input, and dxs -> the embedding's gradient (None where there is no table)."""
        if self.symbols is None:
            return xs, lambda _: None
        xp = one_namespace(xs=xs, **params)
        check_symbols(xp, xs, self.symbols)
        if self.inputs == "embedding":
            return embed(xp, params["embedding.E"], xs)
        return one_hot(xp, xs, self.symbols, params["readout.W"]), lambda _: None


def readout(w: Array, b: Array, ys: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array]]]:
    """The dense layer y W + b on every step, (..., T, B, H) -> (..., T, B, O); backward(d) -> dW, db, dys."""
    xp = one_namespace(w=w, b=b, ys=ys)
    steps, rows = ys.shape[-3], fold(xp, ys)

    def backward(d: Array) -> tuple[Array, Array, Array]:
        d = fold(xp, d)
        dys = unfold(xp, matmul(xp, d, xp.matrix_transpose(w)), steps)
        return xp.matmul(xp.matrix_transpose(rows), d), xp.sum(d, axis=-2), dys

    return unfold(xp, matmul(xp, rows, w) + b[..., None, :], steps), backward


def zeros_like(states: States) -> States:
    """Zero for every state."""
    return tuple(tuple(array_namespace(z).zeros_like(z) for z in s) for s in states)


def add(one: Any, two: Any) -> Any:
    """The sum of two gradients of the same structure."""
    if isinstance(one, dict):
        return {name: add(one[name], two[name]) for name in one}
    if isinstance(one, tuple):
        return tuple(add(a, b) for a, b in zip(one, two, strict=True))
    return one + two
