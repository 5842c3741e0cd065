"""`rnnbp bench`: its words, its exit codes, its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from rnnbp_cli import main

from rnnbp.benching import Mismatch, runner, timing

QUICK = ["--size", "3,2,4,5", "--repeats", "1", "--no-memory"]


@pytest.fixture
def rnnbp(capsys, monkeypatch):
    """Run a command in this process, without waiting between calls: its exit code, stdout and stderr."""
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    monkeypatch.setattr(timing, "GEMM_SIZES", {"cpu": 96, "gpu": 96})

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["bench", *words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


MISTAKES = [
    ("--backend numpi", "unknown backend 'numpi': did you mean numpy"),
    ("--backend numpy,strickt", "unknown backend 'strickt': did you mean strict"),
    ("--backend numpy,", "--backend takes names with commas between them; got 'numpy,'"),
    ("--device gpu", "device of backend numpy must be one of cpu; got 'gpu'"),
    ("--cell lstn", "unknown cell 'lstn': did you mean lstm"),
    ("--cell lstm,gru:reset=never", "unknown reset 'never'"),
    ("--cell lstm:peephole=true", "unknown option of cell lstm 'peephole': did you mean peepholes"),
    ("--cell lstm:peepholes", "written NAME:option=value,option=value; got 'peepholes'"),
    ("--size 1,2", "size must be small, medium, large or T,B,I,H, four whole numbers of at least 1; got '1,2'"),
    ("--size 0,1,1,1", "four whole numbers of at least 1; got '0,1,1,1'"),
    ("--size huge", "size must be small, medium, large or T,B,I,H"),
    ("--size 9999999999999999999,1,1,1", "a size must fit in memory"),
    ("--dtype float16", "dtype must be float32 or float64 for timing; got 'float16'"),
    ("--against tensorflow", "unknown peer 'tensorflow': known are jax, none, torch, torch-loop"),
    ("--path numba", "unknown path 'numba': known are portable"),
    ("--plot speed.pdf", "--plot writes PNG or SVG; got speed.pdf: name a file that ends in .png or .svg"),
    ("--plot no/such/speed.png", "--plot needs a folder that can be written to; got no/such"),
    ("--force", "--force lets --plot replace a file; got no --plot"),
    ("--repeats 0", "repeats must be at least 1; got 0"),
    ("--repeats many", "Invalid value for '--repeats'"),
    ("--threads 0", "--threads must be at least 1; got 0"),
    ("--threads 1 --backend numpy,jax", "--threads has no effect on backend jax"),
    ("--sizes small", "No such option: --sizes"),
]


@pytest.mark.parametrize(("words", "told"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(rnnbp, words, told):
    code, out, err = rnnbp(*QUICK[2:], *words.split())
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert told in err


def test_a_backend_that_is_missing_is_one_line(rnnbp, monkeypatch):
    from rnnbp.registry import BACKENDS

    monkeypatch.setattr(BACKENDS.load("strict"), "available", classmethod(lambda _: "it is not here: get it"))
    code, out, err = rnnbp("--backend", "strict", *QUICK)
    assert (code, out, err) == (2, "", "rnnbp: backend strict cannot be used: it is not here: get it\n")


def test_what_does_not_fit_in_memory_is_one_line(rnnbp, monkeypatch):
    def exhausted(*_):
        raise MemoryError("Unable to allocate 3.64 TiB")

    monkeypatch.setattr(runner, "draw", exhausted)
    code, out, err = rnnbp(*QUICK)
    assert (code, out) == (2, "") and "must fit in memory: Unable to allocate 3.64 TiB: try a smaller one" in err


def test_a_mismatch_is_a_failure_not_a_mistake(rnnbp, monkeypatch):
    def disagree(*_):
        raise Mismatch("numpy and torch disagree")

    pytest.importorskip("torch")
    monkeypatch.setattr(runner, "compare", disagree)
    assert rnnbp("--against", "torch", *QUICK) == (1, "", "rnnbp: numpy and torch disagree\n")


def test_json_is_all_there_is_on_stdout(rnnbp):
    words = "--backend numpy,strict --cell lstm,gru:bias=false,reset=before --size 2,3,4,5 --dtype float64 --seed 4"
    code, out, err = rnnbp(*words.split(), *QUICK, "--json")
    found = json.loads(out)
    assert code == 0 and err == ""
    told = {name: found[name] for name in ("dtype", "repeats", "against", "seed")}
    assert told == {"dtype": "float64", "repeats": 1, "against": "none", "seed": 4} and found["threads"] >= 1
    cases = [(r["backend"], r["cell"], *r["size"].values()) for r in found["results"]]
    specs = ("lstm", "gru:bias=false,reset=before")
    sizes = ((2, 3, 4, 5), (3, 2, 4, 5))
    assert cases == [(b, c, *size) for b in ("numpy", "strict") for c in specs for size in sizes]
    assert set(found["results"][0]["ours"]) == {"name", "forward", "forward_backward", "peak_bytes"}


def test_the_table_shows_every_case_and_states_the_model(rnnbp):
    pytest.importorskip("torch")
    code, out, err = rnnbp("--cell", "rnn,lstm:peepholes=true", "--against", "torch", *QUICK)
    assert code == 0 and err == ""
    for words in ("rnn  3,2,4,5", "numpy", "torch.nn.RNN", "float32", "1 round", "forward 2·T·B·(I+R)·G·H", "speed"):
        assert words in out
    assert "lstm:peepholes=true has no peer: torch.nn has no such cell" in out and "…" not in out


def test_the_environment_names_the_default_backend(rnnbp, monkeypatch):
    monkeypatch.setenv("RNNBP_BACKEND", "strict")
    assert json.loads(rnnbp(*QUICK, "--json")[1])["results"][0]["backend"] == "strict"


def in_a_process(words, **environment):
    """What a command prints as JSON that nothing was loaded for before."""
    command = [sys.executable, "-m", "rnnbp_cli", "bench", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no sched_setaffinity")
def test_jax_is_kept_to_as_many_cores_as_there_are_threads():
    pytest.importorskip("jax")
    found = in_a_process(["--threads", "1", "--against", "jax", "--cell", "rnn", "--json", *QUICK])
    assert found["threads"] == found["machine"]["cores"] == 1
    assert found["results"][0]["peer"]["name"] == "jax.lax.scan"


def test_numba_follows_the_environment_that_the_others_follow():
    found = in_a_process(["--cell", "rnn", "--json", *QUICK], OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert found["threads"] == 1 and found["machine"]["environment"]["NUMBA_NUM_THREADS"] == "1"


@pytest.mark.parametrize("name", ["speed.png", "speed.svg"])
def test_a_plot_is_written_and_nothing_is_replaced_unasked(rnnbp, tmp_path, name):
    pytest.importorskip("matplotlib")
    path = tmp_path / name
    words = ["--cell", "rnn,lstm", "--size", "2,3,4,5", *QUICK, "--plot", str(path)]
    code, out, err = rnnbp(*words)
    assert code == 0 and "numpy" in out and err == f"plot {path}\n"
    assert list(tmp_path.iterdir()) == [path] and drawn(path)
    before = path.read_bytes()
    code, out, err = rnnbp(*words)
    assert (code, out) == (2, "") and "--plot replaces no file" in err and path.read_bytes() == before
    path.write_text("something else")
    assert rnnbp(*words, "--force", "--json")[0] == 0 and drawn(path)


def drawn(path):
    """A picture that can be read, and is not one colour."""
    if path.suffix == ".png":
        from matplotlib.image import imread

        return imread(path).std() > 0.01
    root = ElementTree.parse(path).getroot()
    return root.tag.endswith("svg") and len(list(root.iter())) > 100


def test_without_matplotlib_the_plot_is_refused_before_anything_is_timed(rnnbp, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("rnnbp.benching.bench", lambda *_: pytest.fail("it was timed"))
    code, out, err = rnnbp("--plot", str(tmp_path / "speed.png"), *QUICK)
    assert (code, out) == (2, "")
    assert err == "rnnbp: a plot needs matplotlib, which is not installed: pip install 'rnnbp[plot]'\n"


def test_the_path_that_ran_is_shown(rnnbp):
    code, out, _ = rnnbp("--path", "portable", "--cell", "rnn", *QUICK)
    assert code == 0 and "numpy (portable)" in out


def test_threads_are_set_in_time_and_told():
    pytest.importorskip("torch")
    words = ["--backend", "torch", "--threads", "1", "--against", "torch", "--json", *QUICK[:-1]]
    found = in_a_process(words)
    assert found["threads"] == 1
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    assert {found["machine"]["environment"][name] for name in variables} == {"1"}
    (result,) = found["results"]
    assert result["ours"]["peak_bytes"] > 0 and result["peer"]["peak_bytes"] > 0
