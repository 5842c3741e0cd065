"""`rnnbp flow` as typed: every option does something, what a mistake costs is one line and exit code 2."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint
from shutil import copytree

import pytest
from conftest import backend_or_skip
from rnnbp_cli import main
from rnnbp_cli.flow_summary import BARS, short, sparkline

from rnnbp.flow.measures import DEFAULT, MEASURES, PICTURES
from rnnbp.registry import CELLS
from rnnbp.training import Config, train

TEXT = "the cat sat on the mat, the dog sat on the log. " * 20
SMALL = "--hidden 4 --time-steps 6 --batch 2 --input 3"
LAGS = f"{SMALL} --measure lags"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with texts, a run on one of them, another of the same name, and one on a task."""
    here = tmp_path_factory.mktemp("flow")
    (here / "text.txt").write_text(TEXT)
    (here / "other.txt").write_text("a zebra")
    (here / "empty").mkdir()
    sizes = {"hidden": 4, "batch": 2, "time_steps": 6, "steps": 2, "save_every": 1}
    train(Config(files=(here / "text.txt",), **sizes), here / "run")
    train(Config(files=(here / "text.txt",), cell="gru", layers=2, **sizes), here / "more" / "run")
    train(Config(task="adding", **sizes), here / "task")
    return here


@pytest.fixture
def call(folder, monkeypatch, capsys):
    """Exit code, stdout and stderr of a command typed in that folder."""
    monkeypatch.chdir(folder)

    def typed(words):
        with pytest.raises(SystemExit) as left:
            main(["flow", *words.split()])
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return typed


@pytest.fixture
def found(call):
    """The JSON of a command; nothing else is on stdout."""

    def of(words):
        code, out, err = call(f"{words} --json")
        assert code == 0 and err == ""
        return json.loads(out)

    return of


def numbers(document, measure="lags"):
    return {label: one[measure]["numbers"] for label, one in document["subjects"].items()}


# ---- what is measured, and of what -----------------------------------------------------------------------------------


def test_everything_is_measured_by_default(found):
    document = found(SMALL)
    assert list(document["subjects"]) == ["lstm"] and document["about"] == {"lstm": "noise, T = 6, B = 2, I = 3, H = 4"}
    one = document["subjects"]["lstm"]
    assert {"lags", "gradient", "jacobians", "terms", "lyapunov"} < set(one) <= set(MEASURES)
    shown = {panel["picture"] for measured in one.values() for panel in measured["panels"]}
    assert shown == set(document["pictures"]) <= set(PICTURES) and len(shown) > 10
    assert document["pictures"]["error"]["y"] == {"label": "norm of the error", "log": True}
    assert "elman" in one["bounds"]["refused"] and one["lags"]["refused"] is None
    assert max(one["gradient"]["numbers"].values()) < 1e-13


def test_cells_schemes_and_runs_side_by_side(found):
    assert list(numbers(found(f"lstm gru:reset=before {LAGS}"))) == ["lstm", "gru:reset=before"]
    document = found(f"rnn {LAGS} --init orthogonal --init U=0.1,b=0")
    assert list(document["subjects"]) == ["rnn, orthogonal", "rnn, U=0.1,b=0"]
    one, two = numbers(document).values()
    assert one != two
    assert list(numbers(found(f"gru run lstm {LAGS}"))) == ["gru", "run", "lstm"]
    assert list(numbers(found("run more/run --measure lags"))) == ["run", "more/run"]


