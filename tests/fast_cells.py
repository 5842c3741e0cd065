"""What the tests of fast scans share: the cells that have kernels (of the registry, its variants, the toys, the plugin
that lies in the checkout), and the comparison of such a scan with the portable one.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from cases import EVERY, WAYS, make
from helpers import T, agree, forward, named, portable, problem

import rnnbp
from rnnbp.fastpath import layout
from rnnbp.lowering import Untraceable

PLUGIN = Path(__file__).parents[1] / "plugins" / "rnnbp-mgu" / "rnnbp_mgu" / "__init__.py"


def _plugin():
    """The module of the MGU, from the checkout; it need not be installed."""
    spec = importlib.util.spec_from_file_location("rnnbp_mgu_of_the_checkout", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


MGU = _plugin().MGU if PLUGIN.exists() else None


def cell(name: str, input_size: int = 4, hidden_size: int = 6) -> rnnbp.Cell:
    return MGU(input_size, hidden_size) if name == "the plugin's" else make(name, input_size, hidden_size)


def declined(name: str) -> str | None:
    """Why the portable path runs a cell, or None."""
    try:
        layout(make(name))
    except Untraceable as reason:
        return str(reason)
    return None


PORTABLE = [name for name in EVERY if declined(name)]
FUSED = [name for name in EVERY if name not in PORTABLE] + ["the plugin's"] * (MGU is not None)

OFF = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
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
    windows = [None] if chosen.get("reverse") else [None, *WINDOWS]
    found = results(q, way, windows, **chosen)
    assert {a.dtype.name for a in found.values()} == {dtype}
    agree(found, results(q, portable, windows, **chosen), dtype)
