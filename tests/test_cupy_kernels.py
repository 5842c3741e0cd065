"""Every generated kernel compiles for GPUs with NVRTC, which needs none, and keeps its values in registers."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from fast_cells import FUSED, cell
from helpers import refusal
from rnnbp_cupy.dialect import REAL, RESERVED
from rnnbp_cupy.generating import kernels

import rnnbp
from rnnbp.registry import BACKENDS

ARCHITECTURES = ("sm_80", "sm_90")


@pytest.fixture(scope="session")
def nvrtc():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {str(error).splitlines()[0]}")
    return nvrtc


def spills(nvrtc, source, architecture):
    """Compile; the assembler's report: bytes that each kernel spills to memory, or has there from the start."""
    program = nvrtc.createProgram(source, "kernels.cu", [], [])
    options = [f"--gpu-architecture={architecture}", "--std=c++14", "--ptxas-options=-v"]
    nvrtc.compileProgram(program, options)
    assert bytes(nvrtc.getCUBIN(program))[:4] == b"\x7fELF"
    log = nvrtc.getProgramLog(program)
    assert "warning" not in log, log
    report = r"Function properties for (\w+)\s+ptxas[ .]*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes"
    return {name: sum(map(int, numbers)) for name, *numbers in re.findall(report, log)}


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", FUSED)
def test_every_kernel_compiles_and_does_not_spill(nvrtc, name, dtype):
    found = kernels(cell(name), dtype)
    for architecture in ARCHITECTURES:
        report = spills(nvrtc, found.source, architecture)
        assert report.keys() >= {found.forward.name, found.backward.name}
        assert not any(report.values()), (architecture, report)


def test_a_spill_is_found(nvrtc):
    """64 values that all wait for each other, in a kernel that may have 32 registers a thread."""
    source = """extern "C" __global__ void __launch_bounds__(1024, 2) many(float* a, int n) {
    float v[64];
    #pragma unroll
    for (int k = 0; k < 64; k++) v[k] = a[k * n + threadIdx.x];
    for (int r = 0; r < n; r++) {
        #pragma unroll
        for (int k = 0; k < 64; k++) v[k] = v[k] * v[(k + 7) % 64] + r;
    }
    #pragma unroll
    for (int k = 0; k < 64; k++) a[k * n + threadIdx.x] = v[k];
}"""
    assert spills(nvrtc, source, "sm_90")["many"] > 0


def test_an_error_is_found(nvrtc):
    source = kernels(cell("lstm"), "float32").source.replace("tanh(", "no_such_function(", 1)
    with pytest.raises(nvrtc.NVRTCError):
        spills(nvrtc, source, "sm_90")


def test_the_source_reads_like_the_cell():
    source = BACKENDS.load("cupy").generated(rnnbp.cell("lstm:peepholes=true", 4, 6), "float32")
    for line in (
        "const real c1 = f * c + i * g;",
        "const real t = tanh(c1);",
        "const real da_o = dh_total * t * (o * (real(1.0) - o));",
        "sum_dpo[at] += dpo;",
    ):
        assert line in source
    assert "LSTM_forward(" in source and "LSTM_backward(" in source


def test_no_source_needs_cupy():
    code = "import sys, rnnbp; from rnnbp.registry import BACKENDS; kind = BACKENDS.load('cupy'); "
    code += "import rnnbp_cupy.scanning; kind.generated(rnnbp.cell('lstm', 4, 6), 'float32'); "
    code += "sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_has_no_kernel_is_told_in_one_line():
    generated = BACKENDS.load("cupy").generated
    assert "plain Cell" in refusal(lambda: generated(rnnbp.cell("gru:reset=before", 4, 6), "float32"))
    assert "complex64" in refusal(lambda: generated(rnnbp.cell("gru", 4, 6), "complex64"))


class Awkward(rnnbp.PointwiseCell):
    """Names that C has already, that kernels have already, or that are none in C; infinity, NaN and every function."""

    gates = ("int", "float")
    split = ("int",)

    @property
    def states(self):
        return {"double": (self.hidden_size,), "dz": (self.hidden_size,), "row'": (self.hidden_size,)}

    @property
    def elementwise(self):
        return {"unit": rnnbp.Param((self.hidden_size,), lambda rng, shape: rng.random(shape))}

    @property
    def data(self):
        return {"H": (self.hidden_size,)}

    def pointwise(self, xp, a, s, p, e):
        (ix, ih, f), (double, dz, row), at, on = a, s, p["unit"], e["H"]
        tanh = xp.tanh(ix + at * ih)
        store = xp.where((f > 0) & ~(row > on), tanh, xp.where(tanh < -0.5, 0.5 * tanh, -tanh))
        size = xp.maximum(xp.minimum(store, 2.0), -(row**2)) + xp.where(f < float("-inf"), float("nan"), 0.0)
        flag = xp.log1p(xp.exp(-(f * f))) + xp.sqrt(dz * dz + 1) + xp.expm1(0.1 * tanh) + xp.log(2 + tanh)
        kept = f > dz

        def backward(ds1):
            d0, d1, d2 = ds1
            v1 = d0 * size * at + xp.where(kept, xp.minimum(d1, float("inf")), d0) * 0.5**1.5
            return (v1, v1 * flag, d2), (d0 * double, d1 * on, d2 * row), {"unit": d0 * store + d1**3}

        return (size, flag + double**2.5 * 0, store * on), backward


def test_any_name_and_any_function(nvrtc):
    found = kernels(Awkward(4, 6), "float64")
    assert not any(spills(nvrtc, found.source, "sm_90").values())
    declared = re.findall(r"const real (\w+) =", found.forward.source)
    assert len(set(declared)) == len(declared) and not set(declared) & RESERVED


def test_any_name_and_any_function_computes_what_the_cell_does():
    from host_device import COMPILER
    from test_cupy_scanning import fused, results

    if COMPILER is None:
        pytest.skip("there is no C compiler")
    from helpers import agree, portable, problem

    q = problem(Awkward(4, 6), 3, 1)
    q = q._replace(s0=tuple(np.abs(z) for z in q.s0))
    agree(results(q, fused), results(q, portable))