def test_a_plugin_is_a_cell(found, monkeypatch):
    entry = EntryPoint("mgu", "rnnbp_mgu:mgu", CELLS.group)
    monkeypatch.setitem(CELLS.__dict__, "_winners", {**{name: CELLS[name] for name in CELLS}, "mgu": entry})
    assert (
        max(
            numbers(found(f"mgu:bias=false {SMALL} --layers 2 --measure gradient"), "gradient")[
                "mgu:bias=false"
            ].values()
        )
        < 1e-13
    )


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("--time-steps 9", "noise, T = 9, B = 2, I = 32, H = 64"),
        ("--batch 3 --time-steps 5", "noise, T = 5, B = 3, I = 32, H = 64"),
        ("--input 4 --time-steps 5", "noise, T = 5, B = 2, I = 4, H = 64"),
        ("--hidden 7 --time-steps 5", "noise, T = 5, B = 2, I = 32, H = 7"),
        ("--layers 2 --time-steps 5", "noise, T = 5, B = 2, I = 32, H = 64, 2 layers"),
        ("--task copy --time-steps 30 --hidden 4", "task copy, T = 30, B = 2, I = 10, H = 4"),
        ("--text text.txt --time-steps 5 --hidden 4", "text, T = 5, B = 2, I = 15, H = 4"),
        ("run", "text of the run, validation; step 2, T = 6, B = 2, I = 15, H = 4"),
        ("more/run --batch 1", "text of the run, validation; step 2, T = 6, B = 1, I = 15, H = 4, 2 layers"),
        ("run --text text.txt", "text text.txt; step 2, T = 6, B = 2, I = 15, H = 4"),
        ("task --time-steps 8", "task adding, validation; step 2, T = 8, B = 2, I = 2, H = 4"),
    ],
)  # fmt: skip
def test_data_and_sizes(found, words, about):
    assert list(found(f"{words} --measure lags")["about"].values()) == [about]


def test_the_seed_draws_all(found):
    one, same, other = (numbers(found(f"{LAGS}{words}")) for words in ("", " --seed 0", " --seed 1"))
    assert one == same != other


def test_a_checkpoint_is_chosen(found, folder):
    assert "step 2" in found("run --measure lags --checkpoint last")["about"]["run"]
    train(Config(task="adding", hidden=4, batch=2, time_steps=6, steps=1, lr=1e3), folder / "worse", force=True)
    best, last = (found(f"worse --measure lags --checkpoint {name}")["about"]["worse"] for name in ("best", "last"))
    assert "step 0" in best and "step 1" in last


def test_measures_with_commas_or_again(found):
    for words in ("--measure lags,terms", "--measure lags --measure terms"):
        assert list(found(f"{SMALL} {words}")["subjects"]["lstm"]) == ["lags", "terms"]


def test_the_help_names_every_measure(call):
    code, out, _ = call("--help")
    words = re.search(r"--measure NAME,… (.*?); one, .*? \[default: all but (\w+)\]", " ".join(out.split()))
    assert code == 0 and words and words[1].split(", ") == list(MEASURES)
    assert {words[2]} == set(MEASURES) - set(DEFAULT)


@pytest.mark.parametrize("name", ["numpy", "torch", "strict"])  # all of them: test_flow_subjects
def test_the_gradient_of_a_backend(name, found):
    backend = backend_or_skip(name)
    document = found(f"lstm {SMALL} --measure gradient --backend {backend.name} --device {backend.devices()[0]}")
    one = document["subjects"]["lstm"]["gradient"]
    assert list(one["numbers"]) == ["W", "U", "b"] and max(one["numbers"].values()) < 1e-13
    assert f"by {backend.name} in float64" in one["notes"][0]


def test_the_precision_of_that_gradient(found):
    one = found(f"lstm {SMALL} --measure gradient --dtype float32")["subjects"]["lstm"]["gradient"]
    assert 1e-9 < max(one["numbers"].values()) < 1e-5 and "in float32" in one["notes"][0]


def test_threads_are_set_and_one_by_default(call, monkeypatch):
    asked = []
    monkeypatch.setattr("rnnbp_cli.flow.set_threads", lambda *given, **more: asked.append((*given, more["before"])))
    assert call(f"{LAGS} --threads 2")[0] == call(LAGS)[0] == 0
    assert asked == [(2, None, 1), (None, None, 1)]


# ---- how it shows ----------------------------------------------------------------------------------------------------


