"""NumPy on the CPU: the default backend."""

from __future__ import annotations

from typing import Any

import array_api_compat.numpy as compat
import numpy as np

from rnnbp.backends import Backend
from rnnbp.numerics import Array, HostArray, Namespace


class NumpyBackend(Backend):
    """NumPy arrays in the memory of this machine."""

    name = "numpy"

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
