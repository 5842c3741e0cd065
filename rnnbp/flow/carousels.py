"""The memory of an LSTM: the carousel that carries it, and how large it grows with and without a forget gate."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rnnbp.cells.lstm import LSTM
from rnnbp.errors import UserError
from rnnbp.flow.terms import gate_slopes, peepholes, refuse_gate_recurrence
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray, chunks
from rnnbp.recording import closure


@dataclass(frozen=True, eq=False)
class Carousel:
    """∂c_t/∂c_{t−1} with h_{t−1} held fixed: diagonal, so (T, B, H).

    alone: f_t; exactly 1 without a forget gate, as in 1997. with_peepholes: f + c f(1−f) p_f + g i(1−i) p_i, which is
    the c-block of the whole state's Jacobian; f where no error passes a peephole.
    """

    alone: HostArray
    with_peepholes: HostArray


def carousel(path: Trajectory) -> Carousel:
    """The constant error carousel of an LSTM (Hochreiter & Schmidhuber 1997, sec. 3.2), and what gates make of it."""
    cell, p = _lstm(path), peepholes(path)
    alone, peeped = [], []
    for t in range(path.time_steps):
        v = closure(path.step(t)[1])
        f = np.broadcast_to(v["f"], v["c"].shape)
        alone.append(f)
        peeped.append(f + sum(slope * p[k] for k, slope in gate_slopes(cell, v).values() if k in p))
    return Carousel(np.stack(alone), np.stack(peeped))


def cell_sizes(path: Trajectory) -> HostArray:
    """|c_t| of an LSTM, (T + 1, B, H), the initial state first."""
    _lstm(path)
    sizes: HostArray = np.abs(np.stack([s[1] for s in path.states]))
    return sizes


def without_forget_gate(path: Trajectory) -> Trajectory:
    """The same weights on the same sequence with f = 1 throughout; what f is there for (Gers et al. 2000).

    W, U and b lose the columns of f. A coupled gate has none; its input gate then stands alone.
    """
    cell = _lstm(path)
    refuse_gate_recurrence(cell)
    if "f" in cell.without:
        raise UserError("a forget gate can be taken from a cell that has one; got one without=f")
    bare = replace(
        cell,
        without=(*cell.without, "f"),
        coupled=False,
        forget_bias=1.0,
        stopped=tuple(gate for gate in cell.stopped if gate != "f"),
    )
    params = {name: np.asarray(w) for name, w in path.params.items() if name != "pf"}
    for name, gates in cell.blocks.items():
        kept = [w for gate, w in zip(gates, chunks(params[name], len(gates)), strict=True) if gate != "f"]
        params[name] = np.concatenate(kept, axis=-1)
    return Trajectory(bare, params, path.xs, path.s0, path.data)


def _lstm(path: Trajectory) -> LSTM:
    if type(path.cell) is not LSTM:
        raise UserError(f"a carousel is that of an lstm, with nothing around it; got {type(path.cell).__name__}")
    return path.cell
