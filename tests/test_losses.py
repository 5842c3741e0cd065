"""Losses: values against their formulas, gradients against complex steps, masks, last steps, and bad targets."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import complex_step, relative_error

from rnnbp import UserError
from rnnbp.losses import CrossEntropy, MeanSquaredError
from rnnbp.registry import LOSSES

T, B, O = 5, 3, 4
KINDS = [(r, s) for r in ("mean", "sum") for s in ("every", "last")]


def problem(name, steps, seed=0):
    """y, every kind of target that the loss takes, and a mask with one sequence masked throughout."""
    rng = np.random.default_rng(seed)
    shape = (T, B) if steps == "every" else (B,)
    dense = rng.random((*shape, O))
    targets = [dense] if name == "mse" else [dense, rng.integers(0, O, shape)]
    mask = rng.random((T, B)) > 0.4
    mask[:, 1], mask[0, 0], mask[-1, 2] = False, True, False
    return rng.standard_normal((T, B, O)), targets, mask


@pytest.mark.parametrize(("reduction", "steps"), KINDS)
@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("masked", [False, True])
def test_gradient_equals_complex_step(backend, name, reduction, steps, masked):
    y, targets, mask = problem(name, steps)
    loss = LOSSES.make(name, reduction, steps)
    flags = backend.asarray(mask) if masked else None
    for target in map(backend.asarray, targets):
        value, backward = loss(backend.asarray(y), target, flags)
        assert value.shape == ()
        numeric = complex_step(backend, lambda z, target=target: loss(z, target, flags)[0], y)
        assert relative_error(backend.to_numpy(backward()), numeric) < 1e-14
        doubled = backend.to_numpy(backward(backend.asarray(np.asarray(2.0))))
        assert np.array_equal(doubled, 2 * backend.to_numpy(backward()))


@pytest.mark.parametrize(("reduction", "steps"), KINDS)
def test_values_by_hand(reduction, steps):
    y, _, mask = problem("mse", steps)
    last = [max(np.flatnonzero(mask[:, b]), default=None) for b in range(B)]
    counted = [(t, b) for b in range(B) for t in range(T) if (mask[t, b] if steps == "every" else t == last[b])]
    scale = 1 / len(counted) if reduction == "mean" else 1.0
    dense, classes = problem("cross-entropy", steps)[1]
    at = (lambda a, t, b: a[t, b]) if steps == "every" else (lambda a, t, b: a[b])  # noqa: ARG005

    def log_softmax(z):
        return z - np.log(np.sum(np.exp(z)))

    squared = scale * sum(np.sum((y[t, b] - at(dense, t, b)) ** 2) for t, b in counted)
    assert np.isclose(MeanSquaredError(reduction, steps)(y, dense, mask)[0], squared, rtol=1e-14)
    entropy = -scale * sum(np.sum(at(dense, t, b) * log_softmax(y[t, b])) for t, b in counted)
    assert np.isclose(CrossEntropy(reduction, steps)(y, dense, mask)[0], entropy, rtol=1e-14)
    entropy = -scale * sum(log_softmax(y[t, b])[at(classes, t, b)] for t, b in counted)
    assert np.isclose(CrossEntropy(reduction, steps)(y, classes, mask)[0], entropy, rtol=1e-14)


def test_equals_torch_cross_entropy():
    torch = pytest.importorskip("torch")
    y, (_, classes), _ = problem("cross-entropy", "every")
    z = torch.tensor(y, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(z.flatten(0, 1), torch.tensor(classes).flatten())
    expected.backward()
    value, backward = CrossEntropy()(y, classes)
    assert abs(value - float(expected.detach())) < 1e-15
    assert np.max(np.abs(backward() - z.grad.numpy())) < 1e-16


def test_copies_give_one_number_each(backend):
    y, (target,), mask = problem("mse", "every")
    copies = np.stack([y, 2 * y])
    value, backward = MeanSquaredError()(backend.asarray(copies), backend.asarray(target), backend.asarray(mask))
    dy = backend.to_numpy(backward())
    for k in range(2):
        alone, alone_backward = MeanSquaredError()(copies[k], target, mask)
        assert np.isclose(backend.to_numpy(value)[k], alone, rtol=1e-14)
        assert relative_error(dy[k], alone_backward()) < 1e-15


def test_large_logits_do_not_overflow(backend):
    y = backend.asarray(np.asarray([[[1e4, -1e4, 0.0]]]))
    value, backward = CrossEntropy()(y, backend.asarray(np.asarray([[1]])))
    assert float(value) == 2e4
    assert backend.to_numpy(backward()).tolist() == [[[1.0, -1.0, 0.0]]]


def test_everything_masked_is_zero():
    y, (target,), mask = problem("mse", "every")
    value, backward = MeanSquaredError()(y, target, np.zeros_like(mask))
    assert value == 0 and not backward().any()


@pytest.mark.parametrize("steps", ["every", "last"])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_what_masked_steps_hold_does_not_matter(backend, name, steps):
    y, targets, mask = problem(name, steps)
    counted = mask if steps == "every" else mask.any(axis=0)
    loss, flags = LOSSES.make(name, "mean", steps), backend.asarray(mask)
    for target in targets:
        spoilt = target.copy()
        spoilt[~counted] = -100 if target.dtype.kind == "i" else np.nan
        spoilt_y = np.where(mask[..., None], y, np.nan)
        value, backward = loss(backend.asarray(spoilt_y), backend.asarray(spoilt), flags)
        clean, clean_backward = loss(backend.asarray(y), backend.asarray(target), flags)
        assert float(value) == float(clean)
        dy = backend.to_numpy(backward())
        assert np.array_equal(dy, backend.to_numpy(clean_backward())) and not dy[~mask].any()


def test_class_numbers_of_any_integer_type_will_do(backend):
    y, (_, classes), _ = problem("cross-entropy", "every")
    expected = float(CrossEntropy()(y, classes)[0])
    for dtype in ("uint8", "int8", "int32"):
        value, _ = CrossEntropy()(backend.asarray(y), backend.xp.asarray(classes.astype(dtype)))
        assert np.isclose(float(value), expected, rtol=1e-14)


def test_class_numbers_make_jax_warn_of_nothing():
    pytest.importorskip("jax")
    code = (
        "import jax.numpy as jnp\n"
        "from rnnbp.losses import CrossEntropy\n"
        "CrossEntropy()(jnp.zeros((2, 3, 4)), jnp.ones((2, 3), dtype=int))[1]()\n"
    )
    environment = os.environ | {"JAX_ENABLE_X64": "0", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], env=environment, check=True, timeout=120)


@pytest.mark.parametrize(
    ("loss", "target", "message"),
    [
        (CrossEntropy(), np.full((T, B), O), r"class numbers must lie in 0 … 3; got 4"),
        (CrossEntropy(), np.full((T, B), -1), r"class numbers must lie in 0 … 3; got -1"),
        (CrossEntropy(), np.zeros((T, B + 1), dtype=int), r"target must have shape"),
        (
            CrossEntropy(),
            np.zeros((3, T, B), dtype=int),
            r"target must have shape \(T, B\) with T=5, B=3; got \(3, 5, 3\)",
        ),
        (
            CrossEntropy(steps="last"),
            np.zeros((T, B), dtype=int),
            r"target must have shape \(B\) with B=3; got \(5, 3\)",
        ),
        (CrossEntropy(), np.zeros((T, B, O + 1)), r"target must have shape"),
        (CrossEntropy(), np.zeros((T, B, O), "float32"), r"dtypes must agree; y is float64, target is float32"),
        (CrossEntropy(), [[0] * B] * T, r"target must be an array; got list"),
        (MeanSquaredError(), np.zeros((T, B, O), "complex64"), r"dtypes must agree; y is float64, target is float32"),
        (MeanSquaredError(), np.zeros((T, B, 1)), r"target must have shape"),
        (MeanSquaredError(), np.zeros((T, B), dtype=int), r"target of mse must be floating"),
        (MeanSquaredError(steps="last"), np.zeros((T, O)), r"target must have shape \(..., B, O\)"),
    ],
)
def test_bad_targets_are_refused(loss, target, message):
    with pytest.raises(UserError, match=message):
        loss(np.zeros((T, B, O)), target)


def test_a_mask_must_be_boolean():
    y, (target,), mask = problem("mse", "every")
    with pytest.raises(UserError, match="mask must be boolean; got int64: pass mask != 0"):
        MeanSquaredError()(y, target, mask.astype("int64"))


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="did you mean mean"):
        MeanSquaredError("meen")
    with pytest.raises(UserError, match="unknown option of loss mse 'reduce'"):
        LOSSES.make("mse:reduce=sum")
