"""What goes around cells, by name: every wrapper around pointwise cells and a plain one, and several at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from cases import WAYS
from helpers import B, H, I, T, agree, forward, gradients, numeric, on, portable, problem, refusal
from host_device import OnHost, needs_a_compiler
from rnnbp_cli import main
from rnnbp_numpy import buffered

import rnnbp
from rnnbp.around import Around, AroundPointwise, RecurrentDropout, Zoneout, ZoneoutPointwise, drawn, expected
from rnnbp.fastpath import layout
from rnnbp.lowering import Untraceable, untraceable
from rnnbp.testing import check_cell
from rnnbp.truncation import Window

FUSED = [  # each costs its compilation
    "lstm/zoneout",
    "lstm:peepholes=true/zoneout:states=c/learned-start",
    "gru/recurrent-dropout/learned-start",
    "lstm-fgr/recurrent-dropout/zoneout",
]
LOOPED = [
    "gru:reset=before/zoneout",
    "gru:reset=before/learned-start",
    "gru:reset=before/zoneout/learned-start",
]
SPECS = [*FUSED, *LOOPED]
EVERYWHERE = ["lstm/zoneout/recurrent-dropout/learned-start"]  # dear where every shape is compiled


def test_layers_of_wrappers_are_read_from_left_to_right():
    cell = rnnbp.cell("lstm:forget_bias=2/zoneout:rate=0.3,states=c/recurrent-dropout:rate=0.2", I, H)
    assert isinstance(cell, RecurrentDropout) and cell.rate == 0.2
    assert isinstance(cell.cell, ZoneoutPointwise) and cell.cell.rate == 0.3 and cell.cell.zoned == ("c",)
    assert cell.cell.cell == rnnbp.cell("lstm:forget_bias=2", I, H)
    assert isinstance(rnnbp.cell("gru:reset=before/zoneout", I, H), Zoneout)
    assert (cell.input_size, cell.hidden_size, cell.output_size, cell.source) == (I, H, H, cell.cell.cell.source)
    assert list(cell.data) == ["zoneout_c", "dropout_h"]


@pytest.mark.parametrize("spec", ["lstm", "gru:reset=before"])
@pytest.mark.parametrize("way", WAYS)
def test_a_wrapper_that_changes_nothing_gives_the_same_bits(spec, way):
    within = rnnbp.cell(spec, I, H)
    q = problem(within)
    around = (Around if "before" in spec else AroundPointwise)(within)
    (ys, s_T, back), (ys0, s0_T, back0) = (forward(q._replace(cell=c), **WAYS[way]) for c in (around, within))
    assert np.array_equal(ys, ys0) and all(map(np.array_equal, s_T, s0_T))
    (dp, dxs, ds), (dp0, dxs0, ds0) = (b(q.dys, q.ds_T) for b in (back, back0))
    assert all(np.array_equal(dp[n], dp0[n]) for n in dp0) and np.array_equal(dxs, dxs0)
    assert all(map(np.array_equal, ds, ds0))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", SPECS)
def test_gradients_by_complex_steps(spec, way):
    q = problem(rnnbp.cell(spec, I, H))
    agree(gradients(q, rnnbp.backend("numpy"), **WAYS[way]), numeric(q, **WAYS[way]))


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_on_every_backend(backend, spec):
    q, options = problem(rnnbp.cell(spec, I, H)), WAYS["mask, resets, reverse"]
    agree(gradients(q, backend, **options), numeric(q, **options))


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in EVERYWHERE])
def test_conformance(spec):
    check_cell(spec, backend="numpy")


@pytest.mark.parametrize("spec", EVERYWHERE)
def test_conformance_on_every_backend(backend, spec):
    check_cell(spec, backend=backend)


class Buffered(type(rnnbp.backend("numpy"))):
    """NumPy without numba."""

    path = "buffered"

    def scan(self, *arguments, **options):
        return buffered.scan(*arguments, **options)


def taken(backend, q, **options):
    """The gradients by the backend's own scan, which must take the call where nothing is learned and reset at once."""
    declined = bool(q.cell.starting) and options.get("resets") is not None
    given = {"mask": None, "resets": None, "reverse": False, "record": False, "keep": True, "data": q.data or None}
    found = backend.scan(q.cell, q.params, q.xs, q.s0, **given | options)
    assert found is not NotImplemented or declined
    return gradients(q, backend, **options)


def portable_gradients(q, window=None, **options):
    dp, dxs, ds = forward(q, portable, **options)[2](q.dys, q.ds_T, window)
    return {**dp, "xs": dxs, **{f"s0.{n}": d for n, d in zip(q.cell.states, ds, strict=True)}}


@pytest.mark.parametrize("spec", FUSED)
@pytest.mark.parametrize("way", ["mask", "mask, resets, reverse"])
@pytest.mark.parametrize("backend", [rnnbp.backend("numpy"), Buffered()], ids=["numba", "buffered"])
def test_what_is_pointwise_runs_fused(backend, spec, way):
    q = problem(rnnbp.cell(spec, I, H))
    assert untraceable(q.cell) is None and layout(q.cell).cell == q.cell
    agree(taken(backend, q, **WAYS[way]), portable_gradients(q, **WAYS[way]))


@pytest.mark.parametrize("window", [(1, 2, 4), (2, 2, T)])
@pytest.mark.parametrize("backend", [rnnbp.backend("numpy"), Buffered()], ids=["numba", "buffered"])
def test_windows_of_fused_scans(backend, window):
    """The masks of recurrent dropout are those of each step, where a window begins, too."""
    q = problem(rnnbp.cell("lstm-fgr/recurrent-dropout/zoneout", I, H))
    agree(gradients(q, backend, window), portable_gradients(q, window))


