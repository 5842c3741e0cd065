"""The tape: reverse mode over any forward, one sweep for each change of an edge."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EVERY, make

from rnnbp.checking.diagnosis.tape import Tape
from rnnbp.checking.diagnosis.transposes import TRANSPOSES, unbroadcast
from rnnbp.checking.diagnosis.unrolled import Unrolled
from rnnbp.checking.operands.rules import ELEMENTWISE
from rnnbp.checking.operands.space import STRUCTURAL
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.truncation import parse

EXACT = 1e-12  # sums of some hundred products in float64, relative to the largest entry


@pytest.mark.parametrize("truncation", ["full", "tbptt:2,3"])
@pytest.mark.parametrize("name", EVERY)
def test_the_tape_agrees_with_every_hand_written_backward(name, truncation):
    problem, windows = draw(make(name), 5, 3, 0), parse(truncation, 5)
    subject = sequence_subject(name, problem, windows, setting("numpy", "float64", "complex-step", truncation))
    wanted = subject.gradients(dict(subject.tensors))
    found = Unrolled(problem).gradients(windows)
    assert set(found) == set(wanted)
    for tensor, gradient in wanted.items():
        scale = np.max(np.abs(gradient)) or 1
        np.testing.assert_allclose(found[tensor] / scale, gradient / scale, rtol=0, atol=EXACT, err_msg=tensor)


def slope(call, value):
    """D Σ call / d value by the tape, and by complex steps where the function has them, else by central differences."""
    tape = Tape()
    leaf = tape.leaf(value, "x", "x")
    out = call(tape, leaf)
    weights = np.random.default_rng(1).standard_normal(out.shape)
    by_tape = tape.sweep([(out, weights)])[id(leaf)]
    by_differences = np.zeros_like(value)
    for index in np.ndindex(value.shape):
        step = np.zeros_like(value)
        step[index] = 1e-6
        up, down = (np.sum(weights * call(np, value + side * step)) for side in (1, -1))
        by_differences[index] = (up - down) / 2e-6
    return by_tape, by_differences


CALLS = {
    "erf": None,  # not in NumPy
    "logaddexp": lambda xp, a: xp.logaddexp(a, 2 * a),
    "maximum": lambda xp, a: xp.maximum(a, 1 - a),
    "minimum": lambda xp, a: xp.minimum(a, 1 - a),
    "clip": lambda xp, a: xp.clip(a, 0.3, 0.8),
    "where": lambda xp, a: xp.where(a > 0.5, a * a, -a),
    "pow": lambda _, a: a**3 + a**a,
    "divide": lambda _, a: 1 / a + a / (1 + a),
    "subtract": lambda _, a: a - 2 * a - 1,
    "add": lambda _, a: 1 + a + a,
    "multiply": lambda _, a: 3 * a * a,
    "astype": lambda xp, a: xp.astype(a, a.dtype) if xp is not np else a,
    "broadcast_to": lambda xp, a: xp.broadcast_to(a, (5, *a.shape)),
    "concat": lambda xp, a: xp.concat([a, 2 * a], axis=-1),
    "expand_dims": lambda xp, a: xp.expand_dims(a, axis=0),
    "flip": lambda xp, a: xp.flip(a, axis=0),
    "getitem": lambda _, a: a[..., None, 1:, [0, 0]],
    "matmul": lambda xp, a: xp.matmul(a, xp.matrix_transpose(a)),
    "matrix_transpose": lambda xp, a: xp.matrix_transpose(a),
    "max": lambda xp, a: xp.max(a, axis=-1),
    "min": lambda xp, a: xp.min(a, axis=0, keepdims=True),
    "mean": lambda xp, a: xp.mean(a, axis=0),
    "sum": lambda xp, a: xp.sum(a, axis=-1, keepdims=True) + xp.sum(a),
    "permute_dims": lambda xp, a: xp.permute_dims(a[None, ...], (1, 2, 0)) if xp is not np else a[..., None],
    "real": lambda xp, a: xp.real(a),
    "reshape": lambda xp, a: xp.reshape(a, (-1,)),
    "squeeze": lambda xp, a: xp.squeeze(a[None, ...], axis=0),
    "take": lambda xp, a: xp.take(a, np.array([2, 0, 2]), axis=-1),
    "stack": lambda xp, a: xp.stack([a, a * a], axis=1),
    "hypot": lambda xp, a: xp.hypot(a, 1 - 2 * a),
    "atan2": lambda xp, a: xp.atan2(a, 1 - 3 * a) if xp is not np else np.arctan2(a, 1 - 3 * a),
    "roll": lambda xp, a: xp.roll(a, 2) * a + xp.roll(a, (1, -1), axis=(0, 1)) + xp.roll(a, shift=1, axis=-1) * a,
    "cumulative_sum": lambda xp, a: (
        xp.cumulative_sum(a * a, axis=0, include_initial=True) * xp.cumulative_sum(a[0, 1:2])
        if xp is not np
        else np.concatenate([np.zeros((1, 4)), np.cumsum(a * a, axis=0)]) * a[0, 1]
    ),
}


@pytest.mark.parametrize("name", sorted({*ELEMENTWISE, *STRUCTURAL}))
def test_every_rule_is_the_derivative_of_its_function(name):
    call = CALLS.get(name, lambda xp, a: getattr(xp, name)(a))
    if call is None:
        pytest.skip(f"NumPy has no {name}")
    value = np.random.default_rng(0).uniform(0.2, 0.9, (3, 4))
    by_tape, by_differences = slope(call, value)
    np.testing.assert_allclose(by_tape, by_differences, rtol=0, atol=1e-7 * np.max(np.abs(by_differences)))


def test_every_structural_function_has_its_transpose():
    assert set(TRANSPOSES) == set(STRUCTURAL)


@pytest.mark.parametrize(("shape", "spread"), [((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 3)), ((2, 3), (2, 3))])
def test_unbroadcast_is_the_transpose_of_spreading(shape, spread):
    rng = np.random.default_rng(0)
    a, error = rng.standard_normal(shape), rng.standard_normal(spread)
    assert np.sum(np.broadcast_to(a, spread) * error) == pytest.approx(np.sum(a * unbroadcast(error, shape)))


def test_a_change_of_one_edge_changes_what_flows_there():
    tape = Tape()
    a, b = tape.leaf(np.array([2.0]), "x", "a"), tape.leaf(np.array([5.0]), "x", "b")
    out = a * b + a
    errors = [(out, np.ones(1))]
    assert tape.sweep(errors)[id(a)] == 6
    lost = tape.sweep(errors, lambda node, k, _, share: None if node.name == "multiply" and k == 0 else share)
    assert lost[id(a)] == 1 and lost[id(b)] == 2
