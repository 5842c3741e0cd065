"""The command line around the commands: listings, help, and how a mistake ends."""

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from io import BytesIO, TextIOWrapper

import pytest
from rnnbp_cli import main

from rnnbp.registry import BACKENDS, CELLS


def call(capsys, *words):
    """Exit code, stdout and stderr of a command typed so."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_backends_are_listed_with_the_reason_why_not(capsys):
    code, out, err = call(capsys, "backends", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and err == "" and set(rows) == set(BACKENDS)
    for row in rows.values():
        assert row["available"] == (row["reason"] is None) == bool(row["devices"])
    assert rows["numpy"]["available"] and rows["numpy"]["version"] and "float64" in rows["numpy"]["dtypes"]
    _, table, _ = call(capsys, "backends")
    assert all(name in table for name in rows)


def test_an_unavailable_backend_exits_2_and_says_how_to_get_it(capsys, monkeypatch):
    from rnnbp_jax import JaxBackend

    monkeypatch.setattr(JaxBackend, "version", classmethod(lambda _: None))
    code, out, err = call(capsys, "gradcheck", "lstm", "--backend", "jax")
    assert (code, out) == (2, "")
    assert err == "rnnbp: backend jax cannot be used: JAX is not installed: pip install jax (or rnnbp[jax])\n"


def test_the_environment_names_the_backend(capsys, monkeypatch):
    monkeypatch.setenv("RNNBP_BACKEND", "nunpy")
    code, _, err = call(capsys, "gradcheck", "rnn")
    assert code == 2 and "unknown backend 'nunpy': did you mean numpy" in err
    code, out, _ = call(capsys, "gradcheck", "rnn", "--backend", "numpy", "--json")
    assert code == 0 and json.loads(out)["checks"][0]["backend"] == "numpy"


def test_cells_are_listed_with_their_parameters(capsys):
    code, out, _ = call(capsys, "cells", "--json", "--input", "3", "--hidden", "5")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and {"elman", "rnn", "lstm", "gru"} <= set(rows)
    assert rows["lstm"]["parameters"] == {"W": [3, 20], "U": [5, 20], "b": [20]}
    assert rows["lstm"]["count"] == 3 * 20 + 5 * 20 + 20 and rows["lstm"]["distribution"] == "rnnbp"


def test_cells_say_whether_they_can_be_traced(capsys, monkeypatch):
    plain = EntryPoint("before", "rnnbp.cells.gru:ResetBeforeGRU", CELLS.group)
    gone = EntryPoint("gone", "no_such_module_anywhere:Cell", CELLS.group)
    monkeypatch.setitem(CELLS.__dict__, "candidates", (*CELLS.candidates, plain, gone))
    monkeypatch.setitem(CELLS.__dict__, "_winners", {**{n: CELLS[n] for n in CELLS}, "before": plain, "gone": gone})
    code, out, _ = call(capsys, "cells", "--traceable", "--json")
    told = {row["name"]: row["traceable"] for row in json.loads(out)}
    assert code == 0 and told["lstm"] == told["gru"] == "yes" and told["gone"] is None
    assert told["before"].startswith("it is a plain Cell") and "\n" not in told["before"]
    for options in ((), ("--traceable",)):
        code, out, _ = call(capsys, "cells", *options)
        assert code == 0 and "lstm-cifg" in out and ("traceable" in out) is bool(options)
    assert "traceable" not in json.loads(call(capsys, "cells", "--json")[1])[0]


def test_a_broken_plugin_is_a_line_in_the_list(capsys, monkeypatch):
    broken = EntryPoint("brittle", "no_such_module_anywhere:Cell", CELLS.group)
    double = EntryPoint("lstm", "somebody:LSTM", CELLS.group)
    monkeypatch.setattr("rnnbp.registry.entry_points", lambda group: [broken, double] if group == CELLS.group else [])
    for cached in ("candidates", "_winners"):
        monkeypatch.delitem(CELLS.__dict__, cached, raising=False)
    try:
        code, out, _ = call(capsys, "cells", "--json")
        rows = json.loads(out)
        assert code == 0
        (row,) = (row for row in rows if row["name"] == "brittle")
        assert "cannot be loaded: ModuleNotFoundError" in row["error"]
        good, hidden = (row for row in rows if row["name"] == "lstm")
        assert good["error"] is None and hidden["error"] == "hidden: the name belongs to rnnbp"
        code, _, err = call(capsys, "gradcheck", "brittle")
        assert code == 2 and "cannot be loaded" in err and err.count("\n") == 1
    finally:
        for cached in ("candidates", "_winners"):
            CELLS.__dict__.pop(cached, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nonsense",), "rnnbp: No such command 'nonsense'."),
        (("cells", "--input", "0"), "rnnbp: Invalid value for '--input'"),
        (("backends", "extra"), "rnnbp: Got unexpected extra argument"),
        (("sample",), "rnnbp: Missing argument 'RUN'."),
        (("sample", "nowhere"), "rnnbp: no checkpoint at nowhere/best.safetensors: name the folder of a run"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, message):
    code, out, err = call(capsys, *words)
    assert code == 2 and out == "" and err.startswith(message) and err.count("\n") == 1


def test_sizes_beyond_memory_are_one_line(capsys, monkeypatch):
    def too_large(*_, **__):
        raise MemoryError("Unable to allocate 3.64 TiB")

    monkeypatch.setattr("rnnbp.checking.check_cells", too_large)
    code, out, err = call(capsys, "gradcheck", "lstm")
    assert (code, out) == (2, "")
    assert err == "rnnbp: a size must fit in memory: Unable to allocate 3.64 TiB: try a smaller one\n"


@pytest.mark.parametrize(
    ("words", "count"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("abc", None), ("-1", None), ("0", None), ("", None)]
)
def test_the_environment_names_the_threads(monkeypatch, words, count):
    from rnnbp_cli import options

    for name in options._THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", words)
    assert options.set_threads(None) == (count or options._cores())


LATE = """
import os, numba, numpy
from rnnbp_cli import options
options.set_threads(1)
print(numba.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"])
options.set_threads(3)
"""


def test_threads_reach_libraries_that_are_loaded():
    """Numba takes no more than it was loaded for, and its variable must not change under it."""
    pytest.importorskip("numba")
    code = [sys.executable, "-c", LATE]
    done = subprocess.run(code, capture_output=True, text=True, env=os.environ | {"NUMBA_NUM_THREADS": "2"})
    assert done.stdout.split() == ["1", "1", "2"]
    assert "--threads comes too late: Numba is loaded already, for 2; got 3" in done.stderr


def test_a_bug_keeps_its_traceback(monkeypatch):
    """Only what a user can cause becomes one line: anything else must be seen where it happened."""

    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rnnbp_cli.cells.print_json", broken)
    with pytest.raises(ZeroDivisionError):
        main(["cells", "--json"])


def test_no_words_print_the_help(capsys):
    code, out, err = call(capsys)
    assert code == 2 and "Usage: rnnbp" in out + err
    code, out, _ = call(capsys, "--help")
    assert code == 0 and "train" in out and "gradcheck" in out


def test_help_loads_nothing_numerical():
    code = (
        "import sys; from rnnbp_cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'torch', 'jax', 'cupy', 'rnnbp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["explain", "--list"], ["flow", "rnn", "--measure", "bounds"]])
def test_a_terminal_that_cannot_show_a_character_shows_a_question_mark(monkeypatch, words):
    written = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(written, encoding="ascii", write_through=True))
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code and b"?" in written.getvalue()
