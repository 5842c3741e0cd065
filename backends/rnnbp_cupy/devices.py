"""What the scan asks of a device: arrays, matrix products into given arrays, and kernels. CuPy's is imported on use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from rnnbp.numerics import Array, Namespace
from rnnbp_cupy.generating import THREADS, Kernels
from rnnbp_cupy.kernels import Kernel
from rnnbp_cupy.products import product_by_cublas


class Device(Protocol):
    """Where a scan runs. Nothing here waits for the device."""

    @property
    def xp(self) -> Namespace:
        """The array library's namespace of the standard, with NumPy's further names behind it."""

    def product(self, a: Array, b: Array, out: Array) -> Callable[[int], None]:
        """Set out to a[k] @ b for a (K, M, N), by the number k; sums are taken in out's precision or better."""

    def launcher(
        self, found: Kernels, kernel: Kernel, size: int, arrays: Sequence[Array | None]
    ) -> Callable[..., None]:
        """The kernel over `size` threads on these arrays (None: a null pointer), by its numbers."""


class Cuda:
    """The current CUDA device, through CuPy, on the current stream and with memory from CuPy's pool."""

    @property
    def xp(self) -> Namespace:
        import array_api_compat.cupy

        return array_api_compat.cupy

    def product(self, a: Array, b: Array, out: Array) -> Callable[[int], None]:
        from cupy.cuda import device
        from cupy_backends.cuda.api import runtime
        from cupy_backends.cuda.libs import cublas

        handle = device.get_cublas_handle()
        return product_by_cublas(cublas, runtime, handle, _tf32(), lambda x: int(x.data.ptr), a, b, out)

    def launcher(
        self, found: Kernels, kernel: Kernel, size: int, arrays: Sequence[Array | None]
    ) -> Callable[..., None]:
        function, grid = _compiled(found.source, kernel.name), (-(-size // THREADS),)
        fixed = tuple(np.uint64(0) if a is None else a for a in arrays)

        def launch(*numbers: int) -> None:
            function(grid, (THREADS,), (*fixed, *map(np.int32, numbers)))

        return launch


@lru_cache(maxsize=256)
def _compiled(source: str, name: str) -> Any:
    """The kernel, compiled by NVRTC at its first call on each device; CuPy keeps the binary on disk."""
    import cupy

    return cupy.RawKernel(source, name, ("--std=c++14",))


def _tf32() -> bool:
    """Whether CuPy's own products of float32 run in TF32: by $CUPY_TF32=1 or by its set_compute_type."""
    from cupy._core import _routines_linalg as linalg

    return bool(linalg.get_compute_type("float32") == linalg.COMPUTE_TYPE_TF32)
