"""The derivative of a gated cell's memory by the one before, taken apart by the gate that it goes through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.cellbase import Cell
from rnnbp.cells.gru import GRU, ResetBeforeGRU
from rnnbp.cells.lstm import LSTM
from rnnbp.errors import UserError
from rnnbp.flow.trajectories import Trajectory
from rnnbp.numerics import HostArray, chunks
from rnnbp.recording import closure


@dataclass(frozen=True, eq=False)
class Terms:
    """∂m_t/∂m_{t−1} of one step as a sum: m is the `state`, c of an LSTM and h of a GRU.

    parts: path -> (B, H, H), in which row j says what moves unit j of m_t. A path is named for its gate, or "direct".
    """

    state: str
    parts: Mapping[str, HostArray]

    @property
    def total(self) -> HostArray:
        """The derivative itself, (B, H, H)."""
        total: HostArray = np.sum(list(self.parts.values()), axis=0)
        return total


def step_terms(path: Trajectory, t: int) -> Terms:
    """The terms of step t, of 0 … T−1, along the ways that the cell's errors take: none through gates in `stopped`.

    LSTM: the total derivative of c_t by c_{t−1}, in which h_{t−1} = o_{t−1} ∘ ψ(c_{t−1}) moves, too. So it needs the
    step before, and t is at least 1. With D = diag(∂h_{t−1}/∂c_{t−1}):
        f       c_{t−1} ∘ ∂f_t/∂c_{t−1}    ∂f/∂c = diag(f(1−f)) (U_fᵀ D + diag(p_f)), and likewise for i and g
        i       g_t ∘ ∂i_t/∂c_{t−1}
        g       i_t ∘ ∂g_t/∂c_{t−1}
        direct  diag(f_t)                  the carousel (Hochreiter & Schmidhuber 1997, sec. 3.2; Gers et al. 2000)
    D = diag(o ψ'(c)) at t−1, where o is fixed; a peephole of o sees c_{t−1}, which makes it diag(o ψ'(c) + ψ(c) o(1−o)
    p_o), unless `peephole_error` is off. Coupled, f = 1 − i, and its path runs through a_i. A gate that the cell lacks
    has no path. Over several steps the product of these matrices leaves out h_{t−2} → o_{t−1} → h_{t−1}, for that does
    not pass c_{t−1}; products of the whole state's Jacobians have it.

    GRU: the step's Jacobian ∂h_t/∂h_{t−1} (Cho et al. 2014).
        z       (h_{t−1} − n_t) ∘ ∂z_t/∂h_{t−1}
        n       (1 − z_t) ∘ ∂n_t/∂h_{t−1}, with r held fixed
        r       (1 − z_t) ∘ ∂n_t/∂r_t ∂r_t/∂h_{t−1}
        direct  diag(z_t)
    """
    if not first_step(path.cell) <= t < path.time_steps:
        raise UserError(
            f"steps with terms are {first_step(path.cell)} … {path.time_steps - 1} of {path.time_steps}; got step {t}"
        )
    if isinstance(path.cell, LSTM):
        return Terms("c", _lstm_parts(path.cell, path, t))
    return Terms("h", _gru_parts(path, t))


def first_step(cell: Cell) -> int:
    """The first step that has terms; a cell for which none are worked out is refused."""
    if type(cell) not in (LSTM, GRU, ResetBeforeGRU):
        raise UserError(
            f"terms by gate are worked out for lstm and gru, with nothing around them; got {type(cell).__name__}: "
            "take the Jacobians of the whole state"
        )
    if isinstance(cell, LSTM):
        refuse_gate_recurrence(cell)
    return int(isinstance(cell, LSTM))


def refuse_gate_recurrence(cell: LSTM) -> None:
    """Its gates are states as well."""
    if cell.gate_recurrence:
        raise UserError("with gate_recurrence the gates are states, which c meets at later steps: leave it out")


def gate_slopes(cell: LSTM, v: Mapping[str, Any]) -> dict[str, tuple[str, HostArray]]:
    """Path of c' -> the gate a_k that it runs through, and ∂c'/∂a_k along it, (B, H). v has the step's own values."""
    c, one = v["c"], np.ones_like(v["c"])
    ways = {"f": ("i" if cell.coupled else "f", -c if cell.coupled else c), "i": ("i", v["g"]), "g": ("g", v["i"])}
    return {name: (k, scale * v[f"to_{k}"](one)) for name, (k, scale) in ways.items() if k in cell.gates}


def peepholes(path: Trajectory) -> dict[str, HostArray]:
    """Gate -> p_k (H,), of those through which an error passes to c."""
    cell = path.cell
    if not (isinstance(cell, LSTM) and cell.peepholes and cell.peephole_error):
        return {}
    return {k: np.asarray(path.params[f"p{k}"]) for k in cell.sigmoids}


def _lstm_parts(cell: LSTM, path: Trajectory, t: int) -> dict[str, HostArray]:
    v, before = (closure(path.step(k)[1]) for k in (t, t - 1))
    p, u = peepholes(path), _recurrent(path)
    dh = before["to_c"](before["o"])  # ∂h_{t−1}/∂c_{t−1}, (B, H)
    if "o" in p:
        dh = dh + before["to_o"](before["t"]) * p["o"]
    parts = {}
    for name, (k, slope) in gate_slopes(cell, v).items():
        parts[name] = _through(slope, u[k], dh) + (_diagonal(slope * p[k]) if k in p else 0.0)
    return {**parts, "direct": _diagonal(np.broadcast_to(v["f"], dh.shape))}


def _gru_parts(path: Trajectory, t: int) -> dict[str, HostArray]:
    v, u = closure(path.step(t)[1]), _recurrent(path)
    z, n, r, h = (v[name] for name in ("z", "n", "r", "h"))
    one = np.ones_like(h)
    dn = v["to_n"](1 - z)  # ∂h'/∂(what enters the tanh of n)
    if isinstance(path.cell, GRU):
        of_n = _through(dn * r, u["n"], one)
        of_r = _through(v["to_r"](dn * v["u"]), u["r"], one)
    else:  # r multiplies h before U_n does
        of_n = _through(dn, u["n"], r)
        of_r = _through(dn, u["n"], v["to_r"](h)) @ u["r"]
    return {"z": _through(v["to_z"](h - n), u["z"], one), "n": of_n, "r": of_r, "direct": _diagonal(z)}


def _recurrent(path: Trajectory) -> dict[str, HostArray]:
    """Gate -> U_kᵀ (H, H), zero where the error stops."""
    gates, cut = path.cell.blocks["U"], getattr(path.cell, "cut", ())
    blocks = zip(gates, chunks(np.asarray(path.params["U"]), len(gates)), strict=True)
    return {k: np.zeros_like(u) if k in cut else u.T for k, u in blocks}


def _through(left: HostArray, ut: HostArray, right: HostArray) -> HostArray:
    """diag(left) Uᵀ diag(right), (B, H, H)."""
    return left[:, :, None] * ut * right[:, None, :]


def _diagonal(d: HostArray) -> HostArray:
    """The diagonal matrices of d (B, H)."""
    return d[:, :, None] * np.eye(d.shape[-1])
