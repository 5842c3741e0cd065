"""The rules of method `tangent`, function by function, against complex steps and differences."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from conftest import backend_or_skip
from helpers import relative_error

import rnnbp
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.operands.arithmetic import plain
from rnnbp.checking.operands.rules import ELEMENTWISE
from rnnbp.checking.subjects.subject import Subject
from rnnbp.errors import UserError

SAME = 1e-13  # norm-relative; both methods round
TANGENT, COMPLEX, FIVE = METHODS["tangent"], METHODS["complex-step"], METHODS["five-point"]
HOST = rnnbp.backend("numpy")


def subject(loss, **tensors):
    return Subject("function", tensors, lambda where: lambda p: loss(where, p), lambda _: {}, work=100)


A = np.random.default_rng(0).uniform(0.2, 1.8, (3, 4))
V = np.random.default_rng(1).uniform(0.2, 1.8, 4)
W = np.random.default_rng(2).standard_normal((4, 5))
FUNCTIONS = {
    "pow": lambda xp, a, v: a**3 + a**0.5 + xp.pow(a, v),
    "where": lambda xp, a, v: xp.where(a > 1, a * v, v - a),
    "maximum": lambda xp, a, v: xp.maximum(a, v) * xp.minimum(a, v),
    "clip": lambda xp, a, v: xp.clip(a, 0.5, 1.0) * v,
}
FUNCTIONS |= {n: lambda xp, a, v, n=n: getattr(xp, n)(a, v) for n in ("add", "subtract", "multiply", "divide")}
UNARY = sorted(set(ELEMENTWISE) - {*FUNCTIONS, "minimum", "logaddexp", "erf", "hypot", "atan2"})
FUNCTIONS |= {n: lambda xp, a, v, n=n: getattr(xp, n)(a / 2) * v for n in UNARY}
FUNCTIONS |= {"logaddexp": lambda xp, a, v: xp.logaddexp(a, v)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementwise_functions(name):
    def loss(where, p):
        y = FUNCTIONS[name](where.xp, p["a"], p["v"][..., None, :])
        return where.xp.sum(y * where.constant(A), axis=(-2, -1))

    kinked = name in ("maximum", "clip", "abs", "logaddexp")  # not for complex numbers
    asked = Asked(subject(loss, a=A, v=V), HOST)
    for tensor, wanted in (FIVE if kinked else COMPLEX).gradients(asked).items():
        assert relative_error(TANGENT.entries(asked, tensor), wanted) < (1e-9 if kinked else SAME)


def test_the_error_function_where_a_library_has_it():
    torch = backend_or_skip("torch")
    asked = Asked(subject(lambda where, p: where.xp.sum(where.xp.erf(p["v"])), v=V), torch)
    assert relative_error(TANGENT.entries(asked, "v"), _five_point(asked, "v")) < 1e-9


MOVES = {  # every one is called with a namespace, A and V
    "reshape": lambda xp, a, v: xp.reshape(a * v, (2, 6))[1, ...],
    "transpose": lambda xp, a, v: xp.matmul(xp.matrix_transpose(a), a) * v,
    "permute": lambda xp, a, _: xp.permute_dims(a, (1, 0)) @ xp.permute_dims(a[None, ...], (0, 2, 1))[0, :, :2][:3, :],
    "flip": lambda xp, a, v: xp.flip(a, axis=-1) * a * v,
    "roll": lambda xp, a, v: (
        xp.roll(a * v, 1, axis=-1) * xp.roll(a, (2, 1), axis=(0, 1)) * xp.roll(v, 1) * xp.roll(a, 5)
    ),
    "cumulative sum": lambda xp, a, v: xp.cumulative_sum(a * v, axis=-1) * xp.cumulative_sum(v),
    "cumulative sum from zero": lambda xp, a, v: xp.cumulative_sum(a * v, axis=0, include_initial=True) * v,
    "hypot": lambda xp, a, v: xp.hypot(a, v) * xp.atan2(a, v - 1),
    "concat": lambda xp, a, v: xp.concat([a, a[:, 1:] * v[1:], xp.ones_like(a)], axis=1)[..., 2:9],
    "concat, flat": lambda xp, a, v: xp.concat([a, v], axis=None) ** 2,
    "stack": lambda xp, a, v: xp.stack([a, a * a, a * v], axis=1) * v,
    "stack, last": lambda xp, a, v: xp.stack([a, a * a, a * v], axis=-1)[..., 1:],
    "sum": lambda xp, a, v: xp.sum(a * v, axis=0, keepdims=True) * xp.sum(a) + xp.mean(a, axis=-1, keepdims=True) * a,
    "mean": lambda xp, a, v: a * xp.mean(a * v) * xp.mean(v),
    "max": lambda xp, a, v: xp.max(a * v, axis=-1) * xp.min(a),
    "squeeze": lambda xp, a, v: xp.squeeze(a[:, None, :], axis=1) * xp.expand_dims(v, axis=0),
    "broadcast": lambda xp, a, v: xp.broadcast_to(v, (3, 4)) * a + xp.astype(a, xp.float64),
    "vectors": lambda xp, a, v: (a @ v) * (v @ xp.matrix_transpose(a)) * (v @ v),
    "columns": lambda _, a, v: a[..., 1:3] * a[..., 0:1] + v[2:] * a[:, :1],
    "long sums": lambda xp, a, v: xp.tanh(sum(xp.flip(a * v, axis=0) * k / 50 for k in range(10))) * v,
    "take": lambda xp, a, v: xp.take(a, xp.asarray([2, 0, 2]), axis=0) * xp.take(v, xp.asarray([0, 1, 1, 3])),
    "unused": lambda _, __, v: v * 2,
}


@pytest.mark.parametrize("name", MOVES)
def test_functions_that_move_entries(name, backend):
    asked = Asked(_moving(name), backend)
    for tensor, wanted in _moved_by_differences(name).items():
        assert relative_error(TANGENT.entries(asked, tensor), wanted) < 1e-9


def _moving(name):
    def loss(where, p):
        y = MOVES[name](where.xp, p["a"], p["v"])
        return where.xp.sum(where.xp.tanh(y) * y)

    return subject(loss, a=A, v=V)


@cache
def _moved_by_differences(name):
    """Of one copy at a time: these functions have no room for more."""
    return {tensor: _five_point(Asked(_moving(name), HOST), tensor) for tensor in "av"}


def _five_point(asked, tensor, step=1e-3):
    """Entry by entry, each loss by itself."""
    where, point = plain(asked.backend), asked.subject.tensors
    loss, value = asked.subject.loss(where), point[tensor]
    found = np.zeros(value.shape)
    for index in np.ndindex(value.shape):
        for k, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = value.copy()
            moved[index] += k * step
            at = {n: where.constant(moved if n == tensor else v) for n, v in point.items()}
            found[index] += weight * float(loss(at)) / (12 * step)
    return found


def test_products_of_matrices_with_more_axes():
    def loss(where, p):
        xp, a, w = where.xp, p["a"], p["w"]
        left = xp.matmul(where.constant(np.ones((2, 3, 4))), w * w)  # (2, 3, 5)
        right = xp.matmul(xp.tanh(a)[..., None, :, :], where.constant(np.stack([W, 2 * W])))
        return xp.sum(left * right * right, axis=(-3, -2, -1))

    asked = Asked(subject(loss, a=A, w=W), HOST)
    for tensor in asked.subject.tensors:
        assert relative_error(TANGENT.entries(asked, tensor), _five_point(asked, tensor)) < 1e-9


def test_at_a_kink_the_branch_that_was_taken_counts():
    def loss(where, p):
        return where.xp.sum(where.xp.maximum(p["v"], where.constant(np.ones(4))))

    v = np.array([0.5, 1.0, 1.5, 1 - 1e-12])
    assert np.array_equal(TANGENT.entries(Asked(subject(loss, v=v), HOST), "v"), [0, 1, 1, 0])


def test_what_has_no_rule_is_one_line():
    with pytest.raises(UserError, match=r"^no rule is known for the derivative of cumulative_prod: .*$"):
        TANGENT.entries(Asked(subject(lambda where, p: where.xp.cumulative_prod(p["v"]), v=V), HOST), "v")
    with pytest.raises(UserError, match=r"^no rule is known for the functions of linalg: .*$"):
        TANGENT.entries(Asked(subject(lambda where, p: where.xp.linalg.vector_norm(p["v"]), v=V), HOST), "v")
    with pytest.raises(UserError, match=r"the loss must be one number; got shape \(4,\)"):
        TANGENT.entries(Asked(subject(lambda _, p: p["v"] * 2, v=V), HOST), "v")
    with pytest.raises(UserError, match="the loss came back float"):
        TANGENT.entries(Asked(subject(lambda _, p: math.sin(p["v"][0]), v=V), HOST), "v")
