"""float16 and bfloat16 in generated kernels: what is stored is narrow, what is computed and added up is float32."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from fast_cells import OFF, cell
from host_device import CUDA as HOST
from host_device import Host, OnHost, library, needs_a_compiler
from rnnbp_cupy.dialect import prelude
from rnnbp_cupy.scanning import scan

import rnnbp

pytestmark = needs_a_compiler
# the spacing of numbers at 1
SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def number_type(dtype):
    if dtype == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(dtype)


@pytest.mark.parametrize("dtype", SPACING)
def test_a_carry_is_not_rounded_to_the_narrow_type(dtype):
    """Steps of a thousandth, added to an LSTM's c of 4: in bfloat16, 200 of them would be lost one by one."""
    kind, steps = number_type(dtype), 200
    made = cell("lstm", 1, 1)
    p = {"W": np.zeros((1, 4), kind), "U": np.zeros((1, 4), kind), "b": np.array([20, 20, 0.001, 0], kind)}
    s0 = (np.zeros((1, 1), kind), np.full((1, 1), 4, kind))
    _, (_, c), _ = scan(Host(), made, p, np.zeros((steps, 1, 1), kind), s0, **OFF)
    gained = steps * float(p["b"][2])
    assert abs(float(c[0, 0]) - 4 - gained) <= 4 * SPACING[dtype]  # c is rounded when it is returned: 4 … 8
    assert gained > 10 * SPACING[dtype]


@pytest.mark.parametrize("dtype", SPACING)
def test_numbers_are_rounded_to_nearest_and_back_exactly(dtype):
    kind = number_type(dtype)
    code = f"""{HOST}{prelude(dtype)}
extern "C" void there(int n, const float* x, storage* y) {{ for (int k = 0; k < n; k++) y[k] = store(x[k]); }}
extern "C" void back(int n, const storage* y, float* x) {{ for (int k = 0; k < n; k++) x[k] = load(y[k]); }}
"""
    made = library(code)
    every = np.arange(2**16, dtype=np.uint16)
    wide = np.empty(every.size, np.float32)
    made.back(every.size, ctypes.c_void_p(every.ctypes.data), ctypes.c_void_p(wide.ctypes.data))
    with np.errstate(all="ignore"):
        assert np.array_equal(wide, every.view(kind).astype(np.float32), equal_nan=True)
        rng = np.random.default_rng(0)
        x = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
        middles = (wide[:-1].astype(np.float64) + wide[1:]) / 2  # ties go to even
        x = np.concatenate([x, middles.astype(np.float32), rng.standard_normal(10_000).astype(np.float32)])
        got = np.empty(x.size, np.uint16)
        made.there(x.size, ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(got.ctypes.data))
        expected = x.astype(kind)
        same = (got == expected.view(np.uint16)) | (np.isnan(x) & np.isnan(got.view(kind).astype(np.float32)))
    assert same.all(), x[~same][:5]


@pytest.mark.parametrize("dtype", SPACING)
def test_the_public_door_takes_halves(dtype):
    """`rnnbp.scan` on the kernels gives what float64 gives without them, to the spacing of the narrow type."""
    kind, made, rng = number_type(dtype), cell("lstm", 3, 4), np.random.default_rng(0)

    def found(kind, **how):
        p = {name: w.astype(kind) for name, w in weights.items()}
        ys, _, backward = rnnbp.scan(made, p, xs.astype(kind), **how)
        return {"ys": ys, **backward(dys.astype(kind))[0]}

    weights = {name: w.astype(kind) for name, w in made.init(rng).items()}
    xs, dys = (rng.standard_normal((5, 2, n)).astype(kind) for n in (3, 4))
    narrow, exact = found(kind, backend=OnHost()), found("float64")
    for name, a in narrow.items():
        assert a.dtype == kind, name
        assert np.abs(a.astype("float64") - exact[name]).max() <= 8 * SPACING[dtype] * np.abs(exact[name]).max(), name
