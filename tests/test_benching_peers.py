"""The peers: each computes the same as we do, and the bench finds out when one does not."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import pytest

import rnnbp
from rnnbp import UserError
from rnnbp.benching import Mismatch, Plan, Size, bench, plans, problems, timing
from rnnbp.benching.contenders import BOTH, FORWARD, PASSES, ours
from rnnbp.benching.memory import Question, peak_of
from rnnbp.benching.peers import PEERS, device_beside, like_with_like
from rnnbp.benching.problems import draw
from rnnbp.benching.runner import compare

SIZE = Size(6, 3, 4, 5)
NUMPY = rnnbp.backend("numpy")
PLAIN = ["lstm", "lstm:bias=false", "gru", "gru:bias=false", "rnn", "rnn:bias=false", "elman:activation=relu"]
OTHERS = ["lstm:peepholes=true", "gru:reset=before", "elman:activation=sigmoid", "elman:activation=identity"]
AROUND = ["lstm/zoneout:rate=0.3", "rhn/zoneout", "gru/learned-start"]
PLUGIN = ["mgu", "mgu:bias=false", "mgu:reset=before"]
HAS = {
    "torch": PLAIN,
    "jax": PLAIN,
    "torch-loop": [*PLAIN, *OTHERS, *AROUND, "lstm:peepholes=true,bias=false", *PLUGIN],
}
PAIRS = [(name, spec) for name, specs in HAS.items() for spec in specs]


@pytest.fixture
def mgu(monkeypatch):
    """The plugin's cells by name, though it need not be installed."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "plugins" / "rnnbp-mgu")
    import rnnbp_mgu

    make = problems.make_cell

    def with_plugin(spec, *sizes):
        name, options = rnnbp.registry.parse_spec(spec)
        return rnnbp_mgu.mgu(*sizes, **options) if name == "mgu" else make(spec, *sizes)

    monkeypatch.setattr(problems, "make_cell", with_plugin)


def peer(name, problem):
    """A peer on the CPU, or a skip."""
    kind = PEERS[name]
    pytest.importorskip(kind.library)
    return kind.make(problem, device_beside(NUMPY, kind.library))


def test_the_peers_have_their_names():
    assert plans.PEERS == (*PEERS, "none")


@pytest.mark.usefixtures("mgu")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "spec"), PAIRS)
def test_a_peer_computes_the_same(name, spec, dtype):
    problem = draw(spec, SIZE, dtype, 3)
    theirs = peer(name, problem)
    answers = theirs.answers()
    assert set(answers) == {"Y", "dX", *(f"d{name}" for name in problem.params)}
    assert {a.dtype.name for a in answers.values()} == {dtype}
    assert 0 <= compare(ours(problem, NUMPY), theirs, problem.tolerance, spec) <= problem.tolerance
    for which in PASSES:  # oneDNN has other code where no gradient is wanted, so not to the bit
        ys = theirs.backend.to_numpy(theirs.calls[which]()[0])
        assert np.max(np.abs(ys - answers["Y"])) <= problem.tolerance * np.max(np.abs(ys))


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("spec", ["lstm", "gru", "rnn"])
def test_a_peer_computes_the_same_at_a_real_size(name, spec):
    problem = draw(spec, Size(60, 16, 64, 96), "float32", 0)
    assert compare(ours(problem, NUMPY), peer(name, problem), problem.tolerance, spec) > 0


def test_which_loop_is_written_for_torch_and_which_is_the_cell_itself():
    names = {spec: peer("torch-loop", draw(spec, SIZE, "float32", 0)).name for spec in ("lstm", "gru")}
    assert names == {"lstm": "torch loop", "gru": "torch loop over step"}


@pytest.mark.usefixtures("mgu")
def test_the_plugin_has_a_loop_of_its_own():
    assert peer("torch-loop", draw("mgu", SIZE, "float32", 0)).name == "torch loop"


def gates_swapped(problem):
    H = problem.size.hidden_size
    order = np.r_[H : 2 * H, :H, 2 * H : problem.params["U"].shape[1]]
    return {"U": problem.params["U"][:, order]}


