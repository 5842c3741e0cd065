"""Optimizers against PyTorch's, clipping against its definition."""

import math

import numpy as np
import pytest

from rnnbp import UserError, optim

PAIRS = [
    (optim.SGD(0.1), "SGD", {}),
    (optim.SGD(0.1, momentum=0.9), "SGD", {"momentum": 0.9}),
    (optim.RMSProp(0.01, decay=0.95), "RMSprop", {"alpha": 0.95}),
    (optim.AdamW(0.01), "AdamW", {"weight_decay": 0.0}),
    (optim.AdamW(0.01, weight_decay=0.1), "AdamW", {"weight_decay": 0.1}),
    (optim.SGD(0.1, momentum=0.9, weight_decay=0.2), "SGD", {"momentum": 0.9}),
    (optim.RMSProp(0.01, decay=0.95, weight_decay=0.2), "RMSprop", {"alpha": 0.95}),
]


@pytest.mark.parametrize(("ours", "name", "options"), PAIRS, ids=lambda v: v if isinstance(v, str) else "")
def test_update_equals_torch(ours, name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(5)}
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
    groups = [{"params": [theirs["a"]]}, {"params": [theirs["b"]]} | ({"weight_decay": 0.0} if name == "AdamW" else {})]
    stepper = getattr(torch.optim, name)(groups, lr=ours.lr, **options)
    p, m = start, ours.init(start)
    for _ in range(6):
        dp = {k: rng.standard_normal(v.shape) for k, v in p.items()}
        for k, w in theirs.items():
            w.grad = torch.tensor(dp[k])
        if name != "AdamW":  # torch's others have L2 only
            theirs["a"].data *= 1 - ours.lr * ours.weight_decay
        stepper.step()
        p, m = ours.update(p, dp, m)
    assert m["step"] == 6
    for k in p:
        assert np.max(np.abs(p[k] - theirs[k].detach().numpy())) <= 32 * np.finfo(float).eps * np.max(np.abs(p[k]))


def test_update_writes_to_nothing(backend):
    rng = np.random.default_rng(0)
    host = {"a": rng.standard_normal((2, 3))}
    p = {k: backend.asarray(v, "float64") for k, v in host.items()}
    new, _ = optim.AdamW(0.1).update(p, p, optim.AdamW(0.1).init(p))
    assert np.array_equal(backend.to_numpy(p["a"]), host["a"])
    assert not np.array_equal(backend.to_numpy(new["a"]), host["a"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_update_keeps_the_dtype(backend, dtype):
    p = {"a": backend.asarray(np.ones((2, 3)), dtype)}
    for kind in (optim.SGD(0.1), optim.RMSProp(0.1), optim.AdamW(0.1)):
        new, m = kind.update(p, p, kind.init(p))
        assert new["a"].dtype == p["a"].dtype
        assert all(z.dtype == p["a"].dtype for name, z in m.items() if name != "step")


def test_clip_by_norm(backend):
    dp = {"a": backend.asarray(np.asarray([3.0, 0.0])), "b": backend.asarray(np.asarray([[4.0]]))}
    assert float(optim.global_norm(dp)) == 5.0
    clipped, fired = optim.clip_by_norm(dp, 1.0)
    assert fired and math.isclose(float(optim.global_norm(clipped)), 1.0, rel_tol=1e-15)
    same, fired = optim.clip_by_norm(dp, 5.0)
    assert not fired and np.array_equal(backend.to_numpy(same["a"]), [3.0, 0.0])


def test_clip_by_tensor(backend):
    dp = {"a": backend.asarray(np.asarray([3.0, 4.0])), "b": backend.asarray(np.asarray([[0.5]]))}
    clipped, fired = optim.clip_by_tensor(dp, 1.0)
    assert fired and np.allclose(backend.to_numpy(clipped["a"]), [0.6, 0.8], rtol=1e-15, atol=0)
    assert float(clipped["b"][0, 0]) == 0.5
    assert not optim.clip_by_tensor(dp, 5.0)[1]


def test_decay_is_for_matrices(backend):
    """With no gradient W shrinks by lr λ, b stays."""
    p = {"W": backend.asarray(np.ones((2, 3))), "b": backend.asarray(np.ones(3))}
    zero = {name: backend.xp.zeros_like(w) for name, w in p.items()}
    for kind in (
        optim.SGD(0.1, weight_decay=0.5),
        optim.RMSProp(0.1, weight_decay=0.5),
        optim.AdamW(0.1, weight_decay=0.5),
    ):
        new, _ = kind.update(p, zero, kind.init(p))
        assert np.allclose(backend.to_numpy(new["W"]), 0.95, rtol=1e-15, atol=0)
        assert backend.to_numpy(new["b"]).tolist() == [1.0] * 3


def test_clip_by_value(backend):
    dp = {"a": backend.asarray(np.asarray([3.0, -0.25, -9.0]))}
    clipped, fired = optim.clip_by_value(dp, 0.5)
    assert fired and backend.to_numpy(clipped["a"]).tolist() == [0.5, -0.25, -0.5]
    assert not optim.clip_by_value(dp, 9.0)[1]


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"lr": "fast"}, {"lr": 0.1, "momentum": -0.5}])
def test_bad_options_are_refused(options):
    with pytest.raises(UserError, match="must be a number >= 0"):
        optim.SGD(**options)


@pytest.mark.parametrize("share", [1, 1.5, -0.1])
def test_a_decay_of_one_would_divide_by_zero(share):
    for make in (
        lambda: optim.AdamW(beta1=share),
        lambda: optim.AdamW(beta2=share),
        lambda: optim.RMSProp(decay=share),
    ):
        with pytest.raises(UserError, match=r"must be a number >= 0 and < 1"):
            make()
