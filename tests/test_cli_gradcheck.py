"""`rnnbp gradcheck`: its words, its exit codes, its output."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution

import pytest
from faulty_cells import LoopedLSTM
from rnnbp_cli import main

from rnnbp.checking import builtin_specs
from rnnbp.pointwise import PointwiseCell
from rnnbp.registry import CELLS


@pytest.fixture
def rnnbp(capsys):
    """Run a command in this process: its exit code, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["gradcheck", *words])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def plug_in(monkeypatch, **targets):
    """Cells of a pretended other distribution."""
    dist = distribution("numpy")
    found = {name: EntryPoint(name, target, "rnnbp.cells")._for(dist) for name, target in targets.items()}
    monkeypatch.setitem(vars(CELLS), "_winners", {name: CELLS[name] for name in CELLS} | found)


def breaks(*sizes):
    raise ZeroDivisionError(f"no [such] thing as {sizes}")


def skip_first_step(input_size, hidden_size):
    return LoopedLSTM(input_size, hidden_size, "t = 0 skipped")


def test_no_cell_means_every_built_in_one(rnnbp):
    code, out, err = rnnbp()
    assert code == 0 and err == ""
    assert len(re.findall(r" pass ", out)) == len(builtin_specs())  # one line for each
    assert "seed 0" in out and "tensors within tolerance" in out and "worst: " in out and "FAIL" not in out


def test_every_word_reaches_the_check(rnnbp):
    pytest.importorskip("array_api_strict")
    words = "lstm:peepholes=true --backend strict --device device1 --dtype float32 --method central --truncation"
    sizes = "tbptt:1,2 --time-steps 4 --batch 2 --input 3 --hidden 5 --seed 9 --json"
    code, out, err = rnnbp(*words.split(), *sizes.split())
    found = json.loads(out)
    assert code == 0 and err == "" and found["passed"] is True and found["seed"] == 9
    keys = ("cell", "backend", "dtype", "method", "truncation", "tolerance")
    assert {tuple(check[key] for key in keys) for check in found["checks"]} == {
        ("lstm:peepholes=true", "strict", "float32", "central", "tbptt:1,2", 1e-5)
    }
    shapes = {check["tensor"]: check["shape"] for check in found["checks"]}
    assert (shapes["W"], shapes["U"], shapes["X"], shapes["c0"]) == ([3, 20], [5, 20], [4, 2, 3], [2, 5])


def test_cells_that_nobody_named_are_left_out_where_a_method_cannot_take_them(rnnbp):
    code, out, err = rnnbp("--method", "symbolic", "--json")
    cells = {check["cell"] for check in json.loads(out)["checks"]}
    there = set(builtin_specs())
    plain = {spec for spec in there if not isinstance(CELLS.make(spec, 3, 4), PointwiseCell)}
    assert code == 0 and cells == there - plain and "gru:reset=before" in plain
    lines = err.splitlines()
    assert {line.partition(": method symbolic cannot trace")[0] for line in lines} == {f"left out: {s}" for s in plain}


def test_the_path_is_named(rnnbp):
    found = json.loads(rnnbp("rnn", "--path", "reference", "--json")[1])
    assert {(check["level"], check["path"]) for check in found["checks"]} == {("step", ""), ("sequence", "portable")}


def test_seeds_differ_and_repeat(rnnbp):
    first, again, other = (rnnbp("elman", "--json", "--seed", seed)[1] for seed in ("1", "1", "2"))
    assert first == again and first != other


def test_a_wrong_backward_exits_1_and_is_named(rnnbp, monkeypatch):
    plug_in(monkeypatch, skips=f"{__name__}:skip_first_step")
    code, out, _ = rnnbp("elman", "skips")
    assert code == 1 and "FAIL" in out and "pass" in out
    assert re.search(r"^worst: \w+\[\d+, \d+.*\] of skips: error .* analytic .* numeric ", out, re.MULTILINE)
    code, out, _ = rnnbp("skips", "--json")
    found = json.loads(out)
    assert code == 1 and found["passed"] is False and found["worst"]["cell"] == "skips"


def test_all_goes_on_past_a_broken_plugin(rnnbp, monkeypatch):
    plug_in(monkeypatch, gone="no_such_module:Cell", breaks=f"{__name__}:breaks")
    code, out, err = rnnbp("--all")
    assert code == 1 and err == ""
    assert "gone: cell 'gone' of numpy cannot be loaded: ModuleNotFoundError" in out
    assert "breaks: cell 'breaks' of numpy cannot be made: ZeroDivisionError: no [such] thing as (4, 6)" in out
    code, out, _ = rnnbp("--all", "--json")
    by_cell = {check["cell"]: check for check in json.loads(out)["checks"]}
    assert code == 1 and by_cell["gone"]["passed"] is False and by_cell["gone"]["error"] is None
    assert by_cell["lstm"]["passed"] is True
    code, _, err = rnnbp("gone")
    assert code == 2 and "cannot be loaded" in err


