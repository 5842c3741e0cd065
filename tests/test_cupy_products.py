"""Matrix products as they are put to cuBLAS, against a stand-in that reads memory column by column, as cuBLAS does."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
from rnnbp_cupy.products import KINDS, orientation, product_by_cublas

runtime = SimpleNamespace(**{name: dtype for dtype, name in KINDS.items()})
SIZES = [(2, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 4), (3, 1, 1), (1, 1, 1)]
CODES = {"COMPUTE_32F": 68, "COMPUTE_64F": 70, "COMPUTE_32F_FAST_TF32": 77, "GEMM_DEFAULT": -1}


class Cublas:
    """gemmEx of cuBLAS on host memory: C = op(A) op(B), all of them column by column."""

    def __init__(self):
        self.computes = []

    def __getattr__(self, name):
        return CODES[name.removeprefix("CUBLAS_")]

    def gemmEx(
        self, handle, turn_a, turn_b, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc, *how
    ):
        assert handle == 7 and how[1] == -1
        self.computes.append(how[0])
        coefficient = ctypes.c_double if how[0] == CODES["COMPUTE_64F"] else ctypes.c_float
        assert [coefficient.from_address(x).value for x in (alpha, beta)] == [1, 0]
        assert lda >= (k if turn_a else m) and ldb >= (n if turn_b else k) and ldc >= m
        left = self._matrix(a, a_kind, lda, *((k, m) if turn_a else (m, k)))
        right = self._matrix(b, b_kind, ldb, *((n, k) if turn_b else (k, n)))
        out = self._matrix(c, c_kind, ldc, m, n)
        out[...] = (left.T if turn_a else left).astype(c_kind) @ (right.T if turn_b else right).astype(c_kind)

    @staticmethod
    def _matrix(address, kind, leading, rows, columns):
        size = np.dtype(kind).itemsize
        memory = (ctypes.c_char * ((leading * (columns - 1) + rows) * size)).from_address(address)
        return np.ndarray((rows, columns), kind, memory, strides=(size, leading * size))


def multiply(a, b, out, index=0, tf32=False):
    cublas = Cublas()
    product_by_cublas(cublas, runtime, 7, tf32, lambda x: x.ctypes.data, a, b, out)(index)
    return cublas.computes


def matrices(rng, rows, columns, dtype):
    """A matrix as it may lie in memory: by rows, turned, columns of a wider one or of a turned one, every other one."""
    x = rng.standard_normal((rows, columns)).astype(dtype)
    wide, tall = np.zeros((rows, columns + 3), dtype), np.zeros((columns, rows + 2), dtype)
    wide[:, 2 : columns + 2], tall[:, 1 : rows + 1] = x, x.T
    apart = np.zeros((rows, 2 * columns), dtype)
    apart[:, ::2] = x
    return [x, x.T.copy().T, wide[:, 2 : columns + 2], tall[:, 1 : rows + 1].T, apart[:, ::2]]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "sizes", [(2, 3, 5), (1, 3, 5), (4, 1, 5), (4, 3, 1), (1, 1, 4), (3, 1, 1), (1, 1, 1)], ids=str
)
def test_every_way_to_lie_in_memory(sizes, dtype):
    m, k, n = sizes
    rng = np.random.default_rng(0)
    for a in matrices(rng, m, k, dtype):
        for b in matrices(rng, k, n, dtype):
            out = np.full((m, n), np.nan, dtype)
            multiply(a[None], b, out)
            assert np.allclose(out, a @ b, rtol=10 * k * np.finfo(dtype).eps, atol=10 * k * np.finfo(dtype).eps)


def test_the_step_is_picked_by_its_number():
    rng = np.random.default_rng(0)
    whole, b, out = rng.standard_normal((4, 3, 7)), rng.standard_normal((5, 2)), np.empty((3, 2))
    a = whole[..., 2:]
    for k in (3, 0, 2):
        multiply(a, b, out, k)
        assert np.allclose(out, a[k] @ b, rtol=1e-14, atol=1e-14)


def test_narrow_numbers_are_added_up_in_float32_and_tf32_is_an_option():
    a, b = np.ones((1, 2, 3), "float16"), np.full((3, 2), 1024.5, "float16")
    out = np.empty((2, 2), "float32")
    assert multiply(a, b, out) == [CODES["COMPUTE_32F"]]
    assert np.all(out == 3 * float(b[0, 0]))
    single = np.ones((1, 2, 3), "float32"), np.ones((3, 2), "float32")
    assert multiply(*single, out) == [CODES["COMPUTE_32F"]]
    assert multiply(*single, out, tf32=True) == [CODES["COMPUTE_32F_FAST_TF32"]]
    double = np.ones((1, 2, 3)), np.ones((3, 2))
    assert multiply(*double, np.empty((2, 2)), tf32=True) == [CODES["COMPUTE_64F"]]


def test_what_lies_neither_by_rows_nor_by_columns_is_told():
    x = np.zeros((4, 6))
    assert orientation(x) == (0, 6) and orientation(x.T) == (1, 6)
    assert orientation(x[:, ::2]) is None and orientation(np.broadcast_to(x[0], (4, 6))) is None


def test_cupy_has_what_is_called():
    """The names, where they can be looked at without a GPU."""
    pytest.importorskip("cupy", reason="CuPy is not installed")
    from cupy._core import _routines_linalg as linalg
    from cupy.cuda import device
    from cupy_backends.cuda.api import runtime as real

    assert all(isinstance(getattr(real, name), int) for name in KINDS.values())
    assert callable(device.get_cublas_handle)
    assert linalg.get_compute_type("float32") == linalg.COMPUTE_TYPE_DEFAULT != linalg.COMPUTE_TYPE_TF32
