"""Threads of the NumPy backend's fast scan: the same bits for any number, several callers, forks, BLAS as it was."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cache
from threading import Barrier, Event, Thread

import numpy as np
import pytest
from helpers import T, agree, forward, portable, problem
from numba_scans import cell, fused, results, scanning

pytest.importorskip("threadpoolctl")
from rnnbp_numpy import threads  # noqa: E402
from threadpoolctl import ThreadpoolController, threadpool_limits  # noqa: E402

NAMES = ["lstm:peepholes=true", "gru", "scalar", "data"]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@cache
def large(name, dtype="float64", seed=0):
    """A problem with more rows than threads, and not a multiple of any number of them."""
    rng = np.random.default_rng(1)
    q = problem(cell(name, 9, 19), seed, T + 2, 31, dtype)
    return q, {"mask": rng.random((T + 2, 31)) < 0.7, "resets": rng.random((T + 2, 31)) < 0.2}


def on_threads(monkeypatch, number):
    monkeypatch.setattr(scanning, "worth", lambda _: number)


def blas():
    return [(lib.filepath, lib.num_threads) for lib in ThreadpoolController().select(user_api="blas").lib_controllers]


# ---- any number of threads -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_threads(monkeypatch, name, dtype):
    """Loops over time give the same bits; products of BLAS, cut at other places, the same numbers to rounding."""
    q, options = large(name, dtype)
    found = {}
    for number in (1, 2, 3, 5):
        on_threads(monkeypatch, number)
        found[number] = results(q, fused, [None, (1, 2, 4)], **options)
        again = results(q, fused, [None, (1, 2, 4)], **options)
        assert all(np.array_equal(found[number][n], again[n]) for n in again), f"{number} threads, twice"
    for number in (2, 3, 5):
        agree(found[number], found[1], dtype)
    on_threads(monkeypatch, 3)
    agree(found[3], results(q, portable, [None, (1, 2, 4)], **options), dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loops_over_time_give_the_same_bits(monkeypatch, dtype):
    """With one input, x W is no sum that BLAS could cut: all that the forward gives is the same."""
    q = problem(cell("lstm", 1, 19), 0, T, 31, dtype)
    found = []
    for number in (1, 2, 3, 5):
        on_threads(monkeypatch, number)
        ys, s_T, _ = forward(q, fused)
        found.append((ys, *s_T))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, found[0], strict=True))


def test_more_threads_than_sequences(monkeypatch):
    on_threads(monkeypatch, 5)
    q = problem(cell("gru"), time_steps=3, batch=2)
    agree(results(q, fused), results(q, portable))


def test_shards_cover_all_once():
    for total in range(1, 12):
        for parts in range(1, 9):
            cut = threads.shards(total, parts)
            assert [k for lo, hi in cut for k in range(lo, hi)] == list(range(total))
            assert len(cut) == min(parts, total) and {hi - lo for lo, hi in cut} <= {
                total // len(cut),
                -(-total // len(cut)),
            }


@pytest.mark.parametrize(("asked", "wanted"), [("1", 1), ("1,4", 1), ("", None), ("0", None), ("many", None)])
def test_how_many_threads(monkeypatch, asked, wanted):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert threads.count() == wanted if wanted else 1 <= threads.count() <= cores


def test_little_work_is_not_shared_out(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 4)
    assert [threads.worth(n * threads.GRAIN) for n in (0, 0.1, 1.9, 2, 3.5, 4, 100)] == [1, 1, 1, 2, 3, 4, 4]


# ---- several callers -------------------------------------------------------------------------------------------------
def test_several_python_threads_at_once(monkeypatch):
    on_threads(monkeypatch, 2)
    cases = [large(name, seed=seed) for name in NAMES for seed in (0, 1)]
    expected = [results(q, portable, **options) for q, options in cases]
    start = Barrier(len(cases))

    def one(case):
        start.wait()
        for _ in range(5):
            found = results(case[0], fused, **case[1])
        return found

    results(cases[0][0], fused, **cases[0][1])  # Numba loads SciPy, if that is there, with a BLAS of its own
    before = blas()
    with ThreadPoolExecutor(len(cases)) as pool:
        for found, want in zip(pool.map(one, cases), expected, strict=True):
            agree(found, want)
    assert blas() == before


# ---- BLAS's own threads ----------------------------------------------------------------------------------------------
@pytest.fixture
def two():
    """BLAS with two threads; Numba has loaded SciPy, if that is there, with a BLAS of its own, which nobody uses."""
    q, options = large("gru")
    results(q, fused, **options)
    with threadpool_limits(2, "blas"):
        yield blas()


def held_to_one():
    return {number for _, number in blas()} == {1}


def test_blas_is_held_to_one_thread_inside_and_as_before_outside(two):
    with threads.blas_alone():
        assert held_to_one()
        with threads.blas_alone():
            pass
        assert held_to_one(), "the first to leave lifted the limit of another"
    assert blas() == two and not held_to_one()
    q, options = large("gru")
    results(q, fused, **options)
    assert blas() == two


@contextmanager
def in_a_scan():
    """Another thread is in a scan, and stays."""
    inside, leave = Event(), Event()

    def other():
        with threads.blas_alone():
            inside.set()
            leave.wait(30)

    thread = Thread(target=other)
    thread.start()
    assert inside.wait(30)
    yield lambda: (leave.set(), thread.join())
    leave.set()
    thread.join()


@pytest.mark.parametrize("fault", [False, True])
def test_blas_is_as_before_when_scans_overlap_and_when_one_raises(monkeypatch, two, fault):
    """Whichever thread leaves last: the one that set the limit, or, with `threads.blas_alone` below, the other."""
    q, options = large("gru")
    with in_a_scan() as leave:
        assert held_to_one()
        if fault:
            monkeypatch.setattr(scanning, "on_each", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError) if fault else nullcontext():
            forward(q, fused, **options)
        assert held_to_one()
        with threads.blas_alone():
            leave()
            assert held_to_one()
        assert blas() == two


# ---- errors ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("failing", [0, 1, 4])
def test_an_error_in_a_shard_is_the_callers_and_all_others_have_ended(failing):
    done = []

    def work(piece):
        if piece == failing:
            raise KeyError(piece)
        done.append(piece)

    with pytest.raises(KeyError, match=str(failing)):
        threads.on_each(list(range(5)), work)
    assert sorted(done) == [k for k in range(5) if k != failing]
    threads.on_each(list(range(5)), done.append)
    assert len(done) == 9


# ---- forks and the end -----------------------------------------------------------------------------------------------
def child(queue, expected):
    """What a forked process does: the same scan again, on threads of its own."""
    scanning.worth = lambda _: 3
    q, options = large("gru")
    found = results(q, fused, **options)
    queue.put((all(np.array_equal(found[n], expected[n]) for n in expected), blas()))


@forks
@pytest.mark.parametrize("around", [nullcontext, in_a_scan])
def test_a_forked_process_scans(monkeypatch, two, around):
    """Forked between scans, and while another thread is in one: the limit that this has set is lifted there, too."""
    on_threads(monkeypatch, 3)
    q, options = large("gru")
    expected = results(q, fused, **options)
    assert threads._POOL is not None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, expected))
    with around(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*")  # of threads of Python, and of JAX where it has been imported
        process.start()
        same, after = queue.get(timeout=60)
        process.join(60)
    assert same and after == two and process.exitcode == 0
    agree(results(q, fused, **options), expected)


AT_EXIT = """
import atexit, numpy as np, rnnbp
from rnnbp_numpy import scanning
scanning.worth = lambda _: 3
cell = rnnbp.cell("gru", 4, 6)
params = cell.init(np.random.default_rng(0))
scan = lambda: rnnbp.scan(cell, params, np.ones((3, 5, 4)))[0].sum()
first = scan()
def last():
    import concurrent.futures.thread as pools
    assert pools._shutdown
    print(first == scan())
atexit.register(last)
"""


def test_a_scan_while_the_interpreter_ends():
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)
