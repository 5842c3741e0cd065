"""Memory that is used again: a scan's large arrays lie where those of earlier scans lay.

A fresh array is a page fault for every 4 KiB, and what is freed the allocator gives back to the system: at middle sizes
a quarter of a training step. Here a block waits for the next scan instead, `LIMIT` bytes of them at the most.
"""

from __future__ import annotations

from typing import Any
from weakref import finalize

import numpy as np

from rnnbp.numerics import HostArray

LEAST = 2**16  # bytes; for fewer the allocator is as quick
LIMIT = 2**28
_SPARE: dict[int, list[HostArray]] = {}  # blocks by their size. No lock: a block may come back while one is taken


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> HostArray:
    """An array as of `np.empty`. Its memory is spare again when it and all views of it are gone."""
    size = int(np.prod(shape)) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    try:
        block = _SPARE.get(_rounded(size), []).pop()
    except IndexError:
        block = np.empty(_rounded(size), np.uint8)
    found = np.frombuffer(block.data, dtype, size // dtype.itemsize)  # which every view of it holds on to
    finalize(found, _give_back, block).atexit = False
    return found.reshape(shape)


def _rounded(size: int) -> int:
    """A power of two, or three quarters of one: what is not touched of it takes no memory."""
    power = 1 << (size - 1).bit_length()
    return power * 3 // 4 if size <= power * 3 // 4 else power


def _give_back(block: HostArray) -> None:
    held = sum(size * len(blocks) for size, blocks in list(_SPARE.items()))
    if held + block.nbytes <= LIMIT:
        _SPARE.setdefault(block.nbytes, []).append(block)
