"""CuPy on an NVIDIA GPU. CuPy is imported on first use; without a GPU it says why it cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from rnnbp.backends import Backend, installed_version
from rnnbp.numerics import Array, HostArray, Namespace

WHEELS = ("cupy-cuda12x", "cupy-cuda13x", "cupy")


@cache
def _reason() -> str | None:
    """Why no GPU can be used. CuPy imports without a driver and fails at its first array, so one is tried."""
    if CupyBackend.version() is None:
        return "CuPy is not installed: pip install rnnbp[cuda12] (or [cuda13]), on a machine with an NVIDIA GPU"
    here = f"cupy {CupyBackend.version()} is installed, but"
    try:
        import cupy
    except Exception as error:  # a broken installation raises whatever it likes
        return f"{here} cannot be imported ({error}): reinstall it with pip install rnnbp[cuda12] (or [cuda13])"
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if runtime.driverGetVersion() == 0:
            return f"{here} no CUDA driver was found: install NVIDIA's driver, or use another backend"
        return f"{here} the CUDA driver does not answer ({error}): update NVIDIA's driver"
    if count == 0:
        return f"{here} no CUDA device is visible: check CUDA_VISIBLE_DEVICES"
    try:
        a = cupy.asarray([[1.0, 2.0], [3.0, 4.0]])
        float(((a + 1) @ a).sum())  # compiles a kernel and calls cuBLAS
    except Exception as error:  # no NVRTC, no cuBLAS, no memory: CuPy has an exception of its own for each
        first = str(error).strip().partition("\n")[0]
        remedy = "pip install 'rnnbp[cuda12]' brings CUDA's libraries"
        return f"{here} a first kernel failed ({type(error).__name__}: {first}): {remedy}"
    return None


class CupyBackend(Backend):
    """CuPy arrays on a CUDA device: `cuda:0`, `cuda:1`, …, which becomes the current one, or the one that is."""

    name = "cupy"
    path = "cuda"
    decays = True
    target = "cuda"

    @classmethod
    def available(cls) -> str | None:
        return _reason()

    @classmethod
    def version(cls) -> str | None:
        return next(filter(None, map(installed_version, WHEELS)), None)

    @classmethod
    def devices(cls) -> tuple[str, ...]:
        if _reason() is not None:
            return ()
        import cupy

        return tuple(f"cuda:{k}" for k in range(cupy.cuda.runtime.getDeviceCount()))

    def _namespace(self) -> Namespace:
        import array_api_compat.cupy

        if self.device:
            self._on_device().use()  # CuPy makes arrays and runs kernels on the current device
        return array_api_compat.cupy

    def _on_device(self) -> Any:
        import cupy

        return cupy.cuda.Device(int(self.device.rpartition(":")[2])) if self.device else cupy.cuda.Device()

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        self.require_dtype(dtype)
        import cupy

        with self._on_device():
            return cupy.asarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> HostArray:
        import cupy

        return np.asarray(cupy.asnumpy(x))

    def scan(self, cell: Any, params: Any, xs: Array, s0: Any, **options: Any) -> Any:
        from rnnbp_cupy.devices import Cuda
        from rnnbp_cupy.scanning import scan

        return scan(Cuda(), cell, params, xs, s0, **options)

    @classmethod
    def generated(cls, cell: Any, dtype: str) -> str:
        """The CUDA C source of the cell's two kernels; it is made without CuPy."""
        from rnnbp_cupy.generating import source

        return source(cell, dtype)

    def synchronize(self) -> None:
        self._on_device().synchronize()

    def seconds(self, call: Callable[[], Any]) -> float:
        import cupy

        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        self.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3

    def peak_bytes(self, call: Callable[[], Any]) -> int | None:
        import cupy

        with self._on_device():
            pool = cupy.get_default_memory_pool()
            pool.free_all_blocks()  # from here on the pool only grows
            level = pool.total_bytes()
            call()
            self.synchronize()
            return int(pool.total_bytes() - level)
