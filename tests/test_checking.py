"""The parts of the gradient checker: the metric, the numeric derivatives, the report."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rnnbp
from rnnbp.checking.methods.numeric import MEMORY, MOST_COPIES, Asked, copies_within
from rnnbp.checking.methods.registry import METHODS, numeric_method
from rnnbp.checking.methods.steps import stepped
from rnnbp.checking.methods.tolerances import DTYPES, TOLERANCES
from rnnbp.checking.metric import compare
from rnnbp.checking.report import Check, Report, joined
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError


# ---- the metric ---------------------------------------------------------------------------------------------------
def test_equal_tensors_and_exact_zeros_have_no_error():
    assert compare(np.ones((2, 3)), np.ones((2, 3))).error == 0
    assert compare(np.zeros(3), np.zeros(3)).error == 0


def test_zero_against_anything_else_is_as_wrong_as_can_be():
    found = compare(np.zeros(3), np.array([0, 0, 1e-300]))
    assert found.error == found.elementwise == 1 and found.index == (2,)


def test_one_wrong_entry_of_many_shows_in_the_maximum():
    n = np.random.default_rng(0).standard_normal((128, 128))
    a = n.copy()
    a[70, 3] += 0.5
    found = compare(a, n)
    assert found.index == (70, 3) and found.error == found.maximum > 0.05 and found.norm < 0.003


def test_a_tensor_wrong_all_over_shows_in_the_norm():
    n = np.ones(100)
    n[0] = 1000
    found = compare(n + 1e-3 * np.sign(n), n)
    assert found.norm > found.maximum


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_is_nan_at_its_place(bad, side):
    pair = [np.ones((2, 2)), np.ones((2, 2))]
    pair[side][1, 0] = bad
    found = compare(*pair)
    assert isnan(found.error) and found.index == (1, 0)


def test_tiny_gradients_do_not_underflow():
    a = np.array([1e-250, 2e-250])
    assert compare(a, a * (1 + 1e-6)).error == pytest.approx(1e-6, rel=0.1)
    assert compare(a, -a).norm == pytest.approx(1)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(1e-100, 1e100))
def test_the_metric_is_symmetric_and_has_no_scale(x, y, scale):
    a, n = np.array([x, 1.0]), np.array([y, 2.0])
    assert compare(a, n).error == compare(n, a).error
    assert compare(a * scale, n * scale).error == pytest.approx(compare(a, n).error, rel=1e-9)


def test_only_tensors_of_one_shape_are_compared():
    with pytest.raises(ValueError, match="one shape"):
        compare(np.ones(3), np.ones((3, 1)))


# ---- numeric derivatives ------------------------------------------------------------------------------------------
POINT = {"v": np.linspace(-1, 1, 6).reshape(2, 3), "w": np.array([0.5, 2.0, -1.0])}
EXACT = {"v": 3 * POINT["v"] ** 2 * POINT["w"], "w": np.sum(POINT["v"] ** 3, axis=0) + 1}
STEPWISE = [name for name, method in METHODS.items() if not method.whole]  # the others take whole subjects
CLOSE = {"complex-step": 1e-15, "tangent": 1e-15, "five-point": 1e-11, "central": 1e-9}


def cubic(xp):
    """Σ v³ w + Σ w, with copies."""

    def loss(p):
        v, w = p["v"], p["w"]
        return xp.sum(v * v * v * w[..., None, :], axis=(-2, -1)) + xp.sum(w, axis=-1)

    return loss


def ask(loss=lambda where: cubic(where.xp), backend=None, copies=4, heard=None):
    """The question for a loss that holds no numbers of its own, with room for so many copies of v."""
    subject = Subject("cubic", POINT, loss, gradients=lambda _: {}, work=0)
    advance = (lambda _: None) if heard is None else heard.append
    return Asked(subject, backend or rnnbp.backend("numpy"), memory=copies * 16 * 18, advance=advance)


@pytest.mark.parametrize("method", STEPWISE)
@pytest.mark.parametrize("copies", [1, 4, 6, 50])
def test_derivatives_of_a_cubic(method, copies, backend):
    heard = []
    asked = ask(backend=backend, copies=copies, heard=heard)
    found = METHODS[method].gradients(asked)
    for name, exact in EXACT.items():
        np.testing.assert_allclose(found[name], exact, rtol=CLOSE.get(method, 1e-15), atol=CLOSE.get(method, 1e-15))
    assert sum(heard) == 9


@pytest.mark.parametrize("method", STEPWISE)
def test_derivatives_along_directions(method, backend):
    rng = np.random.default_rng(0)
    for name, exact in EXACT.items():
        directions = rng.choice([-1.0, 1.0], (5, *exact.shape))
        directions[2, ..., 1:] = 0
        found = METHODS[method].along(ask(backend=backend), name, directions)
        wanted = np.tensordot(directions, exact, exact.ndim)
        np.testing.assert_allclose(found, wanted, rtol=1e-8 if method == "central" else 1e-10)


def test_along_no_direction_the_slope_is_zero():
    for method in map(METHODS.get, STEPWISE):
        assert np.array_equal(method.along(ask(), "w", np.zeros((2, 3))), [0, 0])


def test_every_chunk_has_the_same_shape():
    shapes = set()

    def loss(p):
        shapes.add(p["v"].shape)
        return cubic(np)(p)

    METHODS["complex-step"].entries(ask(lambda _: loss), "v")
    assert shapes == {(4, 2, 3)}


def test_a_real_loss_refuses_the_complex_step():
    with pytest.raises(UserError, match=r"stays complex; the loss came back float64.*method tangent"):
        METHODS["complex-step"].entries(ask(lambda _: lambda p: np.sum(abs(p["w"]), axis=-1)), "w")


def test_a_loss_that_is_not_one_number_per_copy_is_refused():
    with pytest.raises(UserError, match=r"one number per copy, \(3,\); got shape \(3, 3\)"):
        METHODS["central"].entries(ask(lambda _: lambda p: p["w"]), "w")


def test_copies_fit_the_memory():
    def of(size, work=0):
        return Asked(Subject("s", {"U": np.zeros(size)}, cubic, lambda _: {}, work), rnnbp.backend("numpy"))

    assert copies_within(of(4_000_000), "U") == 1  # one copy at least, however large
    copies = copies_within(of(6400, work=10_000), "U")
    assert 1 < copies <= MOST_COPIES and copies * 16 * (3 * 6400 + 10_000) <= MEMORY
    assert copies_within(of(7), "U") == MOST_COPIES


def test_a_fast_complex_tanh_is_the_complex_tanh():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((50, 2)) * [[3.0, 1.0]] @ np.array([1, 1j])
    fast = stepped(rnnbp.backend("numpy")).tanh
    np.testing.assert_allclose(fast(z), np.tanh(z), rtol=1e-14)
    tiny = fast(z.real + 1e-30j)
    np.testing.assert_allclose(tiny.imag, 1e-30 * (1 - np.tanh(z.real) ** 2), rtol=1e-13)
    assert np.array_equal(tiny.real, np.tanh(z.real)) and np.array_equal(fast(z.real), np.tanh(z.real))


def test_every_method_has_a_tolerance_with_its_reason():
    assert {dtype for _, dtype in TOLERANCES} == set(DTYPES)
    assert {(method, dtype) for method in METHODS for dtype in DTYPES} <= set(TOLERANCES)
    assert all(len(t.reason) > 20 for t in TOLERANCES.values())
    assert all(t.value <= 1e-5 for (name, _), t in TOLERANCES.items() if name != "taylor")  # which has a slope


def test_an_unknown_method_is_a_user_error():
    with pytest.raises(UserError, match="unknown method 'centrl': did you mean central"):
        numeric_method("centrl")


# ---- the report ---------------------------------------------------------------------------------------------------
def check(tensor="U", error=1e-12, **more):
    words = {"cell": "c[x]<y>", "backend": "numpy", "dtype": "float64", "method": "complex-step", "truncation": "full"}
    return Check(**words, tensor=tensor, error=error, tolerance=1e-10, norm_error=error, max_error=error, **more)


def test_a_report_passes_when_all_do():
    assert Report((check(),), 0).passed
    assert not Report((check(), check(error=1e-9)), 0).passed
    assert not Report((check(error=nan),), 0).passed
    assert not Report((), 0).passed and Report((), 0).worst is None


def test_the_worst_is_named():
    report = Report((check("W"), check("U", 1e-3, index=(2, 3), analytic=1.5, numeric=2.5, elementwise=0.4)), 7)
    assert report.worst.tensor == "U" and [c.tensor for c in report.failures] == ["U"]
    text = str(report)
    assert "seed 7" in text and "FAILED: 1 of 2" in text
    assert "worst: U[2, 3] of c[x]<y>: error 1.00e-03, tolerance 1e-10; analytic 1.5, numeric 2.5" in text
    assert Report((check("W", 1e3), check("b", nan)), 0).worst.tensor == "b"


def test_json_has_the_documented_keys_and_no_nan():
    report = Report((check(), check("b", nan, note="the gradient of b is missing")), 3)
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(found) == {"passed", "worst", "seed", "task", "checks", "findings"}
    assert found["passed"] is False and found["worst"]["tensor"] == "b" and found["seed"] == 3
    keys = {"cell", "backend", "dtype", "method", "truncation", "tensor", "error", "tolerance", "passed"}
    assert all(keys <= set(entry) for entry in found["checks"])
    assert found["checks"][1]["error"] is None and found["checks"][1]["note"]


def test_a_note_is_no_misfit():
    """Where another method took its place, a check has a note and numbers; without a gradient it has no numbers."""
    moved, lost = check("W", analytic=1.5, note="method tangent is used"), check("b", nan, note="no gradient of b")
    assert not moved.misfit and lost.misfit and not check("b", nan, analytic=nan).misfit
    assert Report((moved,), 0).extent == "exhaustive" and Report((lost,), 0).extent == ""
    assert Report((moved, lost), 0).notes == (
        "c[x]<y>: W passes; method tangent is used",
        "c[x]<y>: no gradient of b",
    )


def test_html_is_escaped():
    html = Report((check(note="a < b"),), 0)._repr_html_()
    assert "c[x]&lt;y&gt;" in html and "a &lt; b" in html and "<y>" not in html and html.startswith("<p>")


def test_reports_are_frozen_and_join_by_seed():
    report = Report((check(),), 1)
    with pytest.raises(FrozenInstanceError):
        report.seed = 2
    assert len(joined([report, report]).checks) == 2
    with pytest.raises(ValueError, match="one seed"):
        joined([report, Report((check(),), 2)])