def test_the_summary(call):
    code, out, err = call(f"lstm gru {SMALL} --measure lags,jacobians,bounds")
    assert code == 0 and err == "" and max(map(len, out.splitlines())) <= 120
    assert out.startswith("lstm: noise, T = 6, B = 2, I = 3, H = 4\ngru: noise")
    assert re.search(r"measure +number +lstm +gru *\n", out) and re.search(r"lags +half-life +[\d.]+ +[\d.]+", out)
    assert re.search(r"h-block exponent +-?[\d.]+ *\n", out)  # of the lstm alone
    title = PICTURES["error"].title
    assert re.search(rf"\n{title}\n  lstm: The error of .*\n    whole state +█[{BARS} ]*  [\d.e-]+ … ", out)
    assert "norm of the error, log scale; over lag u, steps back, 0 … 6" in out
    assert re.search(r"\nleft out\n  bounds of lstm: .*; got\s+LSTM.*\n  bounds of gru: ", out, re.S)
    assert re.search(r"\nnotes\n  jacobians: Jacobians are those along the first sequence", out)


def test_markup_in_a_name_is_no_markup(call):
    code, _, err = call(f"[bold]lstm {LAGS}")
    assert code == 2 and "[bold]lstm" in err


def test_sparklines():
    assert sparkline(range(8), False) == BARS
    assert sparkline([10.0**k for k in range(-3, 5)], True) == BARS
    assert sparkline([float("nan"), 1, 0, 2, float("inf")], True) == " ▁ █ "
    assert sparkline([3.0, 3.0], False) == "▁▁" and sparkline([], False) == ""
    assert sparkline([0.0] * 30 + [1.0] * 30, False, width=4) == "▁▁██"
    assert len(sparkline(range(1000), False)) == 40 and sparkline([0, 1, 2, 3], False, width=2) == "▁█"
    assert [short(x) for x in (0.12345, 1e-9, float("nan"), float("inf"), -float("inf"))] == [
        "0.123",
        "1e-09",
        "–",
        "∞",
        "−∞",
    ]


