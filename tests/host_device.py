"""The scan's device in host memory: NumPy's arrays, and the generated kernels compiled for the host.

The kernels' text is the one that a GPU gets, to the letter; what CUDA brings besides, the indices of a thread among it,
is defined here, and a loop goes through all threads.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import array_api_compat.numpy
import numpy as np
import pytest
from rnnbp_cupy.generating import THREADS
from rnnbp_cupy.scanning import scan

import rnnbp

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_a_compiler = pytest.mark.skipif(
    COMPILER is None, reason="there is no C compiler to build the kernels for the host"
)

CUDA = r"""
#define __global__
#define __device__ static
#define __launch_bounds__(n)
struct Index { unsigned x; };
static thread_local Index blockIdx, threadIdx, blockDim;
static inline int __float_as_int(float x) { int y; __builtin_memcpy(&y, &x, 4); return y; }
static inline float __int_as_float(int x) { float y; __builtin_memcpy(&y, &x, 4); return y; }
static inline float tanh(float x) { return __builtin_tanhf(x); }
static inline float exp(float x) { return __builtin_expf(x); }
static inline float expm1(float x) { return __builtin_expm1f(x); }
static inline float log(float x) { return __builtin_logf(x); }
static inline float log1p(float x) { return __builtin_log1pf(x); }
static inline float sqrt(float x) { return __builtin_sqrtf(x); }
static inline float pow(float x, float y) { return __builtin_powf(x, y); }
extern "C" { double tanh(double); double exp(double); double expm1(double); double log(double); double log1p(double); }
extern "C" { double sqrt(double); double pow(double, double); }
static inline float half_to_float(unsigned short bits) {
    const int e = (bits >> 10) & 31, m = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (e == 31) return m ? __builtin_nanf("") : sign * __builtin_inff();
    return sign * (e ? __builtin_ldexpf(1024 + m, e - 25) : __builtin_ldexpf(m, -24));
}
static inline unsigned short float_to_half(float x) {  // to nearest, ties to even: nearbyint does so by default
    const unsigned short sign = __builtin_signbit(x) ? 0x8000 : 0;
    const float size = __builtin_fabsf(x);
    if (x != x) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size == 0) return sign;
    int e; __builtin_frexpf(size, &e);
    const int scale = e - 11 < -24 ? -24 : e - 11;
    const int m = (int)__builtin_nearbyintf(__builtin_ldexpf(size, -scale));
    return sign | (unsigned short)(m + ((scale + 24) << 10));
}
#define HALF_TO_FLOAT(bits, x) x = half_to_float(bits)
#define FLOAT_TO_HALF(x, bits) bits = float_to_half(x)
"""


def entry(kernel):
    """A function that runs all threads of a kernel."""
    taken = ", ".join(f"{p.kind} {p.name}" for p in kernel.parameters)
    names = ", ".join(p.name for p in kernel.parameters)
    return f"""
extern "C" void run_{kernel.name}(unsigned blocks, unsigned threads, {taken}) {{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) {kernel.name}({names});
}}
"""


@cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="rnnbp-kernels-")


@cache
def library(source):
    """The library that the compiler makes of a source."""
    path = Path(_folder().name) / hashlib.sha256(source.encode()).hexdigest()[:20]
    path.with_suffix(".cpp").write_text(source)
    command = [COMPILER, "-O1", "-shared", "-fPIC", "-x", "c++", "-std=c++14", "-Wall", "-Wextra", "-Werror"]
    command += ["-Wno-unused", "-Wno-unused-parameter", "-ffp-contract=off"]
    done = subprocess.run(
        [*command, "-o", f"{path}.so", f"{path}.cpp", "-lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\n{source}"
    return ctypes.CDLL(f"{path}.so")


class Names:
    """NumPy's namespace, where a call must fit the signature that CuPy's has, if that is installed."""

    def __getattr__(self, name):
        function = getattr(array_api_compat.numpy, name)
        return _as_cupy_takes_it(name, function) if callable(function) and not isinstance(function, type) else function


@cache
def _as_cupy_takes_it(name, function):
    try:
        import array_api_compat.cupy

        signature = inspect.signature(getattr(array_api_compat.cupy, name))
    except (ImportError, ValueError):
        return function

    def call(*args, **options):
        signature.bind(*args, **options)
        return function(*args, **options)

    return call


class Host:
    """`rnnbp_cupy.devices.Device` without a GPU; it counts what it is asked to do."""

    xp = Names()

    def __init__(self, spoil=None):
        self.launches = self.products = 0
        self.spoil = spoil  # (a piece of the kernels' text, what stands there instead): a fault to be found

    def product(self, a, b, out):
        self._check(a, b, out)
        narrow = a.dtype != out.dtype or a.dtype.itemsize == 2

        def step(k):
            self.products += 1
            if narrow:  # cuBLAS adds up in float32
                out[...] = a[k].astype("float32") @ b.astype("float32")
            else:
                np.matmul(a[k], b, out=out)

        return step

    def launcher(self, found, kernel, size, arrays):
        text = found.source
        if self.spoil:
            assert self.spoil[0] in text
            text = text.replace(*self.spoil)
        code = CUDA + text + entry(found.forward) + entry(found.backward)
        run = getattr(library(code), f"run_{kernel.name}")
        for parameter, a in zip(kernel.parameters, arrays, strict=False):
            if a is not None:
                assert a.flags.c_contiguous, f"{parameter.name} does not lie row by row"
                assert a.flags.writeable or parameter.kind.startswith("const"), f"{parameter.name} is read-only"
                self._check_kind(found, parameter, a)
        pointers = [ctypes.c_void_p(None if a is None else a.ctypes.data) for a in arrays]
        assert len(pointers) == len(kernel.arrays)
        blocks = -(-size // THREADS)

        def launch(*numbers):
            self.launches += 1
            assert len(pointers) + len(numbers) == len(kernel.parameters)
            run(ctypes.c_uint(blocks), ctypes.c_uint(THREADS), *pointers, *map(ctypes.c_int, numbers))

        launch.arrays = arrays  # their memory is in use
        return launch

    @staticmethod
    def _check(a, b, out):
        assert a.ndim == 3 and b.ndim == out.ndim == 2 and out.flags.c_contiguous and out.flags.writeable
        assert (a.shape[1], a.shape[2], b.shape[1]) == (out.shape[0], b.shape[0], out.shape[1])
        assert a.dtype == b.dtype

    @staticmethod
    def _check_kind(found, parameter, a):
        wanted = {"bool": "bool", "real": found.real, "storage": found.dtype}
        assert a.dtype.name == wanted[parameter.kind.removeprefix("const ").removesuffix("*")], parameter.name


class OnHost(type(rnnbp.backend("numpy"))):
    """NumPy's arrays, with that scan as the backend's fast one."""

    path = "cuda"

    def scan(self, *args, **options):
        return scan(Host(), *args, **options)
