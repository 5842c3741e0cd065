"""`rnnbp parity`: its words, its exit codes, its output."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution

import pytest
from rnnbp_cli import main
from test_parity import Other

from rnnbp.checking import builtin_specs
from rnnbp.registry import BACKENDS, CELLS


@pytest.fixture
def rnnbp(capsys, monkeypatch):
    """Run a command in this process, with two more backends: its exit code, stdout and stderr."""
    dist = distribution("numpy")  # a pretended other distribution
    targets = {"other": "Other", "wrong": "Wrong"}
    found = {n: EntryPoint(n, f"{__name__}:{kind}", BACKENDS.group)._for(dist) for n, kind in targets.items()}
    monkeypatch.setitem(vars(BACKENDS), "_winners", {name: BACKENDS[name] for name in BACKENDS} | found)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["parity", *words])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


class Wrong(Other):
    name = "wrong"

    def __init__(self, device=None):
        super().__init__(device, "U")


def test_no_cell_means_every_built_in_one(rnnbp, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = rnnbp("--backends", "numpy,other")
    assert code == 0 and err == ""
    for spec in builtin_specs():
        assert f" {spec} " in out
    assert "against numpy" in out and "seed 0" in out and "worst: " in out and "FAIL" not in out
    assert out.count("│ float64 │") == out.count("│ float32 │") == len(builtin_specs())


def test_every_word_reaches_the_comparison(rnnbp):
    code, out, err = rnnbp(
        "lstm:peepholes=true", "--backends", "other,numpy", "--dtype", "float32", "--seed", "9", "--json"
    )
    found = json.loads(out)
    assert code == 0 and err == "" and found["passed"] is True and found["seed"] == 9
    assert found["reference"] == "other" and list(found["backends"]) == ["other", "numpy"]
    keys = ("cell", "dtype", "backend")
    assert {tuple(c[k] for k in keys) for c in found["checks"]} == {("lstm:peepholes=true", "float32", "numpy")}
    assert [c["tensor"] for c in found["checks"] if c["tensor"].startswith("dp")] == ["dpi", "dpf", "dpo"]


def test_backends_that_differ_exit_1_and_the_tensor_is_named(rnnbp):
    code, out, _ = rnnbp("gru", "--backends", "numpy,other,wrong")
    assert code == 1 and "FAIL" in out and "pass" in out and "worst: dU[" in out
    code, out, _ = rnnbp("gru", "--backends", "numpy,wrong", "--json")
    found = json.loads(out)
    assert code == 1 and found["passed"] is False
    assert [c["tensor"] for c in found["checks"] if not c["passed"]] == ["dU", "dU"]


def test_all_goes_on_past_a_broken_plugin(rnnbp, monkeypatch):
    gone = EntryPoint("gone", "no_such_module:Cell", CELLS.group)._for(distribution("numpy"))
    monkeypatch.setitem(vars(CELLS), "_winners", {name: CELLS[name] for name in CELLS} | {"gone": gone})
    code, out, err = rnnbp("--all", "--backends", "numpy,other", "--dtype", "float64")
    assert code == 1 and err == "" and "cannot be loaded: ModuleNotFoundError" in out
    checks = json.loads(rnnbp("--all", "--backends", "numpy,other", "--json")[1])["checks"]
    assert {c["cell"] for c in checks if not c["passed"]} == {"gone"} and {"lstm"} < {c["cell"] for c in checks}
    code, _, err = rnnbp("gone", "--backends", "numpy,other")
    assert code == 2 and "cannot be loaded" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lstn", "unknown cell 'lstn': did you mean lstm"),
        ("lstm --all", "--all compares every cell"),
        ("--backends numpi,other", "did you mean numpy"),
        ("--backends numpy", "at least two backends"),
        ("--backends numpy,other,numpy", "backends that differ; got numpy 2 times"),
        ("--backends numpy,other:cuda:3", "device of backend other must be one of cpu; got 'cuda:3'"),
        ("--backends numpy,", "NAME or NAME:DEVICE; got ''"),
        ("--dtype float16", "unknown dtype of parity 'float16'"),
        ("--seed -1", "--seed"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(rnnbp, words, message):
    code, out, err = rnnbp("--backends", "numpy,other", *words.split())
    assert code == 2 and out == "" and message in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_backend_without_its_hardware(rnnbp, monkeypatch):
    monkeypatch.setattr(BACKENDS.load("cupy"), "available", classmethod(lambda _: "CuPy sees no GPU"))
    code, out, err = rnnbp("--backends", "numpy,cupy")
    assert (code, out, err) == (2, "", "rnnbp: backend cupy cannot be used: CuPy sees no GPU\n")


def test_as_a_process():
    pytest.importorskip("array_api_strict")
    call = [sys.executable, "-m", "rnnbp_cli", "parity", "elman", "--backends", "numpy,strict", "--json"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)["passed"] is True
