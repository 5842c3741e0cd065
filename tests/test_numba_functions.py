"""The compiled tanh and exp over all float32 inputs and float64 ones of every binade; the recurrent product."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

numba = pytest.importorskip("numba")
pytest.importorskip("numba_scans")  # skips where kernels are not compiled
from llvmlite import ir  # noqa: E402
from numba import njit, types  # noqa: E402
from numba.extending import intrinsic  # noqa: E402
from rnnbp_numpy import products  # noqa: E402
from rnnbp_numpy.functions import FAST, exp32, exp64, inlined, tanh32, tanh64  # noqa: E402

F = np.float32
SIGN = -(2**31)  # what the bits of a negative float32 are counted from
INFINITY = 0x7F800000
X80 = np.finfo(np.longdouble).nmant == 63


@intrinsic
def bits_of(typingctx, x):
    del typingctx
    return types.int32(x), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def float_of(typingctx, k):
    del typingctx
    return types.float32(k), lambda _c, builder, _s, args: builder.bitcast(args[0], ir.FloatType())


def bits(x: float) -> int:
    return int(F(x).view(np.int32))


def farthest(function, reference):
    """How many float32 lie between a function and what it should be, at most, for inputs with bits first … last−1."""

    @njit(**FAST)
    def over(first, last):
        most = np.uint32(0)  # without a sign: of −x and x they lie 2³¹ apart
        for k in range(np.int32(first), np.int32(last)):
            x = float_of(np.int32(k))
            far = np.uint32(np.int32(abs(bits_of(function(x)) - bits_of(F(reference(x))))))
            most = far if far > most else most
        return most

    return over


@cache
def entrywise(function):
    @njit(**FAST)
    def over(x, y):
        for k in range(len(x)):
            y[k] = function(x[k])

    def call(x):
        y = np.empty_like(x)
        over(x, y)
        return y

    return call


itself = inlined(lambda x: x)
one, none, endless = inlined(lambda x: F(1)), inlined(lambda x: F(0)), inlined(lambda x: F(np.inf))  # noqa: ARG005
minus_one = inlined(lambda x: F(-1))  # noqa: ARG005
wide_tanh, wide_exp = inlined(lambda x: tanh64(np.float64(x))), inlined(lambda x: exp64(np.float64(x)))

# Where the function is itself, or constant, to less than a rounding, that is the reference: it saves half of the time.
RANGES = {
    "tanh near 0": (tanh32, itself, 0.0, 2.0**-13),  # tanh x = x (1 − x²/3 …), and x²/3 < 2⁻²⁷
    "tanh": (tanh32, wide_tanh, 2.0**-13, 20.0),
    "tanh from 20 on": (tanh32, one, 20.0, np.inf),
    "tanh near -0": (tanh32, itself, -0.0, -(2.0**-13)),
    "tanh of less": (tanh32, wide_tanh, -(2.0**-13), -20.0),
    "tanh from -20 on": (tanh32, minus_one, -20.0, -np.inf),
    "exp near 0": (exp32, one, 0.0, 2.0**-26),
    "exp": (exp32, wide_exp, 2.0**-26, 90.0),
    "exp from 90 on": (exp32, endless, 90.0, np.inf),
    "exp near -0": (exp32, one, -0.0, -(2.0**-26)),
    "exp of less": (exp32, wide_exp, -(2.0**-26), -105.0),
    "exp from -105 on": (exp32, none, -105.0, -np.inf),
}


@pytest.mark.parametrize("where", RANGES)
def test_every_float32_is_within_5_units_in_the_last_place(where):
    """4 between it and the reference rounded, which is half a unit off, or less near 0 where it is x: 5 in all."""
    function, reference, first, last = RANGES[where]
    assert farthest(function, reference)(bits(first), bits(last) + 1) <= 4


def test_the_ranges_are_all_float32():
    for name in ("tanh", "exp"):
        parts = [(bits(a), bits(b)) for key, (_, _, a, b) in RANGES.items() if key.startswith(name)]
        for begin in (0, SIGN):
            own = sorted(p for p in parts if (p[0] < 0) == (begin < 0))
            assert own[0][0] == begin and own[-1][1] == begin + INFINITY
            assert all(a[1] == b[0] for a, b in zip(own, own[1:], strict=False))


def test_the_search_finds_what_is_wrong():
    off = inlined(lambda x: tanh32(x) * F(1 + 2.0**-20))
    assert farthest(off, wide_tanh)(bits(0.5), bits(0.75)) > 4
    assert farthest(inlined(lambda x: -tanh32(x)), wide_tanh)(bits(0.5), bits(0.75)) > 4


@pytest.mark.skipif(not X80, reason="numpy.longdouble is not the 80 bit format here")
@pytest.mark.parametrize(("function", "exact"), [(tanh64, np.tanh), (exp64, np.exp)], ids=["tanh", "exp"])
def test_float64_is_within_2_units_in_the_last_place(function, exact):
    """2 million inputs of all binades, and 2 million where the function is neither constant nor the identity."""
    rng = np.random.default_rng(0)
    binades = rng.uniform(1, 2, 2_000_000) * 2.0 ** rng.integers(-1074, 1024, 2_000_000)
    x = np.concatenate([binades, rng.uniform(0, 1, 10**6) ** 3 * 25, rng.uniform(0, 760, 10**6)])
    x *= rng.choice([-1.0, 1.0], x.size)
    with np.errstate(all="ignore"):
        wanted = exact(x.astype(np.longdouble))
        top = np.abs(wanted) < np.finfo("float64").max
        found = entrywise(function)(x)
        assert np.all(top | (found == wanted.astype("float64")))
        error = np.abs(found[top] - wanted[top]) / np.spacing(np.abs(wanted[top].astype("float64")))
    assert np.max(error) <= 2


@pytest.mark.parametrize("function", [tanh32, tanh64, exp32, exp64], ids=["tanh32", "tanh64", "exp32", "exp64"])
def test_what_is_special(function):
    dtype = "float32" if function in (tanh32, exp32) else "float64"
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, tiny, -tiny, np.finfo(dtype).max, -np.finfo(dtype).max], dtype)
    y = entrywise(function)(x)
    if function in (tanh32, tanh64):
        assert np.array_equal(y, np.array([1, -1, np.nan, 0, 0, tiny, -tiny, 1, -1], dtype), equal_nan=True)
        assert np.array_equal(np.signbit(y[3:5]), [False, True])
    else:
        assert np.array_equal(y, np.array([np.inf, 0, np.nan, 1, 1, 1, 1, np.inf, 0], dtype), equal_nan=True)
    assert y.dtype == dtype


@pytest.mark.parametrize("function", [tanh32, tanh64, exp32, exp64], ids=["tanh32", "tanh64", "exp32", "exp64"])
def test_bounds_oddness_and_order(function):
    dtype, tanh = ("float32" if function in (tanh32, exp32) else "float64"), function in (tanh32, tanh64)
    x = np.sort(np.random.default_rng(1).uniform(-25, 25, 1_000_000).astype(dtype))
    y = entrywise(function)(x)
    units = 5 if dtype == "float32" else 2
    assert np.all(np.diff(y) >= -2 * units * np.spacing(np.abs(y[1:]))), "falls by more than both errors"
    if tanh:
        assert np.all(np.abs(y) <= 1) and np.array_equal(entrywise(function)(-x), -y)
    else:
        assert np.all(y > 0)


# ---- the recurrent product -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depth", [1, 2, 7, 37])
def test_the_product(dtype, depth):
    """Any number of columns and of rows; what a row gives depends on no other row, to the bit."""
    rng = np.random.default_rng(depth)
    width = products.VECTORS * products.REGISTER_BYTES // np.dtype(dtype).itemsize
    rows = 2 * products.ROWS + 1
    for columns in (1, width - 1, width, width + 1, 3 * width, 7 * width + 5):
        stored = rng.standard_normal((rows, depth + 3)).astype(dtype)  # rows lie further apart than they are long
        a, b = stored[:, :depth], rng.standard_normal((depth, columns)).astype(dtype)
        panels = products.packed(b)
        wide = panels.shape[0] * panels.shape[2]
        assert panels.ctypes.data % 64 == 0 and columns <= wide < columns + width

        def multiplied(first, count, stored=stored, panels=panels, wide=wide):
            c = np.full((count + 2, wide), np.nan, dtype)
            products.product(count, stored[first:].ctypes.data, stored.shape[1], panels, c[1 : count + 1])
            assert np.all(np.isnan(c[[0, -1]])), "it wrote beside C"
            return c[1 : count + 1]

        whole = multiplied(0, rows)
        exact = a.astype("float64") @ b.astype("float64")
        bound = depth * np.finfo(dtype).eps * (np.abs(a).astype("float64") @ np.abs(b).astype("float64"))
        assert np.all(np.abs(whole[:, :columns] - exact) <= bound) and not np.any(whole[:, columns:])
        for count in range(1, rows + 1):
            first = (count * 5) % (rows - count + 1)
            assert np.array_equal(multiplied(first, count), whole[first : first + count]), count


def test_panels_may_come_from_any_layout():
    b = np.random.default_rng(0).standard_normal((9, 70))
    for other in (np.asfortranarray(b), b.T.copy().T, np.repeat(b, 2, axis=1)[:, ::2]):
        assert np.array_equal(products.packed(other), products.packed(b))
