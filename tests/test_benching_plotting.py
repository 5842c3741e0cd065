"""The picture of a bench: what is on its lines."""

from __future__ import annotations

import pytest

import rnnbp
from rnnbp.benching import Case, Plan, Report, Size
from rnnbp.benching.contenders import BOTH, FORWARD
from rnnbp.benching.plotting import Panel, draw, panels_of, title_of
from rnnbp.benching.reports import Measured
from rnnbp.benching.timing import Timing

SMALL, LARGE = Size(1, 1, 1, 1), Size(2, 2, 2, 2)


def case(cell, size, backend, seconds, flops, peer=None):
    def timed(name, each):
        return Measured(name, {FORWARD: Timing((each / 3,)), BOTH: Timing((each,))}, None)

    about = {"cell": cell, "size": size, "backend": backend, "device": "cpu", "path": "portable", "flops": flops}
    gemm = {"gemm_size": 1000, "gemm": Timing((1.0,))}
    theirs = timed("torch.nn.LSTM", peer) if peer else None
    return Case(**about, **gemm, ours=timed(backend, seconds), peer=theirs, note="", difference=None, tolerance=1.0)


@pytest.fixture
def report():
    plan = Plan(("lstm", "gru"), (LARGE, SMALL), (rnnbp.backend("numpy"),), threads=1, repeats=3)
    cases = (
        case("lstm", LARGE, "numpy", 1.0, 2 * 10**9, peer=2.0),
        case("lstm", SMALL, "numpy", 1.0, 10**9, peer=0.5),
        case("gru", LARGE, "numpy", 2.0, 2 * 10**9),
        case("lstm", LARGE, "torch", 3.0, 2 * 10**9),
    )
    return Report(plan, cases, "today", {"processor": "P", "cores": 1})


def test_a_panel_has_a_cell_with_its_sizes_in_order_and_a_line_for_each(report):
    lstm, gru = panels_of(report)
    assert (lstm.title, lstm.labels) == ("lstm", ("1,1,1,1", "2,2,2,2"))
    assert lstm.lines == {
        "numpy (portable)": [3.0, 6.0],
        "torch.nn.LSTM": [6.0, 3.0],
        "torch (portable)": [None, 2.0],
    }
    assert lstm.levels == {"GEMM": 2.0} and lstm.log
    assert (gru.title, gru.labels, gru.lines) == ("gru", ("2,2,2,2",), {"numpy (portable)": [3.0]})
    assert title_of(report) == "float32, 1 thread, best of 3; P"


def test_lines_with_gaps_are_drawn(report, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "p.svg"
    empty = Panel("nothing", ("a",), {"none": [None]}, {}, "unit")
    draw(path, "title", [*panels_of(report), empty], columns=2)
    assert path.read_text().count("<svg") == 1
