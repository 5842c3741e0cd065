"""Memory that the NumPy backend's scans use again: never while anybody can still see it, and only so much of it."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rnnbp_numpy import spare

import rnnbp

F8, F4 = np.dtype("float64"), np.dtype("float32")


@pytest.fixture(autouse=True)
def nothing_spare(monkeypatch):
    monkeypatch.setattr(spare, "_SPARE", {})


def address(a):
    return a.__array_interface__["data"][0]


def test_an_array_is_as_of_empty():
    for shape in ((0, 3, 4), (3,), (500, 40), (9, 100, 33)):
        for dtype in (F4, F8):
            a = spare.room(shape, dtype)
            assert (a.shape, a.dtype) == (shape, dtype) and a.flags.c_contiguous and a.flags.writeable
            a[...] = 7
            assert np.all(a == 7)


def test_memory_comes_back_when_the_last_view_is_gone():
    a = spare.room((100, 200), F8)
    view, where = a[3:][::2].T, address(a)
    del a
    others = [spare.room((100, 200), F8) for _ in range(3)]
    assert where not in map(address, others), "it was taken while a view of it lived"
    view[...] = 5
    for other in others:
        other.fill(1)
    assert np.all(view == 5)
    del view
    again = spare.room((300, 100), F4), spare.room((50, 400), F8)  # fewer bytes have a block of another size
    assert address(again[1]) == where and address(again[0]) != where


def test_what_was_frozen_can_be_written_to_when_it_comes_back():
    a = spare.room((100, 200), F8)
    a.flags.writeable, where = False, address(a)
    del a
    again = spare.room((100, 200), F8)
    again.fill(1)
    assert address(again) == where


def test_small_arrays_are_left_to_the_allocator():
    spare.room((10, 10), F8)
    assert spare._SPARE == {}


def test_only_so_much_is_kept(monkeypatch):
    monkeypatch.setattr(spare, "LIMIT", 400_000)
    many = [spare.room((100, 200), F8) for _ in range(5)]
    assert sum(a.nbytes for a in many) > 400_000
    del many
    held = [b.nbytes for blocks in spare._SPARE.values() for b in blocks]
    assert held and sum(held) <= 400_000


def test_a_block_is_half_as_large_again_at_most():
    for size in (*range(spare.LEAST, spare.LEAST + 3), 98304, 98305, 131072, 131073, 10**7, 3 * 2**30):
        assert size <= spare._rounded(size) <= 1.5 * size


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="not CPython: memory comes back when it is collected")
def test_a_scan_uses_the_memory_of_the_last_one():
    cell, rng = rnnbp.cell("lstm", 4, 40), np.random.default_rng(0)
    params, xs = cell.init(rng), rng.standard_normal((50, 20, 4))

    def step():
        ys, _, backward = rnnbp.scan(cell, params, xs)
        return ys, backward(np.ones_like(ys))

    def blocks():
        gc.collect()
        return {address(b) for blocks in spare._SPARE.values() for b in blocks}

    first = [a.copy() for a in (step()[0], step()[1][1])]
    held = blocks()
    second = step()
    assert held and blocks() < held  # the second one's results still lie in some
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1][1])


def test_threads_never_share_a_block():
    def work(seed):
        for k in range(200):
            a = spare.room((100, 100 + k % 3), F8)
            a.fill(seed)
            b = a[1:]
            del a
            assert np.all(b == seed)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
