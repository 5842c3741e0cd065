"""Which fault can be planted in which cell, and whether it changes a gradient at all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np

from rnnbp.backends import Backend
from rnnbp.backends import backend as find_backend
from rnnbp.checking.selftest.gru import FaultyGRU, FaultyResetBeforeGRU
from rnnbp.checking.selftest.lstm import FaultyLSTM, FaultyPeepholeLSTM
from rnnbp.checking.selftest.planting import FaultyCell, candidates
from rnnbp.checking.selftest.rnn import FaultyDropoutRNN, FaultyRNN
from rnnbp.checking.subjects.problems import Problem, draw
from rnnbp.numerics import HostArray
from rnnbp.scanning import scan

FAMILIES: Mapping[str, type[FaultyCell]] = MappingProxyType(
    {
        "rnn": FaultyRNN,
        "rnn, dropout": FaultyDropoutRNN,
        "lstm": FaultyLSTM,
        "lstm, peepholes": FaultyPeepholeLSTM,
        "gru, reset after": FaultyGRU,
        "gru, reset before": FaultyResetBeforeGRU,
    }
)
TIME_STEPS, BATCH, INPUT, HIDDEN = 5, 3, 2, 4  # unlike each other, and small: thousands of pairs are checked
CHANGED = 1e-6  # relative: far above rounding, far below what any fault does


def catalogue() -> list[tuple[str, str]]:
    """Every (family, fault) candidate."""
    return [(family, fault) for family, kind in FAMILIES.items() for fault in candidates(kind)]


def specimen(family: str, *faults: str) -> FaultyCell:
    """A small cell of the family with these faults; with none it is right."""
    return FAMILIES[family](INPUT, HIDDEN, faults)


def applies(family: str, *faults: str, seed: int = 0, backend: Backend | None = None) -> bool:
    """Whether the faults, planted together, change a gradient on the random problem of that seed.

    The gradients of the faulty cell and of the right one are compared directly: a relative difference above 1e-6 in
    any tensor, or another shape, is a change.
    """
    host = backend or find_backend("numpy")
    right, wrong = _right_gradients(family, seed, host), gradients(specimen(family, *faults), seed, host)
    return any(_differ(wrong[name], right[name]) for name in right)


@cache
def _right_gradients(family: str, seed: int, backend: Backend) -> dict[str, HostArray]:
    return gradients(specimen(family), seed, backend)


def gradients(cell: FaultyCell, seed: int, backend: Backend) -> dict[str, HostArray]:
    """What the cell's own backward returns on the random problem that `gradcheck` draws, by name."""
    problem: Problem = draw(cell, TIME_STEPS, BATCH, seed)
    params = {name: backend.asarray(v) for name, v in problem.params.items()}
    s0, ds_T = (tuple(backend.asarray(z) for z in given) for given in (problem.s0, problem.ds_T))
    data = {name: backend.asarray(d) for name, d in problem.data.items()}
    mask = backend.asarray(problem.mask)
    _, _, backward = scan(cell, params, backend.asarray(problem.xs), s0, mask=mask, data=data, backend=backend)
    dp, dxs, ds = backward(backend.asarray(problem.dys), ds_T)
    named = {**dp, "xs": dxs, **{f"{state}0": d for state, d in zip(cell.states, ds, strict=True)}}
    return {name: backend.to_numpy(d) for name, d in named.items()}


def _differ(a: HostArray, b: HostArray) -> bool:
    if a.shape != b.shape:
        return True
    return bool(np.max(np.abs(a - b)) > CHANGED * max(np.max(np.abs(a)), np.max(np.abs(b))))