FAULTS = {
    "gates swapped": ("lstm", gates_swapped),
    "U transposed in part": ("rnn", lambda p: {"U": np.ascontiguousarray(p.params["U"].T)}),
    "inner bias dropped": ("gru", lambda p: {"bu": np.zeros_like(p.params["bu"])}),
    "weights off by 0.1 %": ("lstm", lambda p: {"W": 1.001 * p.params["W"]}),
    "not a number": ("rnn", lambda p: {"b": np.full_like(p.params["b"], nan)}),
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_peer_that_computes_something_else_is_found(name, fault):
    spec, change = FAULTS[fault]
    problem = draw(spec, SIZE, "float32", 0)
    wrong = replace(problem, params=problem.params | {n: a.astype("float32") for n, a in change(problem).items()})
    with pytest.raises(Mismatch, match="disagree: .* of 6,3,4,5 .*not comparable"):
        compare(ours(problem, NUMPY), peer(name, wrong), problem.tolerance, "6,3,4,5")


@pytest.mark.parametrize("weight", ["pi", "pf", "po"])
def test_a_peephole_that_is_off_by_a_percent_is_found(weight):
    problem = draw("lstm:peepholes=true", SIZE, "float32", 0)
    wrong = replace(problem, params=problem.params | {weight: problem.params[weight] * np.float32(1.01)})
    with pytest.raises(Mismatch, match="disagree"):
        compare(ours(problem, NUMPY), peer("torch-loop", wrong), problem.tolerance, "x")


@pytest.mark.parametrize("name", PEERS)
def test_gradients_are_compared_not_only_outputs(name):
    problem = draw("lstm", SIZE, "float32", 0)
    other_errors = replace(problem, dys=problem.dys * np.float32(1.01))
    with pytest.raises(Mismatch, match="disagree: d"):
        compare(ours(problem, NUMPY), peer(name, other_errors), problem.tolerance, "x")


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("tensor", ["Y", "dX", "dW", "dU", "db"])
def test_every_tensor_is_compared(name, tensor):
    problem = draw("lstm", SIZE, "float32", 0)
    mine, theirs = ours(problem, NUMPY), peer(name, problem)
    off = {tensor: theirs.answers()[tensor] + np.float32(0.01)}
    with pytest.raises(Mismatch, match=f"disagree: {tensor} of"):
        compare(mine, replace(theirs, answers=lambda: theirs.answers() | off), problem.tolerance, "x")


@pytest.mark.parametrize("name", PEERS)
def test_the_forward_alone_is_compared_too(name):
    problem = draw("lstm", SIZE, "float32", 0)
    mine, theirs = ours(problem, NUMPY), peer(name, problem)
    off = theirs.calls | {FORWARD: lambda: (theirs.calls[FORWARD]()[0] + 0.01,)}
    with pytest.raises(Mismatch, match="disagree: Y of forward alone of x differs"):
        compare(mine, replace(theirs, calls=off), problem.tolerance, "x")


@pytest.mark.parametrize("name", ["torch", "jax"])
@pytest.mark.parametrize("spec", OTHERS)
def test_cells_without_a_peer_have_none(name, spec):
    problem = draw(spec, SIZE, "float32", 0)
    assert PEERS[name].lacks(problem.cell)
    with pytest.raises(UserError, match="torch.nn has no layer like|no jax.lax.scan is written for it"):
        peer(name, problem)


def test_a_gpu_is_not_compared_with_a_cpu():
    torch = pytest.importorskip("torch")

    class OnGpu(type(NUMPY)):
        name = "fake"

        def devices(self):
            return ("cuda:0",)

    assert device_beside(NUMPY, "torch") == rnnbp.backend("torch", "cpu")
    if torch.cuda.is_available():
        assert device_beside(OnGpu(), "torch") == rnnbp.backend("torch", "cuda:0")
    else:
        with pytest.raises(UserError, match="backend fake is on a GPU and the peer cannot follow: torch has cpu"):
            device_beside(OnGpu(), "torch")


def test_torch_takes_as_many_threads_for_a_while():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with like_with_like(before + 1):
        assert torch.get_num_threads() == before + 1 and not torch.backends.cudnn.allow_tf32
    assert torch.get_num_threads() == before


def test_no_peer_is_imported_before_it_is_made():
    import subprocess

    code = "import sys, rnnbp.benching; print([name for name in ('torch', 'jax') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["[]"]


@pytest.mark.parametrize("name", PEERS)
def test_the_memory_of_a_peer_is_measured(name):
    pytest.importorskip(PEERS[name].library)
    library = device_beside(NUMPY, PEERS[name].library)
    peak = peak_of(Question(name, library.name, library.device, "rnn", Size(400, 16, 32, 64), "float32", None, 0))
    if peak is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert peak > 400 * 16 * 64 * 4  # at the least h of every step


@pytest.mark.parametrize("name", PEERS)
def test_bench_checks_and_compares(backend, name, monkeypatch):
    pytest.importorskip(PEERS[name].library)
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    monkeypatch.setattr(timing, "GEMM_SIZES", {"cpu": 96, "gpu": 96})
    plan = Plan(("gru", "lstm:peepholes=true"), (SIZE,), (backend,), against=name, repeats=1, memory=False)
    report = bench(plan)
    gru, peepholes = report.cases
    assert 0 <= gru.difference <= gru.tolerance and gru.speed(BOTH) > 0
    if name == "torch-loop":
        assert peepholes.peer.name == "torch loop" and 0 <= peepholes.difference <= peepholes.tolerance
    else:
        assert peepholes.peer is None and peepholes.note
        assert any("lstm:peepholes=true has no peer" in line for line in report.notes)
