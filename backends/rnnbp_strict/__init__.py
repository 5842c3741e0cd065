"""array-api-strict: nothing but the standard. Slow; for checking that code keeps to it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from rnnbp.backends import Backend, installed_version
from rnnbp.numerics import Array, HostArray, Namespace

REVISION = "2024.12"  # the revision of the standard that this package is written against


class StrictBackend(Backend):
    """array_api_strict arrays, on its pretended devices, held to one revision of the standard."""

    name = "strict"

    @classmethod
    def available(cls) -> str | None:
        return None if cls.version() else "array-api-strict is not installed: pip install array-api-strict"

    @classmethod
    def version(cls) -> str | None:
        return installed_version("array-api-strict")

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        return ("CPU_DEVICE", "device1", "device2")

    def _namespace(self) -> Namespace:
        import array_api_strict

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the flag warns that a draft revision may change
            array_api_strict.set_array_api_strict_flags(api_version=REVISION)
        return array_api_strict

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        self.require_dtype(dtype)
        host = np.asarray(self.to_numpy(x) if _is_strict(x) else x, dtype=dtype)
        return self.xp.asarray(host, device=self.xp.Device(self.device or self.devices()[0]))

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x.to_device(self.xp.Device("CPU_DEVICE")))


def _is_strict(x: Any) -> bool:
    """Whether x is an array of this library: on another device than the first, NumPy cannot look into it."""
    return type(x).__module__.startswith("array_api_strict.")
