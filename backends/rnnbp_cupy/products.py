"""Matrix products of rows by cuBLAS: slices of columns and transposes pass as they are, the output may be wider.

CuPy's own `matmul` copies a slice of columns, and rounds a product of float16 to float16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.numerics import Array

KINDS = {"float16": "CUDA_R_16F", "bfloat16": "CUDA_R_16BF", "float32": "CUDA_R_32F", "float64": "CUDA_R_64F"}


def orientation(x: Array) -> tuple[int, int] | None:
    """A matrix as cuBLAS reads it, column by column: (1 for transposed, leading dimension); None if it must be copied.

    What lies row by row is its own transpose read column by column, which is what a product of transposes needs.
    """
    rows, columns = x.shape
    down, across = (stride // x.itemsize for stride in x.strides)
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return 0, max(down, columns) if rows > 1 else columns
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return 1, max(across, rows) if columns > 1 else rows
    return None


@dataclass(frozen=True)
class Product:
    """Sets out to a[k] @ b by the number k; all but the address of a[k] is settled, so that a step costs one call."""

    gemm: Callable[..., None]
    before: tuple[int, ...]  # the arguments of gemmEx before the address of a[k], and those behind it
    first: int
    stride: int
    after: tuple[int, ...]
    held: tuple[Array, ...]  # arrays whose addresses are in use

    def __call__(self, k: int) -> None:
        self.gemm(*self.before, self.first + k * self.stride, *self.after)


def product_by_cublas(
    cublas: Any, runtime: Any, handle: int, tf32: bool, address: Callable[[Array], int], a: Array, b: Array, out: Array
) -> Product:
    """Set out to a[k] b, row by row, which is outᵀ = bᵀ a[k]ᵀ column by column; out lies row by row without gaps."""
    a, b = a if orientation(a[0]) else a.copy(), b if orientation(b) else b.copy()
    (turn_a, ld_a), (turn_b, ld_b) = _columnwise(a[0]), _columnwise(b)
    kind_in, kind_out = (getattr(runtime, KINDS[x.dtype.name]) for x in (a, out))
    wide = out.dtype.name == "float64"
    compute = cublas.CUBLAS_COMPUTE_64F if wide else cublas.CUBLAS_COMPUTE_32F
    if tf32 and a.dtype.name == "float32":
        compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32
    (m, k), n = a.shape[1:], b.shape[1]
    one, zero = (np.full(1, value, "float64" if wide else "float32") for value in (1, 0))
    before = (handle, turn_b, turn_a, n, m, k, one.ctypes.data, address(b), kind_in, ld_b)
    after = (kind_in, ld_a, zero.ctypes.data, address(out), kind_out, n, compute, cublas.CUBLAS_GEMM_DEFAULT)
    return Product(cublas.gemmEx, before, address(a), a.strides[0], after, (a, b, out, one, zero))


def _columnwise(x: Array) -> tuple[int, int]:
    """The orientation of what lies by rows or by columns."""
    found = orientation(x)
    if found is None:
        raise ValueError(f"a matrix with strides {x.strides} lies neither by rows nor by columns")
    return found
