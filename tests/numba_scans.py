"""The NumPy backend's fast scan called directly, for the tests of its parts; without numba their files are skipped."""

from __future__ import annotations

import os
from typing import Any

import pytest
from cupy_cells import FUSED as FUSED
from cupy_cells import PORTABLE as PORTABLE
from cupy_cells import cell as cell
from helpers import forward, named

for _name in ("numba", "threadpoolctl"):
    pytest.importorskip(_name)
if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
    pytest.skip("NUMBA_DISABLE_JIT is set", allow_module_level=True)

from rnnbp_numpy import scanning  # noqa: E402

OFF = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}


def raw(cell: Any, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
    """The fast scan, which may decline."""
    return scanning.scan(cell, params, xs, s0, **OFF | options)


def fused(cell: Any, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
    """The fast scan; it is a failure if it declines."""
    found = raw(cell, params, xs, s0, **options)
    assert found is not NotImplemented
    return found


def results(q: Any, way: Any, windows: Any = (None,), cotangents: Any = None, **options: Any) -> dict[str, Any]:
    """All that a scan and its backward give, by name."""
    ys, s_T, backward = forward(q, way, **options)
    found = {"ys": ys, **{f"s_T.{k}": z for k, z in enumerate(s_T)}}
    for window in windows:
        gave = backward(*((q.dys, q.ds_T) if cotangents is None else cotangents), window=window)
        found |= {f"{window} {n}": d for n, d in named(*gave, q.cell).items()}
    return found