def test_a_task(rnnbp):
    code, out, _ = rnnbp("--task", "four-steps", "lstm", "gru:reset=before", "--details")
    assert code == 0 and "task four-steps" in out and "readout.W" in out and "gru:reset=before" in out
    found = json.loads(rnnbp("lstm", "--task", "four-steps", "--json")[1])
    assert found["task"] == "four-steps" and found["passed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lstn", "unknown cell 'lstn': did you mean lstm"),
        ("lstm:peephole=true", "unknown option of cell lstm 'peephole': did you mean peepholes"),
        ("lstm --all", "--all checks every cell"),
        ("--method forward", "unknown method 'forward'"),
        ("--dtype float16", "unknown dtype"),
        ("--backend numpi", "did you mean numpy"),
        ("--device cuda:7", "device of backend numpy must be one of cpu"),
        ("--time-steps 0", "time_steps must be an integer of at least 1"),
        ("--hidden -3", "hidden_size must be an integer of at least 1"),
        ("--truncation tbptt:2,1", "K2 >= K1"),
        ("--all --truncation half", "truncation must be full, tbptt:K1,K2"),
        ("--task four-step", "unknown task 'four-step': did you mean four-steps"),
        ("--task four-steps --input 7", "input_size is the task's own"),
        ("--seed -1", "--seed"),
        ("lstm --layers 2", "does not take --layers: leave it out, or say --task"),
        ("lstm --procedure all", "say --task four-steps"),
        ("--task four-steps --procedure some", "unknown procedure 'some'"),
        ("--task four-steps --procedure all --dtype float32", "--procedure does not take --dtype"),
        ("--task four-steps --lags", "--task does not take --lags"),
        ("--self-test lstm", "--self-test does not take cells by name"),
        ("lstm --force", "--force lets --report replace a file"),
        ("lstm --memory 0", "--memory"),
        ("lstm --path quick", "unknown path 'quick'"),
        (
            "lstm --backend strict --path fast",
            "path fast is not there: backend strict scans by the portable path",
        ),
        ("--task four-steps --path fast", "--task does not take --path: leave it out"),
        ("gru:reset=before --method symbolic", "method symbolic cannot trace ResetBeforeGRU: it is a plain Cell"),
        ("lstm --details --json", "--json has every tensor"),
        ("lstm --extent some", "unknown extent 'some'"),
        ("lstm --directions 1", "directions must be an integer of at least 3"),
        ("lstm --cotangents none", "unknown kind of cotangents 'none'"),
        ("lstm --report /no/such/folder/x.html", "/no/such/folder"),
        ("lstm --report /dev/null", "--report writes HTML"),
        ("lstm --report report.txt", "--report writes HTML"),
        ("lstm --time-steps 999999999999999999999", "time_steps"),
        ("--batch many", "--batch"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(rnnbp, words, message):
    code, out, err = rnnbp(*words.split())
    assert code == 2 and out == "" and message in err and err.count("\n") == 1 and "Traceback" not in err


def test_details_show_every_tensor_of_every_cell(rnnbp):
    brief, full = rnnbp("rnn", "lstm")[1], rnnbp("rnn", "lstm", "--details")[1]
    assert "c0" in full and "c0" not in brief and brief.count("\n") < full.count("\n") / 2


def test_procedures_side_by_side(rnnbp):
    code, out, _ = rnnbp("--task", "four-steps", "--procedure", "all")
    assert code == 0 and all(word in out for word in ("scalar", "per-step", "one-step", "it is not the gradient"))
    assert json.loads(rnnbp("--task", "four-steps", "--procedure", "all", "--json")[1])["rows"]


def test_the_page_is_written_whole_and_replaces_nothing(rnnbp, tmp_path):
    path = tmp_path / "report.html"
    code, _, err = rnnbp("rnn", "--report", str(path))
    text = path.read_text(encoding="utf-8")
    assert code == 0 and err == f"report {path}\n" and [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    code, _, err = rnnbp("lstm", "--report", str(path))
    assert code == 2 and "is there: name another, or say --force" in err and path.read_text(encoding="utf-8") == text
    assert rnnbp("lstm", "--report", str(path), "--force")[0] == 0 and "lstm" in path.read_text(encoding="utf-8")


def test_a_report_is_no_way_to_replace_what_is_no_file(rnnbp, tmp_path):
    precious, link, part = tmp_path / "precious", tmp_path / "link.html", tmp_path / "a.html.part"
    precious.write_text("kept"), part.write_text("kept")
    link.symlink_to(precious)
    code, _, err = rnnbp("rnn", "--report", str(link), "--force")
    assert code == 2 and "plain files only" in err and precious.read_text() == "kept"
    assert rnnbp("rnn", "--report", str(tmp_path / "a.html"))[0] == 0 and part.read_text() == "kept"


def test_as_a_process():
    """Exit code and a clean stdout, from a real process."""
    call = [sys.executable, "-c", "from rnnbp_cli import main; main()", "gradcheck", "elman", "--json"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "" and json.loads(done.stdout)["passed"] is True
