"""Penalties: values by hand, gradients by complex steps, masks, resets and copies."""

import numpy as np
import pytest
from helpers import complex_step, relative_error

import rnnbp
from rnnbp.losses import MeanSquaredError
from rnnbp.penalties import ActivationPenalty, l2

T, B, H = 5, 3, 4
STRENGTHS = [(2.0, 0.0), (0.0, 1.0), (0.7, 1.3)]


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    mask = np.ones((T, B), dtype=bool)
    mask[3:, 1] = mask[1, 0] = mask[0, 2] = False  # one ends early, one has a hole, one starts late
    resets = np.zeros((T, B), dtype=bool)
    resets[0, 0] = resets[2, 2] = resets[4, 0] = True
    return rng.standard_normal((T, B, H)), mask, resets


def by_hand(ys, mask, resets, alpha, beta):
    steps = [(t, b) for t in range(T) for b in range(B) if mask[t, b]]
    pairs = [(t, b) for t, b in steps if t and mask[t - 1, b] and not resets[t, b]]
    still = sum(np.sum(ys[t, b] ** 2) for t, b in steps) / len(steps) / H
    moving = sum(np.sum((ys[t, b] - ys[t - 1, b]) ** 2) for t, b in pairs) / len(pairs) / H
    return alpha * still + beta * moving


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), STRENGTHS)
def test_value_and_gradient(backend, alpha, beta, masked, reset):
    ys, mask, resets = drawn()
    flags = {"mask": backend.asarray(mask)} if masked else {}
    flags |= {"resets": backend.asarray(resets)} if reset else {}
    penalty = ActivationPenalty(alpha, beta)
    value, backward = penalty(backend.asarray(ys), **flags)
    wanted = by_hand(ys, mask | (not masked), resets & reset, alpha, beta)
    assert np.isclose(float(value), wanted, rtol=1e-14)
    numeric = complex_step(backend, lambda z: penalty(z, **flags)[0], ys)
    dys = backend.to_numpy(backward())
    assert relative_error(dys, numeric) < 1e-14
    assert np.array_equal(backend.to_numpy(backward(backend.asarray(np.asarray(2.0)))), 2 * dys)


def test_as_the_authors_code_has_it():
    """Means over all entries: alpha · h.pow(2).mean() + beta · (h[1:] − h[:-1]).pow(2).mean()."""
    torch = pytest.importorskip("torch")
    ys, _, _ = drawn()
    h = torch.tensor(ys, requires_grad=True)
    wanted = 2.0 * h.pow(2).mean() + (h[1:] - h[:-1]).pow(2).mean()
    wanted.backward()
    value, backward = ActivationPenalty(2.0, 1.0)(ys)
    assert np.isclose(value, float(wanted.detach()), rtol=1e-14)
    assert relative_error(backward(), h.grad.numpy()) < 1e-15


def test_what_masked_steps_hold_does_not_matter(backend):
    ys, mask, _ = drawn()
    spoilt = np.where(mask[..., None], ys, np.nan)
    penalty = ActivationPenalty(1.0, 1.0)
    value, backward = penalty(backend.asarray(spoilt), backend.asarray(mask))
    clean, clean_backward = penalty(backend.asarray(ys), backend.asarray(mask))
    dys = backend.to_numpy(backward())
    assert float(value) == float(clean)
    assert np.array_equal(dys, backend.to_numpy(clean_backward())) and not dys[~mask].any()


def test_copies_give_one_number_each(backend):
    ys, mask, resets = drawn()
    copies = np.stack([ys, -3 * ys])
    flags = backend.asarray(mask), backend.asarray(resets)
    value, backward = ActivationPenalty(0.7, 1.3)(backend.asarray(copies), *flags)
    dys = backend.to_numpy(backward())
    for k in range(2):
        alone, alone_backward = ActivationPenalty(0.7, 1.3)(copies[k], mask, resets)
        assert np.isclose(backend.to_numpy(value)[k], alone, rtol=1e-14)
        assert relative_error(dys[k], alone_backward()) < 1e-15


def test_one_step_and_nothing_at_all():
    """T = 1 has no pairs; a mask may leave no step."""
    ys, mask, _ = drawn()
    value, backward = ActivationPenalty(1.0, 1.0)(ys[:1])
    assert np.isclose(value, np.mean(ys[0] ** 2)) and relative_error(backward(), 2 * ys[:1] / ys[0].size) < 1e-15
    value, backward = ActivationPenalty(1.0, 1.0)(ys, np.zeros_like(mask))
    assert value == 0 and not backward().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_carried(backend, dtype):
    ys, mask, resets = drawn()
    value, backward = ActivationPenalty(1.0, 1.0)(
        backend.asarray(ys, dtype), backend.asarray(mask), backend.asarray(resets)
    )
    assert value.dtype == backward().dtype == getattr(backend.xp, dtype)


def test_l2(backend):
    model = rnnbp.Model(rnnbp.stack("lstm:peepholes=true", 3, H), 2, MeanSquaredError())
    params = model.init(np.random.default_rng(0))
    value, backward = l2(model.params, {n: backend.asarray(w) for n, w in params.items()}, 0.3)
    matrices = {"0.W", "0.U", "readout.W"}
    assert np.isclose(float(value), 0.15 * sum(np.sum(params[n] ** 2) for n in matrices), rtol=1e-14)
    found = backward()
    assert set(found) == matrices
    for name, d in found.items():
        numeric = complex_step(
            backend,
            lambda z, name=name: l2(model.params, {**{n: backend.asarray(w) for n, w in params.items()}, name: z}, 0.3)[
                0
            ],
            params[name],
        )
        assert relative_error(backend.to_numpy(d), numeric) < 1e-14


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ActivationPenalty(-1.0), "alpha of the activation penalty must be a number >= 0; got -1.0"),
        (lambda: ActivationPenalty(0.0, float("nan")), "beta of the activation penalty must be a number >= 0; got nan"),
        (lambda: ActivationPenalty("much"), "must be a number >= 0; got 'much'"),
        (lambda: l2({}, {}, float("inf")), "the strength of L2 must be a number >= 0; got inf"),
    ],
)
def test_bad_strengths_are_refused(call, message):
    with pytest.raises(rnnbp.UserError, match=message):
        call()
