"""`check_function(step=…)`: which time steps' parts of a gradient a black box's backward leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from foreign_loops import SHAPES, drawn, first, rnn, step_of, tables

from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.fits import patterns
from rnnbp.checking.foreign.inputs import take


def checked(fault="", **options):
    return check_function(rnn(fault=fault), drawn(), step=step_of(), s0=first, **options)


def test_right_code_passes_on_every_backend(backend):
    xp = backend.xp
    report = check_function(rnn(xp), drawn(backend), step=step_of(xp), s0=first)
    assert report.passed and set(tables(report)) == set(SHAPES)
    for table in tables(report).values():
        assert max(row.error for row in table.rows) < 1e-13 and table.method == "complex-step"
        assert not np.triu(table.numeric, 1).any() and not table.wrong.any()  # nothing flows back from later steps
        assert "each row adds up to what the backward gives" in str(table)
    assert np.count_nonzero(tables(report)["h0"].numeric[:, 1:]) == 0  # the first state is used by the first step


def test_the_parts_of_a_row_add_up_to_the_gradient_of_the_whole_function():
    from rnnbp.checking.foreign.calls import Foreign
    from rnnbp.checking.foreign.cotangents import draw
    from rnnbp.checking.foreign.loops import Loop
    from rnnbp.checking.foreign.noise import slopes_of
    from rnnbp.checking.foreign.stepping import parts_of

    foreign = Foreign(rnn(), None, *take(rnn(), drawn(), None, None))
    cotangents = draw(foreign, 0, 0)
    whole = slopes_of(foreign, cotangents.split, 0)
    loop = Loop(foreign, step_of(), first, 0).slopes(cotangents.whole[0], whole, 0)
    unit = np.zeros(SHAPES["U"])
    unit[2, 1] = 1.0
    for method, limit in (("complex-step", 1e-14), ("five-point", 1e-10)):
        parts, _ = parts_of("U", [(2, 1)], loop, method, lambda _: None)
        np.testing.assert_allclose(parts.sum(axis=1)[:, 0], whole.complex_slope({"U": unit}), atol=limit, rtol=0)


PLACES = {
    "first-step-skipped": "edge s = 0 (first step)",
    "last-step-skipped": "edge t = T−1 (last step)",
    "carry-dropped": "recurrence (s < t)",
}


@pytest.mark.parametrize("fault", PLACES)
def test_what_the_loop_leaves_out_is_named_and_located(fault):
    report = checked(fault)
    assert not report.passed
    for name, table in tables(report).items():
        if name != "h0":
            assert (table.bug, table.where) == (fault, PLACES[fault]), name
            assert f"{fault}: " in str(table) and "explains every row" in table.verdict[1]
            assert (table.wrong == (~patterns(4)[fault] & (table.numeric > 0))).all()


def test_a_gradient_that_is_overwritten_holds_the_first_step_alone():
    found = tables(checked("missing-accumulation"))
    assert {n: t.bug for n, t in found.items()} == dict.fromkeys(("X", "h0"), "") | dict.fromkeys(
        "WU", "missing-accumulation"
    )


def test_parts_that_are_scaled_have_their_factors():
    for name, table in tables(checked("halved")).items():
        if name == "h0":
            continue
        assert not table.bug and table.where == "recurrence (s < t)"
        for t, row in enumerate(table.rows):
            np.testing.assert_allclose(row.weights[: t + 1], 0.5 ** np.arange(t, -1, -1), rtol=1e-7)
    assert "t = 2: s = 0 times 0.25, s = 1 times 0.5" in str(table)


def test_a_part_that_is_wrong_in_itself_is_located_where_the_gradient_shows_it():
    found = tables(checked("sheared"))
    assert found["X"].where == "recurrence (s < t)" and (found["X"].wrong == np.tri(4, k=-1, dtype=bool)).all()
    assert found["W"].where == "recurrence (from t = 1 on)" and not found["W"].wrong.any()
    assert "t = 1–3: no parts left out or scaled explain it" in str(found["W"])


def test_float32_is_held_to_its_own_tolerance():
    report = check_function(rnn(), drawn(dtype="float32"), step=step_of(), s0=first)
    assert report.passed and {t.tolerance for t in tables(report).values()} == {1e-5}
    wrong = check_function(rnn(fault="carry-dropped"), drawn(dtype="float32"), step=step_of(), s0=first)
    assert tables(wrong)["U"].bug == "carry-dropped"


def test_a_large_tensor_is_perturbed_at_some_entries(monkeypatch):
    monkeypatch.setattr("rnnbp.checking.foreign.stepping.CALLS", 16 * 11)  # 4 × 4 for each entry
    found = tables(checked("first-step-skipped"))
    assert found["U"].entries in (12, 13) and f"{found['U'].entries} entries" in str(found["U"])  # T + 8, the largest
    assert found["h0"].entries == 0 and found["W"].bug == found["U"].bug == "first-step-skipped"


def test_the_table_is_told_in_every_form():
    heard = []
    report = checked("carry-dropped", progress=lambda *said: heard.append(said))
    table = tables(report)["W"]
    assert "! 1" in str(table) and max(map(len, str(table).splitlines())) <= 80
    assert "<svg" in table.to_html() and "weight 0" in table.to_html()
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))["findings"]["by_step"]
    assert [t["tensor"] for t in plain] == list(SHAPES) and plain[2]["weights"][1] == [0, 1, 0, 0]
    scalars = sum(int(np.prod(shape)) for shape in SHAPES.values())
    assert heard[-1][1:] == (5 * scalars, 5 * scalars)  # each entry once, and once for each step
