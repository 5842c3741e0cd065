"""Where something was measured: the machine, the versions, and what the environment says about threads and kernels."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnbp.backends import installed_version

OURS = ("rnnbp", "numpy", "array-api-compat", "numba", "llvmlite", "threadpoolctl", "cupy-cuda12x", "cupy-cuda13x")
DISTRIBUTIONS = (*OURS, "torch", "jax", "jaxlib", "array-api-strict")
PREFIXES = (
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "ONEDNN_",
    "XLA_",
    "MALLOC_",
    "NUMBA_",
)  # what decides on threads, kernels and memory


def machine() -> dict[str, Any]:
    """Plain values, for a JSON file: processor, system, versions, NumPy's BLAS, environment variables."""
    versions = {name: installed_version(name) for name in DISTRIBUTIONS}
    return {
        "processor": processor(),
        "cores": cores(),
        "gpus": gpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
        "blas": blas(),
        "environment": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(PREFIXES)},
    }


def described(found: Mapping[str, Any]) -> str:
    """What `machine` found, in words."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{found['processor']}, {found['cores']} cores, {found['system']}"
    return f"{where}; Python {found['python']}, {versions}; NumPy's BLAS: {found['blas']}"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's model, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line)
        return next(names, platform.machine())
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def gpus() -> list[str]:
    """The names of the GPUs that the libraries loaded so far can see."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_available():
        return [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    if cupy is not None and cupy.is_available():
        runtime = cupy.cuda.runtime
        return [runtime.getDeviceProperties(k)["name"].decode() for k in range(runtime.getDeviceCount())]
    return []


def blas() -> str:
    """What NumPy multiplies matrices with and, where threadpoolctl is installed, for which processor."""
    built: Any = np.show_config(mode="dicts")
    found = built["Build Dependencies"]["blas"]
    name = f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return name
    kernels = {
        pool["architecture"] for pool in threadpool_info() if pool["user_api"] == "blas" and "architecture" in pool
    }
    return f"{name}, kernels for {', '.join(sorted(kernels))}" if kernels else name
