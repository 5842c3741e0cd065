"""`check_function` on large inputs, along directions, and on functions that take nothing but float32."""

from __future__ import annotations

import numpy as np
import pytest

from rnnbp.checking.foreign.check import check_function
from rnnbp.checking.foreign.findings import ByTime, Remark

rng = np.random.default_rng(0)
LARGE = (rng.standard_normal((2, 60)), 0.2 * rng.standard_normal((60, 50)), rng.standard_normal(10))


def layer(wrong=lambda dW: dW, form=np.tanh, slope=lambda y: 1 - y * y):
    def fn(x, W, b):
        y = form(x @ W)
        y = np.concatenate([y[:, :10] + b, y[:, 10:]], axis=1)

        def backward(dy):
            da = dy * slope(form(x @ W))
            return da @ W.T, wrong(x.T @ da), dy[:, :10].sum(0)

        return y, backward

    return fn


def remarks(report):
    return " | ".join(f.text for f in report.findings if isinstance(f, Remark))


@pytest.mark.parametrize("method", ["complex-step", "five-point"])
def test_large_inputs_are_checked_along_directions_with_their_seeds_said(method):
    report = check_function(layer(), LARGE, method=method, seed=7, directions=4)
    assert report.passed and {c.tensor: c.directions for c in report.checks} == {"x": 4, "W": 4, "b": 0}
    assert "4 random directions of ±1 (seeds 7, 8, 9, 10)" in remarks(report)
    assert {c.tensor: c.seeds for c in report.checks} == {"x": (7, 8, 9, 10), "W": (7, 8, 9, 10), "b": ()}
    assert "exhaustive and directional (seeds 7, 8, 9, 10)" in report.title
    assert report.worst.error <= (1e-14 if method == "complex-step" else 1e-9)


def test_the_extent_can_be_chosen():
    x, W, b = LARGE[0][:, :6], LARGE[1][:6, :20], LARGE[2]
    assert {c.directions for c in check_function(layer(), (x, W, b)).checks} == {0}
    assert check_function(layer(), (x, W, b), extent="directional").checks[1].directions == 3
    wide = (LARGE[0], LARGE[1][:, :35], b)  # above 2000 scalars
    report = check_function(layer(), wide, extent="exhaustive")
    assert report.passed and {c.directions for c in report.checks} == {0}


def test_one_wrong_entry_of_thousands_is_seen():
    def wrong(dW):
        dW = dW.copy()
        dW[31, 17] += 1e-6
        return dW

    report = check_function(layer(wrong), LARGE)
    assert [c.tensor for c in report.failures] == ["W"] and report.failures[0].error > 1e-9


def test_a_kink_on_the_way_does_not_fail_right_code_along_directions():
    relu = layer(form=lambda a: np.maximum(a, 0.0), slope=lambda y: y > 0)
    for method in ("complex-step", "five-point"):
        assert check_function(relu, LARGE, method=method).passed


def test_the_table_over_time_along_directions():
    def wrong(dW):
        return dW + 1e-3

    (table,) = (f for f in check_function(layer(wrong), LARGE, time_axis=0).findings if isinstance(f, ByTime))
    assert all(row[0] < 1e-13 < 1e-6 < row[1] for row in table.errors)


@pytest.mark.parametrize("reads", ["refuses", "garbles"])
def test_a_function_of_float32_alone_is_evaluated_in_it(reads):
    def fn(v):
        if v.dtype != np.float32:
            if reads == "refuses":
                raise ValueError("Buffer dtype mismatch, expected 'float' but got 'double'")
            v = np.ascontiguousarray(v.real).view(np.float32)[: v.size]
        return np.tanh(v), lambda d: d * (1 - np.tanh(v) ** 2)

    v = np.linspace(-1.5, 1.5, 7, dtype=np.float32)
    report = check_function(fn, v)
    assert report.passed and report.checks[0].tolerance < 1e-3 and "own dtype" in remarks(report)
    assert ("Buffer dtype mismatch" if reads == "refuses" else "as if it read the memory") in remarks(report)
    assert not check_function(lambda v: (fn(v)[0], lambda d: 1.01 * fn(v)[1](d)), v).passed


def test_constants_of_a_torch_function_in_float32_keep_it_there():
    torch = pytest.importorskip("torch")
    draw = torch.Generator().manual_seed(0)
    fixed = torch.randn(4, 3, generator=draw)  # float32: torch multiplies it with nothing else

    def fn(x):
        x.requires_grad_()
        y = torch.sin(x @ fixed)
        return y, lambda dy: torch.autograd.grad(y, x, dy)

    report = check_function(fn, torch.randn(2, 4, generator=draw))
    assert report.passed and "own dtype" in remarks(report) and report.checks[0].backend == "torch"
