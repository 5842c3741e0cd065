"""rnnbp_torch.Module on a CPU: whose memory is whose, what is kept and how long."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from cases import case, wanted
from helpers import B, H, I, T, agree, refusal

import rnnbp

torch = pytest.importorskip("torch")
from rnnbp_numpy import NumpyBackend  # noqa: E402
from rnnbp_torch import Module  # noqa: E402
from torch_modules import BACKENDS, SHARED, differentiate, found, inputs, module_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


# ---- the fast path, and whose memory is whose ------------------------------------------------------------------------
@pytest.mark.parametrize("name", SHARED)
def test_numpys_loops_run_on_the_tensors_own_memory(scans, name):
    q = case(name)
    module, (xs, s0, options) = module_of(q), inputs(q)
    ys, last = module(xs, s0, **options)
    ((arrays, asked, (host, *_)),) = scans
    assert asked["keep"]
    given = [xs, *s0, *(getattr(module, n) for n in q.params)]
    assert all(np.shares_memory(a, t.detach().numpy()) for a, t in zip(arrays, given, strict=True))
    assert np.shares_memory(host, ys.detach().numpy())
    differentiate(q, ys, last)
    assert len(scans) == 1  # the backward ran nothing anew


def test_gradients_are_not_copied_either(monkeypatch):
    q, made = case("lstm"), []
    own = NumpyBackend.scan

    def scan(self, *args, **options):
        ys, last, back = own(self, *args, **options)
        return ys, last, lambda *given: made.append(back(*given)) or made[-1]

    monkeypatch.setattr(NumpyBackend, "scan", scan)
    module, (xs, s0, _) = module_of(q), inputs(q)
    differentiate(q, *module(xs, s0))
    ((dparams, dxs, ds),) = made
    pairs = [(dxs, xs), *zip(ds, s0, strict=True), *((d, getattr(module, n)) for n, d in dparams.items())]
    assert all(np.shares_memory(d, leaf.grad.numpy()) for d, leaf in pairs)


def test_what_the_loops_do_not_take_runs_in_torch(scans):
    q = case("gru:reset=before")
    module, (xs, s0, _) = module_of(q), inputs(q)
    ys, _ = module(xs, s0)
    assert [call[2] for call in scans] == [NotImplemented] and ys.shape == (T, B, H)
    module_of(q, "torch")(xs, s0)
    assert len(scans) == 1


def test_halves_run_in_torch(scans):
    module = Module("lstm", I, H, dtype=torch.bfloat16)
    ys, _ = module(torch.ones(T, B, I, dtype=torch.bfloat16))
    ys.sum().backward()
    assert ys.dtype == module.W.grad.dtype == torch.bfloat16 and not scans


@dataclass(frozen=True)
class HandingOn(rnnbp.Cell):
    """y = x (u + v), and a state that stays: it hands on what it is given, and one array as two gradients."""

    @property
    def params(self):
        return {name: rnnbp.cellbase.Param((self.hidden_size,), rnnbp.initializers.constant(0.5)) for name in "uv"}

    @property
    def states(self):
        return {"y": (self.hidden_size,), "m": (self.hidden_size,)}

    def step(self, xp, p, x, s, e):
        del e

        def backward(ds):
            dp = xp.sum(ds[0] * x, axis=-2)
            return {"u": dp, "v": dp}, ds[0] * (p["u"] + p["v"]), (None, ds[1])

        return (x * (p["u"] + p["v"]), s[1]), backward


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", [rnnbp.cell("lstm", H, H), HandingOn(H, H)])
def test_no_result_is_a_view_of_an_argument_or_of_another_result(cell, backend):
    """Torch writes to gradients, and its users to outputs."""
    module, ones = Module(cell, backend=backend), torch.ones(B, H)
    xs, s0 = torch.ones(1, B, H).requires_grad_(), tuple(ones.clone().requires_grad_() for _ in range(2))
    ys, last = module(xs, s0)
    errors = [torch.ones_like(ys), *(torch.ones_like(z) for z in last)]
    torch.autograd.backward([ys, *last], errors)
    tensors = [xs, *s0, *module.parameters()]
    host = [t.detach().numpy() for t in (*tensors, *errors, ys, *last, *(t.grad for t in tensors))]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(host) for b in host[:k])


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_written_to_between_the_passes_is_refused_by_torch(backend):
    q = case("lstm")
    module, (xs, s0, _) = module_of(q, backend), inputs(q)
    for written in (module.U, module(xs, s0)[0]):
        ys, _ = module(xs, s0)
        with torch.no_grad():
            (ys if written is not module.U else written).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            ys.sum().backward()


# ---- what is kept, and how long --------------------------------------------------------------------------------------
def test_where_no_gradient_is_wanted_nothing_is_kept(scans):
    q = case("lstm")
    module, (xs, s0, _) = module_of(q), inputs(q)
    wanted, _ = module(xs, s0)
    with torch.no_grad():
        module(xs, s0)
    with torch.inference_mode():
        module(xs, s0)
    module.requires_grad_(False)
    ys, last = module(xs.detach(), tuple(z.detach() for z in s0))
    assert [options["keep"] for _, options, _ in scans] == [True, False, False, False]
    assert torch.equal(ys, wanted) and not ys.requires_grad and not last[0].requires_grad


def test_frozen_parameters_get_no_gradient():
    module = Module("lstm", I, H)
    module.U.requires_grad_(False)
    module(torch.ones(T, B, I))[0].sum().backward()
    assert module.U.grad is None and module.W.grad is not None


def test_a_graph_that_is_kept_can_be_gone_through_again(scans):
    q = case("lstm")
    module, (xs, s0, _) = module_of(q), inputs(q)
    total = module(xs, s0)[0].sum()
    first, second = (
        torch.autograd.grad(total, [xs, *module.parameters()], retain_graph=keep) for keep in (True, False)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True)) and len(scans) == 1
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()


def test_after_the_backward_its_arrays_are_free(monkeypatch):
    """Though the graph's nodes live on, as they do in a loop until `loss` is bound anew."""
    kept, own = [], NumpyBackend.scan

    def scan(self, *args, **options):
        ys, last, back = own(self, *args, **options)
        kept.append(weakref.ref(back))
        return ys, last, back

    monkeypatch.setattr(NumpyBackend, "scan", scan)
    module = Module("lstm", I, H)
    loss = module(torch.ones(T, B, I))[0].sum()
    gc.collect()
    assert kept[0]() is not None
    loss.backward()
    gc.collect()
    assert kept[0]() is None and loss.grad_fn is not None


def test_under_torchs_checkpointing_the_scan_runs_again(scans):
    from torch.utils.checkpoint import checkpoint

    q = case("lstm")
    module, (xs, s0, _) = module_of(q), inputs(q)
    ys, last = checkpoint(module, xs, s0, use_reentrant=False)
    gc.collect()
    differentiate(q, ys, last)
    agree(found(module, xs, s0, q), wanted("lstm", "plain"))
    assert len(scans) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_derivative_is_refused(backend):
    module, xs = Module("lstm", I, H, backend=backend), torch.randn(T, B, I, requires_grad=True)
    total = module(xs)[0].sum()
    (dxs,) = torch.autograd.grad(total, xs, create_graph=True)
    said = refusal(lambda: (total + (dxs**2).sum()).backward())
    assert "no second derivative" in said and "rnnbp.hvp" in said
    frozen = module.requires_grad_(False)
    said = refusal(lambda: torch.autograd.functional.jvp(lambda x: frozen(x)[0], xs.detach(), torch.ones(T, B, I)))
    assert "no second derivative" in said  # torch's jvp goes back twice, by the cotangents
