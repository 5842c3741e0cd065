"""The bench: what it counts, what it compares, in which order it times. No test depends on how long something takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import prod

import array_api_compat.numpy as xp
import numpy as np
import pytest

import rnnbp
from rnnbp import UserError
from rnnbp.backends import installed_version
from rnnbp.benching import Plan, Report, Size, bench, parse_sizes, split_specs, timing
from rnnbp.benching.contenders import BOTH, FORWARD, PASSES, ours, portable
from rnnbp.benching.machine import cores, machine
from rnnbp.benching.memory import Question, peak_of
from rnnbp.benching.problems import draw
from rnnbp.benching.reports import HEAD, Case, Measured
from rnnbp.benching.timing import Timing, alternate, gemm, host_seconds
from rnnbp.scanning import reference
from rnnbp.unrolling import unroll

SIZE = Size(6, 3, 4, 5)
WITH_PEER = ["lstm", "lstm:bias=false", "gru", "gru:bias=false", "rnn", "rnn:bias=false", "elman:activation=relu"]
WITHOUT = ["lstm:peepholes=true", "gru:reset=before", "elman:activation=sigmoid", "elman:activation=identity"]
NUMPY = rnnbp.backend("numpy")


@pytest.fixture
def at_once(monkeypatch):
    """No waiting between calls."""
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    monkeypatch.setattr(timing, "GEMM_SIZES", {"cpu": 96, "gpu": 96})


# ---- what is asked for -----------------------------------------------------------------------------------------------
def test_sizes_are_names_or_four_numbers():
    assert parse_sizes(["1,2,3,4"]) == (Size(1, 2, 3, 4),)
    small, medium, large = parse_sizes(["small", "medium,large"])
    assert (medium, large) == (Size(50, 64, 128, 256), Size(100, 32, 256, 512)) and prod(small) < prod(medium)
    assert parse_sizes(["small", "7, 1, 2, 3", "small"]) == (small, Size(7, 1, 2, 3))


@pytest.mark.parametrize(
    "text", ["1,2", "1,2,3,4,5", "0,1,1,1", "1,1,1,-1", "1,1,1,1.5", "1,1,1,²", "tiny", "small,1", ""]
)
def test_other_sizes_are_refused(text):
    with pytest.raises(UserError, match="small, medium, large or T,B,I,H, four whole numbers of at least 1; got"):
        parse_sizes([text])


def test_commas_part_cells_and_their_options():
    typed = ["lstm:peepholes=true,bias=false, gru", "rnn", "gru"]
    assert split_specs(typed) == ("lstm:peepholes=true,bias=false", "gru", "rnn")
    assert split_specs(["gru:reset=before,lstm:bias=false"]) == ("gru:reset=before", "lstm:bias=false")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": ()}, "at least one cell"),
        ({"sizes": ()}, "at least one size"),
        ({"backends": ()}, "at least one backend"),
        ({"dtype": "complex64"}, "dtype must be float32 or float64 for timing; got 'complex64'"),
        ({"against": "torhc"}, "unknown peer 'torhc': did you mean torch"),
        ({"path": "fastest"}, "unknown path 'fastest': known are portable"),
        ({"repeats": 0}, "repeats must be at least 1; got 0"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
    ],
)
def test_a_plan_says_what_is_wrong(change, words):
    with pytest.raises(UserError, match=words):
        Plan(**{"cells": ("lstm",), "sizes": (SIZE,), "backends": (NUMPY,)} | change)


def test_jax_is_not_compared_with_fewer_threads():
    pytest.importorskip("jax")
    if not rnnbp.backend("jax").devices()[0].startswith("cpu"):
        pytest.skip("jax is on a GPU")
    with pytest.raises(UserError, match="jax takes every core of its process, .* so the others must too; got"):
        Plan(("lstm",), (SIZE,), (rnnbp.backend("jax"),), threads=cores() + 1)
    with pytest.raises(UserError, match="jax takes every core of its process, .* so the others must too; got"):
        Plan(("lstm",), (SIZE,), (NUMPY,), against="jax", threads=cores() + 1)
    assert Plan(("lstm",), (SIZE,), (rnnbp.backend("jax"),), threads=cores()).threads == cores()
    assert Plan(("lstm",), (SIZE,), (NUMPY,), against="jax", threads=cores()).threads == cores()


def test_a_size_beyond_the_address_space_is_refused():
    with pytest.raises(UserError, match="must fit in memory"):
        draw("rnn", Size(10**20, 1, 1, 1), "float32", 0)
    with pytest.raises(UserError, match="must fit in memory"):
        draw("rnn", Size(1, 1, 1, 10**10), "float32", 0)


# ---- what is counted -------------------------------------------------------------------------------------------------
class Counting:
    """NumPy's namespace, adding up the FLOP of its products."""

    def __init__(self):
        self.flops = 0

    def __getattr__(self, name):
        return getattr(xp, name)

    def matmul(self, a, b):
        self.flops += 2 * prod(a.shape) * b.shape[-1]
        return xp.matmul(a, b)


