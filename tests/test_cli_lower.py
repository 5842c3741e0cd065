"""`rnnbp lower`: generated source and drawings on stdout, one line for what there is none of."""

from importlib.metadata import EntryPoint

import pytest
from rnnbp_cli import main

import rnnbp
from rnnbp.lowering import dot, trace
from rnnbp.registry import BACKENDS


class Speaking(type(rnnbp.backend("numpy"))):
    """A backend that generates a language of its own."""

    name, target = "speaking", "prose"

    @classmethod
    def generated(cls, cell, dtype):
        return f"{type(cell).__name__} in {dtype}"


@pytest.fixture
def lower(capsys):
    """Run the command: exit code, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["lower", *words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def speaking(monkeypatch):
    """With that backend, and one that cannot be loaded."""
    found = {"speaking": EntryPoint("speaking", f"{__name__}:Speaking", BACKENDS.group)}
    found |= {"broken": EntryPoint("broken", "no_such_module_anywhere:Backend", BACKENDS.group)}
    monkeypatch.setitem(BACKENDS.__dict__, "_winners", {**{name: BACKENDS[name] for name in BACKENDS}, **found})


def test_a_drawing(lower):
    code, out, err = lower("lstm:peepholes=true", "--target", "dot")
    assert (code, err) == (0, "") and out == dot(trace(rnnbp.cell("lstm:peepholes=true", 4, 6))) + "\n"


@pytest.mark.usefixtures("speaking")
def test_the_source_comes_from_the_backend_that_has_the_target(lower):
    assert lower("lstm", "--target", "prose") == (0, "LSTM in float32\n", "")
    assert lower("gru", "--target", "prose", "--dtype", "float64") == (0, "GRU in float64\n", "")


@pytest.mark.usefixtures("speaking")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lstm --target poetry", "prose, dot; got poetry"),
        ("lstm", "Missing option '--target'"),
        ("lstn --target dot", "unknown cell 'lstn': did you mean lstm"),
        ("gru:reset=before --target prose", "gru:reset=before cannot be traced: it is a plain Cell"),
        ("gru:reset=before --target dot", "gru:reset=before cannot be traced: it is a plain Cell"),
        ("lstm --target dot --dtype float32", "dot draws graphs, which have no dtype: leave --dtype out"),
        ("lstm --target prose --dtype float16", "--dtype must be float32 or float64; got float16"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(lower, words, message):
    code, out, err = lower(*words.split())
    assert code == 2 and out == "" and message in err and err.count("\n") == 1


@pytest.mark.parametrize("name", [name for name in BACKENDS if getattr(BACKENDS.load(name), "target", None)])
def test_what_backends_generate_needs_no_library_and_names_the_gates(lower, name):
    for dtype in ("float32", "float64"):
        code, out, err = lower("lstm", "--target", BACKENDS.load(name).target, "--dtype", dtype)
        assert (code, err) == (0, "") and "c1" in out and len(out.splitlines()) > 20