@needs_a_compiler
@pytest.mark.parametrize("spec", FUSED)
@pytest.mark.parametrize("way", ["mask", "mask, resets, reverse"])
def test_it_runs_in_the_kernels_of_a_gpu(spec, way):
    """Their text compiled for the host; a learned start is left to the door of `scan`."""
    q, window = problem(rnnbp.cell(spec, I, H)), Window(1, 2, 4)
    agree(taken(OnHost(), q, **WAYS[way]), portable_gradients(q, **WAYS[way]))
    agree(gradients(q, OnHost(), window), portable_gradients(q, window))


@pytest.mark.parametrize("spec", LOOPED)
def test_what_is_not_goes_through_the_loop(spec):
    with pytest.raises(Untraceable):
        layout(rnnbp.cell(spec, I, H))


@pytest.mark.parametrize(("spec", "names"), [("lstm/zoneout", "ifgo"), ("gru:reset=before/zoneout", "rzn")])
def test_a_record_holds_what_the_cell_within_computes(spec, names):
    q = problem(rnnbp.cell(spec, I, H))
    _, _, backward = forward(q, record=True)
    backward(q.dys, q.ds_T)
    assert all(backward.record[name].shape == (T, B, H) for name in (*names, *q.cell.states))


def test_masks_are_drawn_by_the_rates_and_means_stand_for_them():
    cell = rnnbp.cell("lstm/zoneout:rate=0.25,states=c/recurrent-dropout:rate=0.5", I, 50)
    masks, means = drawn(cell, np.random.default_rng(0), 40, 20), expected(cell, 40, 20)
    assert list(masks) == list(means) == list(cell.data)
    kept, m = masks["zoneout_c"], masks["dropout_h"]
    assert set(np.unique(kept)) == {0.0, 1.0} and abs(kept.mean() - 0.25) < 0.01
    assert set(np.unique(m)) == {0.0, 2.0} and abs(m[0].mean() - 1) < 0.1
    assert all(np.array_equal(m[t], m[0]) for t in range(40)), "one mask for the whole sequence"
    assert np.array_equal(means["zoneout_c"], np.full((40, 20, 50), 0.25)) and np.array_equal(
        means["dropout_h"], m * 0 + 1
    )
    again = drawn(cell, np.random.default_rng(0), 40, 20)
    assert all(np.array_equal(again[n], masks[n]) for n in masks)
    assert drawn(cell.cell.cell, np.random.default_rng(0), 4, 2) == expected(cell.cell.cell, 4, 2) == {}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lstm/zoneot", "unknown wrapper 'zoneot': did you mean zoneout"),
        ("lstm/zoneout:rate=1.5", "a rate must be at least 0 and below 1; got 1.5"),
        ("lstm/zoneout:rate=true", "must be a number"),
        ("lstm/recurrent-dropout:rate=1", "a rate must be at least 0 and below 1; got 1"),
        ("gru/zoneout:states=c", "states must be among h, joined by +; got 'c'"),
        ("lstm/zoneout:states=c/zoneout", "has data zoneout_c already"),
        ("lstm/recurrent-dropout/recurrent-dropout", "has data dropout_h already"),
        ("lstm/learned-start/learned-start", "has parameter start.c already"),
        ("gru:reset=before/recurrent-dropout", "needs a cell whose step is affine, then pointwise"),
        ("indrnn/recurrent-dropout", "has no U"),
    ],
)
def test_refusals(spec, message):
    assert message in refusal(lambda: rnnbp.cell(spec, I, H).params and rnnbp.cell(spec, I, H).data)


def test_a_rate_of_nothing_is_the_cell_itself():
    cell = rnnbp.cell("lstm/zoneout:rate=0/recurrent-dropout:rate=0", I, H)
    q = problem(cell)._replace(data=drawn(cell, np.random.default_rng(0), T, B))
    within = problem(rnnbp.cell("lstm", I, H))
    (ys, _, _), (ys0, _, _) = forward(q, portable), forward(within, portable)
    assert np.array_equal(ys, ys0)


@pytest.mark.parametrize(("spec", "code"), [("lstm/zoneout:rate=0.3/recurrent-dropout", 0), ("lstm/zonout", 2)])
def test_the_command_line_checks_them(capsys, spec, code):
    with pytest.raises(SystemExit) as end:
        main(["gradcheck", spec, "--json"])
    out, err = capsys.readouterr()
    assert end.value.code == code
    assert json.loads(out)["passed"] if code == 0 else "unknown wrapper 'zonout'" in err


def test_the_page_s_example_runs():
    page = (Path(__file__).parents[1] / "docs" / "around.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert set(names["masks"]) == set(names["means"]) == {"zoneout_h", "zoneout_c"}
    assert names["dxs"].shape == (7, 2, 3) and np.all(np.isfinite(names["dxs"]))


def test_arrays_of_the_wrapped_cell_live_where_its_data_live(backend):
    q = on(backend, problem(rnnbp.cell("lstm/zoneout/learned-start", I, H)))
    ys, _, _ = rnnbp.scan(q.cell, q.params, q.xs, data=q.data, backend=backend)
    assert ys.dtype == q.xs.dtype


def test_a_whole_model_is_checked_with_what_goes_around_its_cells():
    report = rnnbp.checking.check_task("four-steps", "gru/zoneout/learned-start", layers=2, levels=["model"])
    checked = {check.tensor: check for check in report.checks}
    assert report.passed and checked["1.start.h"].analytic and "0.h0" not in checked