@pytest.mark.parametrize("spec", [*WITH_PEER, *WITHOUT])
def test_the_flop_model_counts_the_products_that_are_made(spec):
    problem, counting = draw(spec, SIZE, "float64", 0), Counting()
    s0 = problem.cell.initial_state(xp, SIZE.batch, problem.xs)
    rest = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    _, _, backward = unroll(counting, problem.cell, problem.params, problem.xs, s0, **rest)
    assert counting.flops == problem.flops
    backward(problem.dys)
    assert counting.flops == 3 * problem.flops


def test_the_flop_model_is_the_stated_one():
    T, B, I, H = SIZE
    assert draw("lstm:peepholes=true", SIZE, "float32", 0).flops == 2 * T * B * (I + H) * 4 * H


def test_a_problem_repeats_and_moves_the_biases():
    one, again, other = (draw("gru", SIZE, "float32", seed) for seed in (1, 1, 2))
    assert np.array_equal(one.xs, again.xs) and not np.array_equal(one.xs, other.xs)
    assert {a.dtype.name for a in (one.xs, one.dys, *one.params.values())} == {"float32"}
    assert np.all(one.params["b"] != 0) and np.all(one.params["bu"] != 0)


def timed(*seconds):
    return Timing(seconds)


def test_a_case_does_the_arithmetic():
    ours_ = Measured("numpy", {FORWARD: timed(0.5, 0.25, 1.0), BOTH: timed(1.0, 2.0, 3.0)}, 3 * 2**20)
    peer = Measured("torch.nn.LSTM", {FORWARD: timed(0.125), BOTH: timed(3.0)}, None)
    gemm_of_2_gflops = {"gemm_size": 1000, "gemm": timed(2.0, 1.0)}
    about = {"cell": "lstm", "size": SIZE, "backend": "numpy", "device": "cpu", "path": "portable", "flops": 10**9}
    case = Case(**about, **gemm_of_2_gflops, ours=ours_, peer=peer, note="", difference=0.0, tolerance=1.0)
    found = json.loads(json.dumps(case.to_json()))
    assert found["size"] == {"T": 6, "B": 3, "I": 4, "H": 5}
    assert found["gemm"] == {"n": 1000, "gflops": 2.0, "min_ms": 1000.0}
    forward, both = (found["ours"][which] for which in PASSES)
    assert forward == dict(min_ms=250, median_ms=500, gflops=4.0, share_of_gemm=2.0, tokens_per_s=72.0)
    assert both == dict(min_ms=1000, median_ms=2000, gflops=3.0, share_of_gemm=1.5, tokens_per_s=18.0)
    assert found["peer"]["forward_backward"]["gflops"] == 1.0
    assert found["speed_in_peers"] == {"forward": 0.5, "forward_backward": 3.0}
    head, first, second = case.rows()
    assert len(head) == len(first) == len(second) == len(HEAD) and head[0] == "lstm  6,3,4,5"
    assert first[1:] == ("250 (500)", "1e+03 (2e+03)", "3 (150 %)", "18", "3.0", "0.50, 3.00")
    assert first[0] == "  numpy (portable)" and second[0] == "  torch.nn.LSTM" and second[-2:] == ("–", "")
    alone = replace(case, peer=None, note="torch.nn has no such cell")
    assert alone.speed(BOTH) is None and alone.to_json()["peer"] is None and len(list(alone.rows())) == 2


