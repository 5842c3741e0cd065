"""Products on a second thread while the loop over time goes on, with BLAS held to one thread for each."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

Start: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]  # work -> wait for it


class Blas(NamedTuple):
    """How many threads NumPy's OpenBLAS takes: asked, and set."""

    get: Callable[[], int]
    set: Callable[[int], None]


_NAMES = [f"{scipy}openblas_{{}}_num_threads{bits}" for scipy in ("scipy_", "") for bits in ("64_", "")]
_LOCK = Lock()
_STATE = {"users": 0, "before": 1}


@cache
def blas() -> Blas | None:
    """OpenBLAS, if it is what NumPy's own extension is linked to; other libraries keep their threads."""
    try:
        library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return None
    for name in _NAMES:
        if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
            return Blas(getattr(library, name.format("get")), getattr(library, name.format("set")))
    return None


@contextmanager
def beside(worth: bool) -> Iterator[Start]:
    """`start(work)` begins it and gives what waits for it: on a thread of its own where BLAS has just two.

    With one thread, with more (which BLAS uses better), with a BLAS that cannot be told or where it is not worth it,
    the work is done at once. Of scans that overlap the first sets the limit, and the last lifts it.
    """
    library = blas() if worth else None
    if library is None or not _limited(library):
        yield _at_once
        return
    try:
        with ThreadPoolExecutor(1, "rnnbp") as pool:  # one for each call: none is left to a child after a fork
            yield lambda work: pool.submit(work).result
    finally:
        with _LOCK:
            _STATE["users"] -= 1
            if not _STATE["users"]:
                library.set(_STATE["before"])


def _limited(library: Blas) -> bool:
    """Hold BLAS to one thread, if it has two."""
    with _LOCK:
        if not _STATE["users"]:
            _STATE["before"] = library.get()
        if _STATE["before"] != 2:
            return False
        _STATE["users"] += 1
        library.set(1)
        return True


def _at_once(work: Callable[[], None]) -> Callable[[], Any]:
    work()
    return nothing


def nothing() -> None:
    """Wait for what is done."""
    return None


def _after_fork() -> None:
    """A child has none of its parent's threads, and no scan that would lift the limit."""
    global _LOCK
    _LOCK = Lock()
    library = blas() if _STATE["users"] else None
    if library is not None:
        library.set(_STATE["before"])
    _STATE["users"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
