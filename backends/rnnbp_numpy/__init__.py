"""NumPy on the CPU: the default backend. With numba and threadpoolctl, whole sequences run in generated kernels."""

from __future__ import annotations

import os
from typing import Any

import array_api_compat.numpy as compat
import numpy as np

from rnnbp.backends import Backend, installed_version
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace

COMPILED = all(map(installed_version, ("numba", "threadpoolctl"))) and os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


class NumpyBackend(Backend):
    """NumPy arrays in the memory of this machine."""

    name = "numpy"
    path = "numba" if COMPILED else "buffered"
    target = "numba"
    decays = True
    recomputes = True

    @classmethod
    def available(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str | None:
        return np.__version__

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return ("cpu",)

    def _namespace(self) -> Namespace:
        return compat

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        self.require_dtype(dtype)
        return np.asarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x)

    def scan(self, cell: Any, params: Any, xs: Array, s0: Any, **options: Any) -> Any:
        """In a kernel generated from the cell, compiled at its first use; without numba by NumPy's own functions, each
        into a buffer. What is not taken is left to the loop.
        """
        if COMPILED:
            from rnnbp_numpy.scanning import scan
        else:
            from rnnbp_numpy.buffered import scan

        return scan(cell, params, xs, s0, **options)

    @classmethod
    def generated(cls, cell: Any, dtype: str) -> str:
        from rnnbp.lowering import Untraceable
        from rnnbp_numpy.generating import source

        if dtype not in ("float32", "float64"):
            raise UserError(f"kernels are made for float32 and float64; got {dtype!r}: others take the portable path")
        try:
            return source(cell, dtype)
        except Untraceable as reason:
            raise UserError(f"there is no kernel for {cell}: {reason}; the portable path runs it") from reason