# ---- the path --------------------------------------------------------------------------------------------------------
class Fast(rnnbp.Backend):
    """NumPy with a scan that counts its calls, and takes cells without a bias only."""

    name, path, calls, steps = "numpy", "fast", 0, 0
    available = version = None

    def devices(self):
        return ("cpu",)

    def _namespace(self):
        return xp

    def asarray(self, x, dtype=None):
        return np.asarray(x, dtype)

    def to_numpy(self, x):
        return x

    def scan(self, cell, params, xs, s0, **options):
        if cell.bias:
            return NotImplemented
        type(self).calls += 1
        type(self).steps = xs.shape[0]
        return reference(xp, cell, params, xs, s0, **options)


Fast.__abstractmethods__ = frozenset()


@pytest.mark.usefixtures("at_once")
def test_the_path_that_ran_is_told_not_the_one_that_might_have():
    plan = Plan(("rnn", "rnn:bias=false"), (SIZE,), (Fast(),), repeats=1, memory=False)
    told, not_told = bench(plan), bench(replace(plan, path="portable"))
    assert [r["path"] for r in told.to_json()["results"]] == ["portable", "fast"]
    assert [next(rows[1] for rows in [list(c.rows())])[0] for c in told.cases] == [
        "  numpy (portable)",
        "  numpy (fast)",
    ]
    assert [case.path for case in not_told.cases] == ["portable", "portable"]


def test_the_portable_path_leaves_the_fast_scan_alone():
    problem, slow = draw("rnn:bias=false", SIZE, "float32", 0), portable(Fast())
    Fast.calls = 0
    answers = ours(problem, slow).answers()
    assert Fast.calls == 0 and slow.xp is xp and (slow.path, slow.device) == ("portable", None)
    assert ours(problem, Fast()).path == "fast" and (Fast.calls, Fast.steps) == (1, 2)
    assert all(np.array_equal(a, answers[name]) for name, a in ours(problem, Fast()).answers().items())
    assert portable(NUMPY).name == "numpy" and portable(NUMPY).path == "portable"


# ---- how it is timed -------------------------------------------------------------------------------------------------
class FakeClock(rnnbp.Backend):
    """A backend whose clock is a counter of calls."""

    name = "fake"
    available = version = devices = _namespace = asarray = to_numpy = None

    def seconds(self, call):
        return call()


FakeClock.__abstractmethods__ = frozenset()


@pytest.mark.usefixtures("at_once")
def test_calls_take_turns_and_each_runs_once_untimed_before():
    log, ticks = [], []
    calls = {name: (FakeClock().seconds, lambda name=name: log.append(name) or float(len(log))) for name in "abc"}
    found = alternate(calls, 3, lambda: ticks.append(len(log)))
    assert "".join(log) == "aabbcc" + "ccbbaa" + "aabbcc" and ticks == [6, 12, 18]
    assert found["a"].seconds == (2.0, 12.0, 14.0)  # the second call of each pair
    assert found["a"].least == 2.0 and found["a"].median == 12.0


def test_the_host_clock_counts_the_call(monkeypatch):
    now = iter([1.0, 3.5])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))
    assert host_seconds(lambda: None) == 2.5


def test_the_call_runs_alone_until_the_others_have_settled(monkeypatch):
    log, now = [], iter(np.arange(0, 10, 0.02))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(timing, "SETTLE", 0.05)
    alternate({"a": (FakeClock().seconds, lambda: log.append("a") or 0.0)}, 1, lambda: None)
    assert len(log) == 4  # at 0, 0.02 and 0.04 seconds untimed, then the one that counts


def test_gemm_is_a_full_product(backend, monkeypatch):
    monkeypatch.setattr(timing, "GEMM_SIZES", {"cpu": 96, "gpu": 128})
    n, call = gemm(backend, "float64")
    product = backend.to_numpy(call())
    assert n in (96, 128) and product.shape == (n, n)
    a, b = map(backend.to_numpy, call.args)
    assert np.max(np.abs(product - a @ b)) <= n * np.finfo(float).eps * np.max(np.abs(product))
    assert np.max(np.abs(product - product.T)) > 1  # of a matrix and its own transpose BLAS makes one triangle only


