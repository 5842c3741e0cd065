"""One pool of threads for a process, and BLAS held to one thread while they run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numba
from threadpoolctl import ThreadpoolController

GRAIN = 2e7  # multiplications and additions, of products mostly: a quarter of a millisecond
_LOCK = Lock()
_POOL: ThreadPoolExecutor | None = None
_LIMITS: dict[str, Any] = {"users": 0, "before": None}  # scans at work; BLAS's threads before the first of them


def count() -> int:
    """How many threads a scan may take: $OMP_NUM_THREADS, $NUMBA_NUM_THREADS, the cores of this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    told = int(asked) if asked.isdecimal() and int(asked) else cores
    return max(1, min(told, cores, int(numba.config.NUMBA_NUM_THREADS)))


def worth(operations: float) -> int:
    """The same, but no more than have `GRAIN` operations each: to wake a thread and to wait for it costs as much."""
    most = int(operations / GRAIN)
    return min(count(), most) if most > 1 else 1


def shards(total: int, parts: int) -> list[tuple[int, int]]:
    """0 … total cut into so many pieces of nearly one size, none of them empty."""
    parts = max(1, min(parts, total))
    cuts = [total * k // parts for k in range(parts + 1)]
    return list(zip(cuts, cuts[1:], strict=False))


def on_each(pieces: list[Any], work: Callable[[Any], None]) -> None:
    """Do the work for every piece at once, the first on this thread; an error of any of them is raised here."""
    waiting: list[Future[None]] = []
    mine = pieces[:1]
    try:
        for piece in pieces[1:]:
            try:
                waiting.append(_pool().submit(work, piece))
            except RuntimeError as refused:
                if "cannot schedule" not in str(refused):
                    raise
                mine.append(piece)  # the interpreter is about to end, pools take nothing more
        for piece in mine:
            work(piece)
    finally:
        errors = [future.exception() for future in waiting]  # waits for all: they write to arrays of this call
    for error in filter(None, errors):
        raise error


def _pool() -> ThreadPoolExecutor:
    global _POOL
    with _LOCK:
        if _POOL is None:
            _POOL = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), "rnnbp", _hold_own)
        return _POOL


@contextmanager
def blas_alone() -> Iterator[None]:
    """BLAS on the calling thread only. Of scans that overlap the first sets the limit, and the last lifts it."""
    shared, own = _libraries()
    with _LOCK:
        _LIMITS["users"] += 1
        if _LIMITS["before"] is None:
            _LIMITS["before"] = _exchanged(shared, [1] * len(shared))
    mine = _exchanged(own, [1] * len(own))
    try:
        yield
    finally:
        _exchanged(own, mine)
        with _LOCK:
            _LIMITS["users"] -= 1
            if _LIMITS["users"] == 0:
                _exchanged(shared, _LIMITS["before"])
                _LIMITS["before"] = None


def _hold_own() -> None:
    """What a thread of the pool starts with: libraries that count for each thread by itself, at one for good."""
    own = _libraries()[1]
    _exchanged(own, [1] * len(own))


@cache
def _libraries() -> tuple[list[Any], list[Any]]:
    """Every BLAS in this process: those with one number of threads for all callers, those with one for each thread."""
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [lib for lib in found if lib.internal_api == "mkl" or getattr(lib, "threading_layer", "") == "openmp"]
    return [lib for lib in found if lib not in own], own


def _exchanged(libraries: list[Any], numbers: list[int]) -> list[int]:
    """The numbers of threads before they were set to these.

    Newer versions of threadpoolctl let only one thread at a time set those of OpenBLAS, and do nothing for the others;
    here the first scan to come sets it and the last to go resets it, whatever their threads.
    """
    before = [lib.get_num_threads() for lib in libraries]
    changed = [(lib, n) for lib, n, now in zip(libraries, numbers, before, strict=True) if n != now]
    for lib, number in changed:
        release = getattr(lib, "clear_controlling_thread", lambda **_: None)
        release(force=True)
        lib.set_num_threads(number)
        release(force=True)
    return before


def _after_fork() -> None:
    """A child has none of its parent's threads, and a lock may have been held by one of them.

    A limit that their scans had set is in force in the child, too; its own first scan lifts it.
    """
    global _LOCK, _POOL
    _LOCK, _POOL = Lock(), None
    _LIMITS["users"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
