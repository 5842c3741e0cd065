"""`check_function(step=…)`: which time steps' parts of a gradient a black box's backward leaves out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rnnbp.checking.foreign.bystep import ByStep
from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.fits import patterns
from rnnbp.checking.foreign.inputs import take
from rnnbp.errors import UserError

SHAPES = {"X": (4, 2, 3), "h0": (2, 5), "W": (3, 5), "U": (5, 5)}


def drawn(backend=None, dtype="float64"):
    rng = np.random.default_rng(0)
    host = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    return host if backend is None else {name: backend.asarray(v, dtype) for name, v in host.items()}


def rnn(xp=np, fault="", form=lambda a: a):
    """An Elman network, (X, h0, W, U) -> all states, with one fault in its backward."""

    def fn(X, h0, W, U):
        hs = [h0]
        for t in range(X.shape[0]):
            hs.append(form(xp.tanh(X[t, ...] @ W + hs[-1] @ U)))

        def backward(dhs):
            last, dX, dW, dU, dh = X.shape[0] - 1, [], 0 * W, 0 * U, 0 * h0
            for t in range(last, -1, -1):
                da = (dhs[t, ...] + dh) * (1 - hs[t + 1] ** 2)
                if (fault, t) in {("first-step-skipped", 0), ("last-step-skipped", last)}:
                    da = 0 * da
                if fault == "missing-accumulation":
                    dW, dU = 0 * W, 0 * U
                dW = dW + xp.matrix_transpose(X[t, ...]) @ da
                dU = dU + xp.matrix_transpose(hs[t]) @ da
                dX.insert(0, da @ xp.matrix_transpose(W))
                dh = da @ xp.matrix_transpose(U) * {"carry-dropped": 0.0, "halved": 0.5}.get(fault, 1.0)
                if fault == "sheared":
                    dh = dh * xp.asarray(np.linspace(1, 2, 5))
            return xp.stack(dX), dh, dW, dU

        return xp.stack(hs[1:]), backward

    return fn


def step_of(xp=np, form=lambda a: a):
    def step(h, t, X, h0, W, U):  # noqa: ARG001
        h = form(xp.tanh(X[t, ...] @ W + h @ U))
        return h, h

    return step


def first(X, h0, W, U):  # noqa: ARG001
    return h0


def tables(report):
    return {f.tensor: f for f in report.findings if isinstance(f, ByStep)}


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


def test_inputs_come_in_order_or_by_name_and_time_may_be_another_axis():
    def fn(X, W):
        h, hs = np.zeros((2, 5)), []
        for t in range(4):
            h = np.tanh(X[:, t] @ W + 0.5 * h)
            hs.append(h)

        def backward(d):
            dX, dh = np.zeros_like(X), 0.0
            das = []
            for t in range(3, -1, -1):
                da = (d[:, t] + dh) * (1 - hs[t] ** 2)
                dX[:, t], dh = da @ W.T, 0.5 * da
                das.append(X[:, t].T @ da)
            return dX, sum(das)

        return np.stack(hs, axis=1), backward

    def step(h, t, X, W):
        h = np.tanh(X[:, t] @ W + 0.5 * h)
        return h, h

    inputs = {"X": drawn()["X"].swapaxes(0, 1), "W": drawn()["W"]}
    for given in (inputs, list(inputs.values())):
        report = check_function(fn, given, step=step, s0=np.zeros((2, 5)), time_axis=1)
        assert report.passed and len(tables(report)["X"].rows) == 4


def test_a_step_that_drops_the_imaginary_part_is_differenced():
    step = step_of(form=lambda h: np.where(h.real > 0, np.abs(h), -np.abs(h)))
    for name in ("", "carry-dropped"):
        report = check_function(rnn(fault=name), drawn(), step=step, s0=first)
        found = tables(report)
        assert report.passed == (not name) and {c.method for c in report.checks} == {"complex-step"}
        assert {t.method for t in found.values()} == {"five-point"} and found["W"].bug == name


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


# ---- refusals -----------------------------------------------------------------------------------------------------
def twice(h, t, X, h0, W, U):  # noqa: ARG001
    h = np.tanh(X[t] @ W + 2 * h @ U)
    return h, h


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"step": twice, "s0": first}, "step does not give fn's value: at t = 0 they differ by"),
        ({"step": step_of(), "s0": np.zeros((2, 5))}, "step does not give fn's value: at t = 0 .* check step, and s0"),
        ({"step": lambda h, _, **__: (h, h[0]), "s0": first}, r"at t = 0 its shape is \(5,\), of fn \(2, 5\)"),
        (
            {"step": lambda h, _, **__: h, "s0": first},
            r"must return \(next state, output at t\); got one array of shape",
        ),
        (
            {"step": lambda h, _, **__: (h, "h"), "s0": first},
            "the output of step must be a number or an array; got str 'h'",
        ),
        ({"step": 3}, "step must be a function; got 3"),
        ({"s0": first}, "s0 is the first state of a loop of steps; got no step"),
        ({"step": step_of(), "s0": first, "time_axis": 3}, "time_axis needs a value with that axis"),
    ],
)
def test_a_step_that_does_not_fit_is_refused_in_one_line(options, line):
    with pytest.raises(UserError, match=line) as caught:
        check_function(rnn(), drawn(), **options)
    assert "\n" not in str(caught.value)


def test_a_step_that_goes_wrong_later_is_refused_at_its_time():
    def late(h, t, *inputs):
        return step_of()(h, t, *inputs) if t < 2 else twice(h, t, *inputs)

    with pytest.raises(UserError, match="at t = 2 they differ"):
        check_function(rnn(), [*drawn().values()], step=late, s0=first)
