"""The NumPy backend's fast scan called directly, for the tests of its parts; without numba their files are skipped."""

from __future__ import annotations

import os
from typing import Any

import pytest
from fast_cells import FUSED as FUSED
from fast_cells import OFF
from fast_cells import PORTABLE as PORTABLE
from fast_cells import cell as cell
from fast_cells import results as results

for _name in ("numba", "threadpoolctl"):
    pytest.importorskip(_name)
if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
    pytest.skip("NUMBA_DISABLE_JIT is set", allow_module_level=True)

from rnnbp_numpy import scanning  # noqa: E402


def raw(cell: Any, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
    """The fast scan, which may decline."""
    return scanning.scan(cell, params, xs, s0, **OFF | options)


def fused(cell: Any, params: Any, xs: Any, s0: Any, **options: Any) -> Any:
    """The fast scan; it is a failure if it declines."""
    found = raw(cell, params, xs, s0, **options)
    assert found is not NotImplemented
    return found
