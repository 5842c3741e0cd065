"""`check_function`: anybody's forward and backward, right and wrong, on every backend."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.findings import ByTime, Named, Remark
from rnnbp.errors import UserError

SHAPES = {"x": (2, 3), "W": (3, 4), "b": (4,)}


def drawn(backend=None, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    host = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
    return host if backend is None else {name: backend.asarray(v, dtype) for name, v in host.items()}


def dense(xp, fault=lambda **gradients: gradients):
    """Y = tanh(x W + b) with its backward, whose gradients pass through `fault`."""

    def fn(x, W, b):
        y = xp.tanh(x @ W + b)

        def backward(dy):
            da = dy * (1 - y * y)
            return fault(x=da @ xp.matrix_transpose(W), W=xp.matrix_transpose(x) @ da, b=xp.sum(da, axis=0))

        return y, backward

    return fn


def remarks(report):
    return " | ".join(f.text for f in report.findings if isinstance(f, Remark))


def named(report):
    return {f.tensor: f.bug for f in report.findings if isinstance(f, Named)}


@pytest.mark.parametrize("method", ["complex-step", "five-point", "central"])
def test_a_right_backward_passes(backend, method):
    report = check_function(dense(backend.xp), drawn(backend), method=method, seed=3)
    assert report.passed and {c.tensor: c.shape for c in report.checks} == SHAPES
    assert report.worst.error <= {"complex-step": 1e-14, "five-point": 1e-10, "central": 1e-8}[method]
    assert {(c.method, c.backend, c.dtype) for c in report.checks} == {(method, backend.name, "float64")}
    json.dumps(report.to_json(), allow_nan=False)


def test_float32_is_held_to_double_precision_at_the_same_numbers(backend):
    report = check_function(dense(backend.xp), drawn(backend, "float32"))
    assert report.passed and {c.tolerance for c in report.checks} == {1e-5}
    assert 1e-9 < report.worst.error < 1e-6 and not remarks(report)


def test_an_error_of_one_entry_is_found_at_its_place(backend):
    def fault(W, **others):
        spike = np.zeros(SHAPES["W"])
        spike[2, 1] = 1e-8
        return {"W": W + backend.asarray(spike), **others}

    report = check_function(dense(backend.xp, fault), drawn(backend))
    assert [c.tensor for c in report.failures] == ["W"] and report.failures[0].index == (2, 1)


@pytest.mark.parametrize("structure", ["mapping", "tuple", "list", "keywords"])
def test_inputs_and_gradients_come_in_any_order_that_is_said(structure):
    inputs, right = drawn(), dense(np)
    give = {
        "mapping": lambda g: g,
        "keywords": lambda g: g,
        "tuple": lambda g: tuple(g.values()),
        "list": lambda g: [*g.values()],
    }

    def fn(x, W, b):
        y, backward = right(x, W, b)
        return y, lambda dy: give[structure](backward(dy))

    assert check_function(fn, inputs if structure == "keywords" else list(inputs.values())).passed


def test_a_separate_pair_hands_over_its_cache():
    def backward(dy, cache):
        x, W, y = cache
        da = dy * (1 - y * y)
        return da @ W.T, x.T @ da, da.sum(0)

    def forward(x, W, b):
        y = np.tanh(x @ W + b)
        return y, (x, W, y)

    assert check_function(forward, drawn(), backward=backward).passed
    assert not check_function(forward, drawn(), backward=lambda dy, cache: backward(2 * dy, cache)).passed


def test_a_scalar_needs_no_cotangent():
    report = check_function(lambda w: (np.sum(w**3), lambda: 3 * w**2), np.array([1.0, 2.0]))
    assert report.passed and report.checks[0].tensor == "w"
    assert check_function(lambda w: (w**3, lambda: 3 * w**2), 2.0).passed  # numbers of Python
    assert check_function(lambda w: (float(w) ** 3, lambda d: 3 * w**2 * d), 2.0, method="central").passed


def test_outputs_may_be_several_and_inputs_may_be_constants():
    def fn(x, rows, scale, unused):  # noqa: ARG001
        y = x[rows] * scale

        def backward(cotangents):
            dy, dsum = cotangents
            dx = np.full_like(x, dsum)
            np.add.at(dx, rows, dy * scale)
            return dx, None, np.sum(dy * x[rows]), None

        return (y, np.sum(x)), backward

    x, rows = drawn()["W"], np.array([0, 2, 2])
    report = check_function(fn, (x, rows, 1.5, drawn()["b"]))
    assert report.passed and [c.tensor for c in report.checks] == ["x", "scale"]
    assert "no gradient of it is claimed: unused" in remarks(report) and "dtype: rows" in remarks(report)


# ---- complex steps that cannot be believed ------------------------------------------------------------------------
def norm(v):
    size = np.linalg.norm(v)
    return size, lambda d: d * v / size


def buffered(v):
    out = np.zeros(v.shape, dtype="float64")
    out[:] = v**2
    return out, lambda d: 2 * v * d


def refuses(v):
    return np.arctan2(v, 2.0), lambda d: d * 2 / (4 + v**2)


def drops_half(v):
    return v**2 + np.real(v) ** 2, lambda d: 4 * v * d


@pytest.mark.parametrize(
    ("fn", "reason"),
    [(norm, "came back real"), (buffered, "ComplexWarning"), (refuses, "TypeError"), (drops_half, "it gives")],
)
def test_right_code_that_takes_no_complex_numbers_passes_with_the_reason(fn, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_function(fn, drawn()["b"])
    assert report.passed and {c.method for c in report.checks} == {"five-point"}
    assert "five-point differences in place of complex steps for v" in remarks(report) and reason in remarks(report)


def test_only_the_tensor_that_lost_its_imaginary_part_is_differenced():
    def fn(v, w):
        return np.sum(np.abs(v)) + np.sum(w**2), lambda d: (d * np.sign(v), 2 * w * d)

    report = check_function(fn, (drawn()["b"], drawn()["x"]))
    assert report.passed and [c.method for c in report.checks] == ["five-point", "complex-step"]


def test_a_single_entry_without_its_imaginary_part_does_not_fail_right_code():
    def fn(v):
        y = v**2 + 0
        y[0] += 1e-9 * np.real(v[0]) ** 2  # too small for the one direction that is tried first
        return y, lambda d: d * (2 * v + 2e-9 * v * (np.arange(v.size) == 0))

    report = check_function(fn, drawn()["b"])
    assert report.passed and report.checks[0].method == "five-point"


def test_a_kink_within_a_step_does_not_fail_right_code():
    v = np.array([1e-4, -1e-4, 0.5, -0.5])  # five points of step 1e-3 look across
    report = check_function(lambda v: (np.maximum(v, 0), lambda d: d * (v > 0)), v, method="five-point")
    assert report.passed and report.worst.error < 1e-9


def test_a_gradient_below_rounding_is_not_called_wrong_and_one_above_is():
    def fn(v, size=1e-8):
        return 1e3 + size * np.sum(np.abs(v)), lambda d: d * size * np.sign(v)

    report = check_function(lambda v: fn(v), drawn()["b"])
    assert report.passed and "known only so far: v to" in remarks(report)
    assert report.checks[0].tolerance > 1e-8
    wrong = check_function(lambda v: (fn(v)[0], lambda d: -1e3 * fn(v)[1](d)), drawn()["b"])
    assert not wrong.passed


def test_a_forward_that_computes_in_float32_is_said_to():
    def fn(x, W, b):
        y = np.tanh(x.astype("f") @ W.astype("f") + b.astype("f"))
        da = lambda d: d * (1 - y * y)
        return y, lambda d: (da(d) @ W.T, x.T @ da(d), da(d).sum(0))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_function(fn, drawn(dtype="float32"))
    assert report.passed and all(1e-5 <= c.tolerance < 1e-3 for c in report.checks)
    assert "not double precision" in remarks(report)


def test_the_table_over_time_says_at_which_output_a_fault_is():
    def fn(x, W, b):
        y = np.tanh(x @ W + b)

        def backward(dy):
            da = dy * (1 - y * y)
            da[1] *= 1.5
            return da @ W.T, x.T @ da, da.sum(0)

        return y, backward

    (table,) = (f for f in check_function(fn, drawn(), time_axis=0).findings if isinstance(f, ByTime))
    assert table.tensors == ("x", "W", "b") and not table.passed
    assert max(table.errors[0]) < 1e-14 and min(table.errors[1]) > 0.1
    assert "t = 1" in str(table) and str(table).count("!") == 3
    with pytest.raises(UserError, match=r"time_axis needs a value with that axis.*got 2, value \(2, 4\)"):
        check_function(dense(np), drawn(), time_axis=2)


def test_no_fault_has_no_name_and_the_right_cause_of_each_is_named():
    assert not named(check_function(dense(np), drawn()))
    wrong = lambda x, W, b: {"x": -x, "W": 0 * W, "b": 2 * b}
    report = check_function(dense(np, wrong), drawn())
    assert named(report) == {"x": "sign", "W": "all-zero", "b": "factor"} and "2 times" in str(report)


def test_progress_counts_every_scalar():
    heard = []
    check_function(dense(np), drawn(), progress=lambda *said: heard.append(said), name="mine")
    assert heard[-1] == ("mine", 22, 22) and len(heard) == 22
