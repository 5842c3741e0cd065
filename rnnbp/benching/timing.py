"""The clock: calls in turn, each after it has run alone for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeAlias

import numpy as np

from rnnbp.backends import Backend
from rnnbp.benching.plans import on_gpu

Call: TypeAlias = Callable[[], Any]
Clock: TypeAlias = Callable[[Call], float]  # the seconds that a call takes, the device's work included

SETTLE = 0.05  # seconds for which the threads of another library may go on spinning after its last call
GEMM_SIZES = {"cpu": 2048, "gpu": 8192}


@dataclass(frozen=True)
class Timing:
    """The seconds that each call took."""

    seconds: tuple[float, ...]

    @property
    def least(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return median(self.seconds)


def host_seconds(call: Call) -> float:
    """The clock for calls that return only when all is done: asking a device whether it is would be timed with them."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(calls: dict[str, tuple[Clock, Call]], repeats: int, tick: Callable[[], None]) -> dict[str, Timing]:
    """Time the calls in turn, `repeats` rounds of it, every second round backwards: what slows the machine meets all.

    Before each timed call the same call runs untimed, once at least and for `SETTLE` seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(repeats):
        for name in list(calls) if k % 2 == 0 else reversed(calls):
            seconds, call = calls[name]
            until = time.perf_counter() + SETTLE
            seconds(call)
            while time.perf_counter() < until:
                seconds(call)
            taken[name].append(seconds(call))
        tick()
    return {name: Timing(tuple(each)) for name, each in taken.items()}


def gemm(backend: Backend, dtype: str) -> tuple[int, Call]:
    """n, and the product of two n×n matrices, large enough to show the best that a device can do.

    Two: of a matrix and its own transpose NumPy has BLAS make one triangle only, with half of the operations.
    """
    n, rng = GEMM_SIZES["gpu" if on_gpu(backend) else "cpu"], np.random.default_rng(0)
    a, b = (backend.asarray(rng.standard_normal((n, n), np.dtype(dtype))) for _ in range(2))
    return n, partial(backend.xp.matmul, a, b)