# ---- memory ----------------------------------------------------------------------------------------------------------
def megabytes_of(call: str, before: str = "None") -> int:
    """What a fresh process says of `call`, in MiB."""
    lines = ["import numpy as np", "from rnnbp.benching import memory", before, f"print({call} // 2**20)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    if "TypeError" in done.stderr:  # None // 2**20
        pytest.skip("this system does not tell a process's peak memory")
    return int(done.stdout)


def test_the_peak_of_a_call_is_seen_though_it_is_gone_when_the_call_returns():
    assert 127 <= megabytes_of("memory.host_peak_bytes(lambda: np.ones(2**24).sum())") <= 132


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak so far cannot be reset")
def test_an_earlier_peak_hides_nothing():
    assert 63 <= megabytes_of("memory.host_peak_bytes(lambda: np.ones(2**23).sum())", "np.ones(2**25)") <= 68


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak so far cannot be reset")
def test_what_was_freed_before_hides_nothing():
    """The last of the blocks stays, so that the allocator keeps the others."""
    blocks = "[bytes(1000) for _ in range(10**5)]"
    assert 90 <= megabytes_of(f"memory.host_peak_bytes(lambda: {blocks})", f"last = {blocks}[-1]") <= 120


def test_where_the_peak_cannot_be_reset_its_growth_is_told():
    no_reset = "memory.RESET = memory.Path('no', 'such', 'file')"
    after_a_larger_one = f"{no_reset}; np.ones(2**25).sum()"
    assert 100 <= megabytes_of("memory.host_peak_bytes(lambda: np.ones(2**24).sum())", no_reset) <= 132
    assert megabytes_of("memory.host_peak_bytes(lambda: np.ones(2**23).sum())", after_a_larger_one) == 0


def test_memory_is_measured_in_a_process_of_its_own():
    asked = Question(None, "numpy", None, "lstm", Size(40, 16, 32, 64), "float32", 1, 0)
    peak = peak_of(asked)
    longer = peak_of(replace(asked, size=Size(400, 16, 32, 64)))
    if peak is None:
        pytest.skip("this system does not tell a process's peak memory")
    kept = 400 * 16 * 64 * 4 * 6  # at the least i, f, g, o, c, h of every step
    assert longer > kept and longer > peak


def test_a_failing_measurement_says_so():
    with pytest.raises(UserError, match=r"peak memory of lstm at 1,1,1,1 on nowhere could not .*unknown backend"):
        peak_of(Question(None, "nowhere", None, "lstm", Size(1, 1, 1, 1), "float32", 1, 0))


def test_only_a_gpu_has_an_allocator_to_ask(backend):
    called = []
    on_device = backend.peak_bytes(lambda: called.append(1))
    if backend.name == "cupy":
        assert on_device == 0 and called
    elif (backend.device or backend.devices()[0]).startswith("cpu"):
        assert on_device is None and not called


# ---- all of it -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("at_once")
def test_bench_on_every_backend(backend):
    told = []
    plan = Plan(("lstm", "gru:reset=before"), (Size(3, 2, 4, 5),), (backend,), repeats=2, memory=False)
    report = bench(plan, lambda *now: told.append(now))
    assert isinstance(report, Report) and told[-1][1:] == (6, 6)
    found = json.loads(json.dumps(report.to_json()))
    assert [r["cell"] for r in found["results"]] == ["lstm", "gru:reset=before"]
    for result in found["results"]:
        assert result["backend"] == result["ours"]["name"] == backend.name and result["peer"] is None
        assert all(result["ours"][which]["min_ms"] > 0 for which in PASSES) and result["gemm"]["gflops"] > 0
        assert result["ours"]["peak_bytes"] is None
    assert found["flop_model"] and found["date"] and found["machine"]["versions"]["numpy"] == np.__version__


def test_a_mistake_in_the_last_cell_shows_before_the_first_is_timed():
    told = []
    with pytest.raises(UserError, match="unknown cell 'lstn'"):
        bench(Plan(("lstm", "lstn"), (SIZE,), (NUMPY,)), lambda *now: told.append(now))
    assert told == []


def test_machine_is_plain_and_names_what_ran(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")  # halves the speed of NumPy's products on some machines
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    found = machine()
    assert found["environment"]["NUMBA_NUM_THREADS"] == "1"
    assert found["environment"]["OPENBLAS_CORETYPE"] == "Haswell" and "PATH" not in found["environment"]
    assert json.loads(json.dumps(found)) == found
    for name in ("numba", "llvmlite", "threadpoolctl"):
        assert found["versions"].get(name) == installed_version(name)
    assert found["processor"] and found["cores"] >= 1 and found["blas"] and found["versions"]["numpy"] == np.__version__
