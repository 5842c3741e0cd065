"""What can be tried of CuPy without a GPU: it imports, says what is missing in one line, and NVRTC compiles."""

from __future__ import annotations

import pytest

import rnnbp
from rnnbp.registry import BACKENDS

pytest.importorskip("cupy", reason="CuPy is not installed")

REASON = BACKENDS.load("cupy").available()


@pytest.mark.skipif(REASON is None, reason="there is a GPU: the tests of every backend run on it")
def test_without_a_gpu_it_says_what_is_missing():
    version = BACKENDS.load("cupy").version()
    with pytest.raises(rnnbp.UserError) as raised:
        rnnbp.backend("cupy")
    message = str(raised.value)
    assert f"cupy {version} is installed, but" in message
    assert "driver" in message or "device" in message
    assert "\n" not in message
    assert BACKENDS.load("cupy").devices() == ()


def test_a_kernel_compiles_without_a_gpu():
    """NVRTC needs no driver: machine code for a given architecture, and a message for a wrong kernel."""
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {str(error).splitlines()[0]}")

    def compiled(body: str) -> bytes:
        source = f'extern "C" __global__ void step(float* a) {{ {body} }}'
        program = nvrtc.createProgram(source, "step.cu", [], [])
        nvrtc.compileProgram(program, ["--gpu-architecture=sm_90"])
        return bytes(nvrtc.getCUBIN(program))

    assert compiled("a[threadIdx.x] = 0.5f * tanhf(0.5f * a[threadIdx.x]) + 0.5f;")[:4] == b"\x7fELF"
    with pytest.raises(nvrtc.NVRTCError):
        compiled("a[threadIdx.x] = no_such_function();")
