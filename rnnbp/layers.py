"""Layers that hold their parameters, for people who come from PyTorch; all that they compute is `Stack.scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.backends import backend as backend_by_name
from rnnbp.cellbase import State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace
from rnnbp.stacking import States, stack
from rnnbp.validation import axes, check_arrays, check_shape

LayerBackward: TypeAlias = Callable[..., tuple[dict[str, Array], Array, State]]


class Layer:
    """A stack of one kind of cell with its parameters on one backend.

    `layer(xs, s0=None, mask=None) -> (ys, s_T, backward)`: xs (T, B, I) and mask (T, B), or (B, T, I) and (B, T) with
    batch_first; ys like xs with O = H, or 2H in both directions. Each state in s0 and s_T is one array
    (num_layers · directions, B, H), as in PyTorch. `backward(dys, ds_T=None) -> (dparams, dxs, ds0)`;
    None in ds_T, for one state, stands for zero.
    `params` is a plain dict, name -> array, drawn from `seed`.
    """

    cell: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        batch_first: bool = False,
        backend: Backend | str | None = None,
        dtype: str = "float32",
        seed: int = 0,
        **options: Any,
    ) -> None:
        spec = self.cell + ":" * bool(options) + ",".join(f"{name}={value}" for name, value in options.items())
        self.backend = backend if isinstance(backend, Backend) else backend_by_name(backend)
        self.stack = stack(spec, input_size, hidden_size, num_layers, bidirectional)
        self.batch_first = batch_first
        drawn = self.stack.init(np.random.default_rng(seed))
        self.params = {name: self.backend.asarray(value, dtype) for name, value in drawn.items()}

    def __repr__(self) -> str:
        cells = ", ".join(prefix + repr(cell) for prefix, cell in self.stack.cells)
        return f"{type(self).__name__}({cells}, backend={self.backend.name})"

    def __call__(
        self, xs: Array, s0: State | None = None, mask: Array | None = None
    ) -> tuple[Array, State, LayerBackward]:
        xp = self.backend.xp
        xs = self._taken("xs", xs, "I")
        mask = None if mask is None else self._taken("mask", mask)
        ys, last, back = self.stack.scan(self.params, xs, self._split(s0), mask=mask, backend=self.backend)

        def backward(dys: Array | None = None, ds_T: State | None = None) -> tuple[dict[str, Array], Array, State]:
            dparams, dxs, ds0 = back(None if dys is None else self._taken("dys", dys, "O"), self._split(ds_T))
            return dparams, self._turn(dxs), joined(xp, ds0)

        return self._turn(ys), joined(xp, last), backward

    def _taken(self, name: str, a: Array, *trailing: str) -> Array:
        """An argument, checked as far as turning it needs, time first."""
        check_arrays(**{name: a}, **dict(list(self.params.items())[:1]))
        letters = ("B", "T") if self.batch_first else ("T", "B")
        check_shape(name, a, (None,) * (2 + len(trailing)), axes(*letters, *trailing), free=False)
        return self._turn(a)

    def _turn(self, a: Array) -> Array:
        """Time first, if batch is first; and back."""
        return self.backend.xp.permute_dims(a, (1, 0, *range(2, a.ndim))) if self.batch_first else a

    def _split(self, s: State | None) -> States | None:
        """PyTorch's stacked states to one state per cell."""
        count = len(list(self.stack.cells))
        if s is None:
            return None
        if not isinstance(s, tuple | list):
            raise UserError(f"states must be a tuple with one array per state; got {type(s).__name__}")
        for z in filter(lambda z: z is not None, s):
            check_arrays(state=z)
            if z.ndim != 3 or z.shape[0] != count:
                raise UserError(f"a state must have shape (layers·directions = {count}, B, H); got {tuple(z.shape)}")
        return tuple(tuple(None if z is None else z[k, :, :] for z in s) for k in range(count))


def joined(xp: Namespace, states: States) -> State:
    """One state per cell to PyTorch's stacked states."""
    return tuple(xp.stack(list(parts), axis=0) for parts in zip(*states, strict=True))


class RNN(Layer):
    """Elman layers; options: activation ("tanh", "relu", …), bias, clip."""

    cell = "elman"


class LSTM(Layer):
    """LSTM layers; options: those of the cell `lstm` (peepholes, forget_bias, bias, …)."""

    cell = "lstm"


class GRU(Layer):
    """GRU layers; options: reset ("after", "before"), bias, clip."""

    cell = "gru"