def test_pictures_are_written_and_replaced_only_if_asked(call, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "pictures"
    code, _, err = call(f"lstm {SMALL} --measure carousel --out {out}")
    names = ("memory-size", "carousel")
    assert code == 0 and f"2 pictures, as PNG and SVG, in {out}" in err
    assert {path.name for path in out.iterdir()} == {name + ending for name in names for ending in (".png", ".svg")}
    assert (out / "carousel.png").read_bytes()[:4] == b"\x89PNG"
    before = (out / "carousel.svg").read_text()
    code, printed, err = call(f"lstm {SMALL} --measure carousel --out {out}")
    assert code == 2 and printed == "" and err.count("\n") == 1 and "say --force" in err
    assert call(f"lstm {SMALL} --measure curvature --out {out}")[0] == 0  # of which no picture is there
    assert call(f"lstm {SMALL} --out {out}")[0] == 2
    assert call(f"lstm {SMALL} --seed 1 --measure carousel --out {out} --force")[0] == 0
    assert "<svg" in before and (out / "carousel.svg").read_text() != before


def test_the_page_is_written_and_replaced_only_if_asked(call, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "flow.html"
    code, out, err = call(f"lstm {SMALL} --measure carousel --report {path}")
    assert code == 0 and "exponent alone" in out and err == f"report {path}\n"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and PICTURES["carousel"].title in text
    code, out, err = call(f"lstm --report {path}")
    assert code == 2 and out == "" and f"{path} is there: name another, or say --force" in err
    code, out, err = call(f"lstm {SMALL} --seed 1 --measure carousel --json --report {path} --force")
    assert code == 0 and numbers(json.loads(out), "carousel") and err == f"report {path}\n"  # JSON alone on stdout
    assert path.read_text(encoding="utf-8") != text


# ---- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("lstn", "unknown cell 'lstn': did you mean lstm"),
    ("lstm:peephole=true", "unknown option of cell lstm 'peephole': did you mean peepholes"),
    ("runs/demo", "runs/demo is no folder, and no cell with others around it: name the folder of a run"),
    ("lstm/zonout", "unknown wrapper 'zonout': did you mean zoneout"),
    ("lstm lstm", "labels that differ; got lstm, lstm: name each once"),
    ("text.txt", "text.txt is a file: name a cell, or the folder of a run; a text goes to --text"),
    ("lstm --text run", "a text is a file; run is a folder"),
    ("rnn gru --measure carousel,clipping", "nothing of it can be measured: a carousel is that of an lstm"),
    (
        "irnn --init recurrent=identity:9 --time-steps 400 --measure lags,jacobians",
        "measured: the flow is that of states",
    ),
    ("empty", "no checkpoint at empty/best.safetensors: name the folder of a run"),
    ("lstm --measure lag", "unknown measurement 'lag': did you mean lags"),
    ("lstm --measure lags,", "unknown measurement ''"),
    ("lstm --task addition", "unknown task 'addition': did you mean adding"),
    ("lstm --task adding --text text.txt", "text files and task adding exclude each other"),
    ("lstm --text nothing.txt", "text file not found: nothing.txt"),
    ("lstm --text text.txt --input 3", "input_size is that of the data; got 3"),
    ("lstm --init orthogonl", "unknown scheme of initialisation 'orthogonl': did you mean orthogonal"),
    ("lstm --time-steps 0", "time_steps must be an integer of at least 1; got 0"),
    ("lstm --hidden 0", "hidden_size must be an integer of at least 1; got 0"),
    ("lstm --layers 0", "layers must be an integer of at least 1; got 0"),
    ("lstm --batch -1", "batch must be an integer of at least 1; got -1"),
    ("lstm --seed -1", "Invalid value for '--seed'"),
    ("lstm --checkpoint last", "--checkpoint is for runs; got cells alone"),
    ("run --checkpoint first", "unknown checkpoint of a run 'first': known are best, last"),
    ("run --hidden 4", "--hidden is for cells with fresh weights; got runs alone: leave it out"),
    ("run --seed 1", "--seed is for cells with fresh weights; got runs alone: leave it out"),
    ("run --init irnn", "--init is for cells with fresh weights; got runs alone: leave it out"),
    ("run --text other.txt", "only characters that the run has seen; got 'b'"),
    ("run --time-steps 5000", "validation data must hold 2 sequences of 5000 steps"),
    ("task --text text.txt", "this one learnt task adding: leave --text out"),
    ("lstm --backend numpi", "unknown backend 'numpi': did you mean numpy"),
    ("lstm --device gpu", "device of backend numpy must be one of cpu; got 'gpu'"),
    ("lstm --dtype float16", "--dtype must be float64 or float32; got 'float16'"),
    ("lstm --measure lags --backend torch", "--backend is for the measure gradient, which is not among lags: add it"),
    ("lstm --measure lags --dtype float32", "--dtype is for the measure gradient, which is not among lags: add it"),
    ("lstm --threads 0", "--threads must be at least 1; got 0"),
    ("lstm --force", "--force lets --out and --report replace files; got neither"),
    ("lstm --out text.txt", "--out needs a folder that can be written to; text.txt is none"),
    ("lstm --out text.txt/pictures", "text.txt is none: name another"),
    ("lstm --report page.pdf", "--report writes HTML; got page.pdf: name a file that ends in .html"),
    ("lstm --report nowhere/page.html", "a folder that can be written to; got nowhere: make it, or name another"),
    ("lstm --speed 3", "No such option: --speed"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_one_line(call, words, message):
    code, out, err = call(words)
    assert code == 2 and out == "" and err.startswith("rnnbp: ") and err.count("\n") == 1
    assert message in err


def test_no_name_is_no_cell(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder / "run")  # of which "" would be the path
    with pytest.raises(SystemExit):
        main(["flow", ""])
    assert "unknown cell ''" in capsys.readouterr().err


def test_a_cell_and_a_run_of_its_name(found, folder):
    copytree(folder / "task", folder / "runs" / "lstm")
    assert [*found(f"lstm runs/lstm {LAGS}")["subjects"]] == ["lstm", "runs/lstm"]


def test_pictures_need_matplotlib_before_anything_is_computed(call, monkeypatch, tmp_path):
    from rnnbp import UserError

    def missing():
        raise UserError("matplotlib is not installed: pip install rnnbp[plot]")

    monkeypatch.setattr("rnnbp.benching.plotting.require_matplotlib", missing)
    monkeypatch.setattr("rnnbp.flow.reports.measure", None)
    for option in (f"--out {tmp_path}", f"--report {tmp_path / 'page.html'}"):
        code, out, err = call(f"lstm {option}")
        assert code == 2 and out == "" and err == "rnnbp: matplotlib is not installed: pip install rnnbp[plot]\n"
