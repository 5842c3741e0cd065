"""What the tests of fast scans share: the cells that have kernels (of the registry, its variants, the toys, the plugins
that lie in the checkout), and the comparison of such a scan with the portable one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from cases import EVERY, WAYS, make
from helpers import T, agree, forward, named, portable, problem
from rnnbp_mgu import MGU
from rnnbp_recent.mingru import MinGRU
from rnnbp_recent.minlstm import MinLSTM
from rnnbp_recent.slstm import SLSTM

import rnnbp
from rnnbp.fastpath import layout
from rnnbp.lowering import Untraceable

PLUGGED = {"mgu": MGU, "slstm": SLSTM, "mingru": MinGRU, "minlstm": MinLSTM}


def cell(name: str, input_size: int = 4, hidden_size: int = 6) -> rnnbp.Cell:
    return (PLUGGED[name] if name in PLUGGED else partial(make, name))(input_size, hidden_size)


def declined(name: str) -> str | None:
    """Why the portable path runs a cell, or None."""
    try:
        layout(make(name))
    except Untraceable as reason:
        return str(reason)
    return None


PORTABLE = [name for name in EVERY if declined(name)]
FUSED = [name for name in EVERY if name not in PORTABLE] + list(PLUGGED)

OFF = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
DECAYED = rnnbp.Window(0, 0, T, decay=0.6)
WINDOWS = [(0, 0, T), (1, 2, 4), (0, 3, T), (2, 2, 3), (T - 1, T - 1, T)]


def results(q: Any, way: Any, windows: Any = (None,), cotangents: Any = None, **options: Any) -> dict[str, Any]:
    """All that a scan and its backward give, by name."""
    ys, s_T, backward = forward(q, way, **options)
    found = {"ys": ys, **{f"s_T.{k}": z for k, z in enumerate(s_T)}}
    for window in windows:
        gave = backward(*((q.dys, q.ds_T) if cotangents is None else cotangents), window=window)
        found |= {f"{window} {n}": d for n, d in named(*gave, q.cell).items()}
    return found


def check_against_portable(way: Any, name: str, options: str, dtype: str) -> None:
    """Outputs and gradients through every window, in the precision that was asked for."""
    q, chosen = problem(cell(name), dtype=dtype), WAYS[options]
    windows = [None, DECAYED] if chosen.get("reverse") else [None, DECAYED, *WINDOWS]
    found = results(q, way, windows, **chosen)
    assert {a.dtype.name for a in found.values()} == {dtype}
    agree(found, results(q, portable, windows, **chosen), dtype)
