"""Layers that hold their parameters, for people who come from PyTorch; all that they compute is `Stack.scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend, backend_of
from rnnbp.backends import backend as backend_by_name
from rnnbp.cellbase import State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, Namespace
from rnnbp.stacking import States, stack

LayerBackward: TypeAlias = Callable[..., tuple[dict[str, Array], Array, State]]


class Layer:
    """A stack of one kind of cell with its parameters on one backend.

    `layer(xs, s0=None, mask=None) -> (ys, s_T, backward)`: xs (T, B, I) and mask (T, B), or (B, T, I) and (B, T) with
    batch_first; ys like xs with O = H, or 2H in both directions. Each state in s0 and s_T is one array
    (num_layers · directions, B, H), as in PyTorch. `backward(dys, ds_T=None) -> (dparams, dxs, ds0)`.
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
        if backend_of(xs) is None or not isinstance(self.backend, type(backend_of(xs))):
            kind = f"{type(xs).__module__}.{type(xs).__name__}"
            raise UserError(f"this layer is on backend {self.backend.name}; got {kind}: pass backend.asarray(xs)")
        if xs.ndim != 3:
            axes = "(B, T, I)" if self.batch_first else "(T, B, I)"
            raise UserError(f"xs must have shape {axes}; got {tuple(xs.shape)}")
        ys, last, back = self.stack.scan(
            self.params,
            self._turn(xs),
            self._split(s0),
            mask=None if mask is None else self._turn(mask),
            backend=self.backend,
        )

        def backward(dys: Array | None = None, ds_T: State | None = None) -> tuple[dict[str, Array], Array, State]:
            dparams, dxs, ds0 = back(None if dys is None else self._turn(dys), self._split(ds_T))
            return dparams, self._turn(dxs), joined(xp, ds0)

        return self._turn(ys), joined(xp, last), backward

    def _turn(self, a: Array) -> Array:
        """Time first, if batch is first; and back."""
        return self.backend.xp.permute_dims(a, (1, 0, *range(2, a.ndim))) if self.batch_first else a

    def _split(self, s: State | None) -> States | None:
        """PyTorch's stacked states to one state per cell."""
        count = len(list(self.stack.cells))
        if s is None:
            return None
        for z in s:
            if z.ndim != 3 or z.shape[0] != count:
                raise UserError(f"a state must have shape (layers·directions = {count}, B, H); got {tuple(z.shape)}")
        return tuple(tuple(z[k, :, :] for z in s) for k in range(count))


def joined(xp: Namespace, states: States) -> State:
    """One state per cell to PyTorch's stacked states."""
    return tuple(xp.stack(list(parts), axis=0) for parts in zip(*states, strict=True))


class RNN(Layer):
    """Elman layers; options: activation ("tanh", "relu", …), bias."""

    cell = "elman"


class LSTM(Layer):
    """LSTM layers; options: peepholes, forget_bias, bias."""

    cell = "lstm"


class GRU(Layer):
    """GRU layers; options: reset ("after", "before"), bias."""

    cell = "gru"
