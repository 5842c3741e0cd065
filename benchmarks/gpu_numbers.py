"""What the next design of the GPU path depends on, measured; one JSON line for each number. Run by benchmarks/gpu.py.

The GEMM of one step, forward and backward, at the benchmark's shapes; how long the host needs for one of CuPy's calls;
a barrier over all processors inside one kernel; and how fast all of them read from the L2 cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

SIZES = [(16, 768), (64, 1024), (128, 512)]  # B, H
CALLS = 300

EMPTY = 'extern "C" __global__ void empty(int n) { (void)n; }'
BARRIER = """
extern "C" __global__ void barrier(unsigned* counter, int rounds) {
    for (unsigned round = 1; round <= rounds; round++) {
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], %1;" :: "l"(counter), "r"(1u) : "memory");
            unsigned seen;
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
            } while (seen < round * gridDim.x);
        }
        __syncthreads();
    }
}
"""
READ = """
extern "C" __global__ void read(const float4* a, int n, int rounds, float* sum) {
    float total = 0;
    for (int round = 0; round < rounds; round++)
        for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n; k += gridDim.x * blockDim.x) {
            float4 v;
            asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                         : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(a + k));
            total += v.x + v.y + v.z + v.w;
        }
    if (total == 12345.0f) *sum = total;
}
"""
KERNELS = {"empty": EMPTY, "barrier": BARRIER, "read": READ}


def timed(call: Callable[[], Any], calls: int = CALLS) -> tuple[float, float]:
    """Microseconds of one of many calls in a row: on the host until the last has been asked for, and on the device."""
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    best = [float("inf"), float("inf")]
    for _ in range(4):
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        host = time.perf_counter() - start
        end.synchronize()
        best = [min(best[0], 1e6 * host), min(best[1], 1e3 * cupy.cuda.get_elapsed_time(begin, end))]
    return best[0] / calls, best[1] / calls


def products() -> Iterator[dict[str, Any]]:
    """The GEMM of a step of an LSTM: h U, and dz Uᵀ."""
    import cupy
    from cupy._core import _routines_linalg as linalg
    from ml_dtypes import bfloat16
    from rnnbp_cupy.devices import Cuda

    kinds = {"bf16": bfloat16, "fp16": "float16", "fp32": "float32", "fp32, TF32": "float32"}
    for mode, dtype in kinds.items():
        linalg.set_compute_type("float32", linalg.COMPUTE_TYPE_TF32 if "TF32" in mode else linalg.COMPUTE_TYPE_DEFAULT)
        for batch, n in SIZES:
            u = cupy.zeros((n, 4 * n), dtype)
            for way, rows, w in (("forward", n, u), ("backward", 4 * n, u.T)):
                out = cupy.empty((batch, w.shape[1]), "float32")
                product = Cuda().product(cupy.zeros((1, batch, rows), dtype), w, out)
                host, device = timed(lambda product=product: product(0))
                rate = 2 * batch * rows * w.shape[1] / device / 1e6
                line = {"what": f"GEMM {way}", "mode": mode, "B,H": [batch, n]}
                yield line | {"host_us": host, "device_us": device, "tflops": rate}


def launches() -> Iterator[dict[str, Any]]:
    """A kernel that does nothing; a copy by CuPy's own kernel; CuPy's matmul of the same product."""
    import cupy
    import numpy as np

    kernel = cupy.RawKernel(EMPTY, "empty")
    a, b, out = cupy.zeros((16, 768), "float32"), cupy.zeros((768, 768), "float32"), cupy.empty((16, 768), "float32")
    calls: dict[str, Callable[[], Any]] = {
        "RawKernel, one argument": lambda: kernel((1,), (128,), (np.int32(1),)),
        "cupy.add with out=": lambda: cupy.add(a, a, out=out),
        "cupy.matmul with out=": lambda: cupy.matmul(a, b, out=out),
    }
    for what, call in calls.items():
        host, device = timed(call)
        yield {"what": f"launch: {what}", "host_us": host, "device_us": device}


def barriers() -> Iterator[dict[str, Any]]:
    """One barrier among as many blocks as there are processors, all resident."""
    import cupy
    import numpy as np

    kernel = cupy.RawKernel(BARRIER, "barrier", enable_cooperative_groups=True)
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]
    rounds = 2000
    for blocks in sorted({processors, processors // 2, processors // 8} - {0}):
        counter = cupy.zeros(1, "uint32")

        def call(blocks: int = blocks, counter: Any = counter) -> None:
            counter.fill(0)
            kernel((blocks,), (256,), (counter, np.int32(rounds)))

        yield {"what": "grid barrier", "blocks": blocks, "device_us": timed(call, 1)[1] / rounds}


def reads() -> Iterator[dict[str, Any]]:
    """All processors read the same few MiB again and again, past L1."""
    import cupy
    import numpy as np

    kernel = cupy.RawKernel(READ, "read")
    processors = cupy.cuda.Device().attributes["MultiProcessorCount"]
    for mib in (2, 8, 24):
        a, rounds = cupy.zeros(mib * 2**18, "float32"), 50
        total, entries = cupy.zeros(1, "float32"), np.int32(a.size // 4)

        def call(a: Any = a, total: Any = total, entries: Any = entries, rounds: int = rounds) -> None:
            kernel((4 * processors,), (256,), (a, entries, np.int32(rounds), total))

        device = timed(call, 1)[1]
        yield {"what": "L2 read", "MiB": mib, "gb_per_s": rounds * a.nbytes / device / 1e3}


def main() -> None:
    for part in (launches, products, barriers, reads):
        try:
            for line in part():
                print(json.dumps({"part": "numbers", **line}), flush=True)
        except Exception as error:  # recorded, and the next part tried
            told = f"{type(error).__name__}: {error}"
            print(json.dumps({"part": "numbers", "what": part.__name__, "failed": told}), flush=True)


if __name__ == "__main__":
    main()
