"""One pool of threads for a process, and BLAS held to one thread while they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numba
from threadpoolctl import ThreadpoolController

_LOCK = Lock()
_POOL: ThreadPoolExecutor | None = None
_LIMITS: dict[str, Any] = {"users": 0, "controller": None, "limiter": None}


def count() -> int:
    """How many threads a scan may take: $OMP_NUM_THREADS, $NUMBA_NUM_THREADS, the cores of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    told = int(asked) if asked.isdecimal() and int(asked) else cores
    return max(1, min(told, cores, int(numba.config.NUMBA_NUM_THREADS)))


def shards(total: int, parts: int) -> list[tuple[int, int]]:
    """0 … total cut into so many pieces of nearly one size, none of them empty."""
    parts = max(1, min(parts, total))
    cuts = [total * k // parts for k in range(parts + 1)]
    return list(zip(cuts, cuts[1:], strict=False))


def on_each(pieces: list[Any], work: Callable[[Any], None]) -> None:
    """Do the work for every piece at once, the first on this thread; an error of any of them is raised here."""
    if len(pieces) == 1:
        work(pieces[0])
        return
    waiting = [_pool().submit(work, piece) for piece in pieces[1:]]
    try:
        work(pieces[0])
    finally:
        errors = [future.exception() for future in waiting]  # waits for all: they write to arrays of this call
    for error in filter(None, errors):
        raise error


def _pool() -> ThreadPoolExecutor:
    global _POOL
    with _LOCK:
        if _POOL is None:
            _POOL = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "rnnbp")
        return _POOL


@contextmanager
def blas_alone() -> Iterator[None]:
    """BLAS on the calling thread only. Of scans that overlap the first sets the limit, and the last lifts it."""
    with _LOCK:
        _LIMITS["users"] += 1
        if _LIMITS["users"] == 1:
            _LIMITS["controller"] = _LIMITS["controller"] or ThreadpoolController()
            _LIMITS["limiter"] = _LIMITS["controller"].limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _LOCK:
            _LIMITS["users"] -= 1
            if _LIMITS["users"] == 0:
                _LIMITS["limiter"].restore_original_limits()


def _after_fork() -> None:
    """A child has none of its parent's threads, and a lock may have been held by one of them."""
    global _LOCK, _POOL
    _LOCK, _POOL = Lock(), None
    _LIMITS.update(users=0, limiter=None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
