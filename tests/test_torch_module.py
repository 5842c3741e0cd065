"""rnnbp_torch.Module: torch's autograd through the backward that was derived by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cases import case, wanted
from helpers import B, H, I, T, agree, inner, named, portable, refusal, relative_error

import rnnbp
from rnnbp.truncation import Truncation

torch = pytest.importorskip("torch")
from rnnbp_torch import Module  # noqa: E402
from torch_modules import (  # noqa: E402
    BACKENDS,
    CELLS,
    by_module,
    differentiate,
    found,
    inputs,
    module_of,
    tensor,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CELLS)
def test_torchs_own_gradcheck(name, backend):
    q = case(name)
    module, (xs, s0, options) = module_of(q, backend), inputs(q)

    def function(xs, *rest):
        s0, params = rest[: len(q.s0)], dict(zip(q.params, rest[len(q.s0) :], strict=True))
        ys, last = torch.func.functional_call(module, params, (xs, s0), options)
        return ys, *last

    assert torch.autograd.gradcheck(function, (xs, *s0, *tensor(q.params).values()), fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["plain", "mask", "resets", "mask, resets, reverse"])
@pytest.mark.parametrize("name", CELLS)
def test_all_gradients_are_those_of_complex_steps(name, way, backend):
    agree(by_module(case(name), backend, way), wanted(name, way))


@pytest.mark.parametrize("name", CELLS)
def test_all_gradients_are_those_of_autograd_through_the_forward(name):
    q, way = case(name), "mask, resets, reverse"
    xs, s0, options = inputs(q, way)
    params = tensor(q.params)
    ys, last, _ = portable(q.cell, params, xs, s0, **options)
    differentiate(q, ys, last)
    leaves = named(params, xs, s0, q.cell)  # of which some cells do not use all
    wanted = {n: (torch.zeros_like(t) if t.grad is None else t.grad).numpy() for n, t in leaves.items()}
    agree(by_module(q, None, way), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_layer_of_torch(backend):
    for name, kind in (("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
        q = case(name)
        p, theirs, module = q.params, kind(I, H).double(), module_of(q, backend)
        second = np.zeros_like(p["b"])
        if "bu" in p:
            second[2 * H :] = p["bu"]
        layout = {"weight_ih_l0": p["W"].T, "weight_hh_l0": p["U"].T, "bias_ih_l0": p["b"], "bias_hh_l0": second}
        theirs.load_state_dict({n: torch.tensor(w) for n, w in layout.items()})
        xs, other = tensor(q.xs), tensor(q.xs)
        ys, _ = module(xs)
        torch.testing.assert_close(ys, theirs(other)[0], rtol=1e-12, atol=1e-13)
        (ys * torch.tensor(q.dys)).sum().backward()
        (theirs(other)[0] * torch.tensor(q.dys)).sum().backward()
        for ours, own in (
            (xs, other.grad),
            (module.W, theirs.weight_ih_l0.grad.T),
            (module.U, theirs.weight_hh_l0.grad.T),
            (module.b, theirs.bias_ih_l0.grad),
        ):
            torch.testing.assert_close(ours.grad, own, rtol=1e-12, atol=1e-13)


def test_float32_is_as_close_as_float32_can_be():
    q = case("lstm:peepholes=true")
    module, (xs, s0, options) = module_of(q).float(), inputs(q)
    single = [z.detach().float().requires_grad_() for z in (xs, *s0)]
    ys, last = module(single[0], tuple(single[1:]), **options)
    assert ys.dtype == torch.float32
    inner(ys, last, torch.tensor(q.dys).float(), [torch.tensor(d).float() for d in q.ds_T]).backward()
    agree(found(module, single[0], single[1:], q), wanted("lstm:peepholes=true", "plain"), "float32")


# ---- stacks and truncation -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_has_the_gradients_of_its_own_scan(backend, bidirectional):
    stack, rng = rnnbp.stack("lstm", I, H, layers=2, bidirectional=bidirectional), np.random.default_rng(1)
    module = Module(stack, backend=backend, dtype=torch.float64, seed=4)
    params = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    assert list(params) == list(stack.params)
    xs = rng.standard_normal((T, B, I))
    s0 = tuple(tuple(0.5 * rng.standard_normal((B, H)) for _ in range(2)) for _ in stack.cells)
    host, last_host, back = stack.scan(params, xs, s0)
    dys = rng.standard_normal(host.shape)
    dparams, dxs, ds0 = back(dys, s0)
    leaf, states = tensor(xs), tensor(s0)
    ys, last = module(leaf, states)
    assert [len(s) for s in last] == [len(s) for s in last_host] and type(last) is tuple
    loss = (ys * torch.tensor(dys)).sum()
    for s, d in zip(last, s0, strict=True):
        loss = loss + sum((z * torch.tensor(e)).sum() for z, e in zip(s, d, strict=True))
    loss.backward()
    theirs = {n: p.grad.numpy() for n, p in module.named_parameters()} | {"xs": leaf.grad.numpy()}
    theirs |= {f"{k}{j}": z.grad.numpy() for k, s in enumerate(states) for j, z in enumerate(s)}
    agree(theirs, dparams | {"xs": dxs} | {f"{k}{j}": z for k, s in enumerate(ds0) for j, z in enumerate(s)})


TRUNCATED = {"tbptt:2,3": [(0, 0, 2), (1, 2, 4), (2, 4, 5)], "a list": [(1, 2, 4), (2, 4, 5)]}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("text", TRUNCATED)
def test_truncation_sums_the_windows(text, backend):
    q = case("lstm")
    windows = [rnnbp.Window(*steps) for steps in TRUNCATED[text]]
    _, _, back = rnnbp.scan(q.cell, q.params, q.xs, q.s0)
    each = [named(*back(q.dys, q.ds_T, window), q.cell) for window in windows]
    wanted = {name: sum(grads[name] for grads in each) for name in each[0]}
    from_the_start = [grads for grads, window in zip(each, windows, strict=True) if window.start == 0]
    for state in ("s0.h", "s0.c"):  # of other windows these are errors of later states
        wanted[state] = sum((grads[state] for grads in from_the_start), np.zeros((B, H)))
    module, (xs, s0, _) = module_of(q, backend), inputs(q)
    differentiate(q, *module(xs, s0, truncation=text if text.startswith("tbptt") else windows))
    agree(found(module, xs, s0, q), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["1997", "gates:i+o", "decay:0.5"])
def test_a_kind_of_truncation_may_change_the_cell(kind, backend):
    q = case("lstm")
    parsed = Truncation.parse(kind)
    (window,) = parsed.windows(T)
    _, _, back = rnnbp.scan(parsed.of(q.cell), q.params, q.xs, q.s0)
    module, (xs, s0, _) = module_of(q, backend), inputs(q)
    differentiate(q, *module(xs, s0, truncation=kind))
    agree(found(module, xs, s0, q), named(*back(q.dys, q.ds_T, window), q.cell))
    assert relative_error(module.U.grad, wanted("lstm", "plain")["U"]) > 1e-3
    stack = Module(rnnbp.stack("lstm", I, H, 2), backend=backend)
    slopes = []
    for text in ("full", kind):
        stack.zero_grad()
        stack(torch.ones(T, B, I), truncation=text)[0].sum().backward()
        slopes.append(stack.get_parameter("0.U").grad.clone())
    assert relative_error(*slopes) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_remat_reaches_the_scan_and_gives_the_same_bits(backend, monkeypatch):
    """With sizes that make several segments; the forward alone takes it, too."""
    from rnnbp_torch import calling

    asked, own = [], calling.scan
    monkeypatch.setattr(calling, "scan", lambda *args, **o: asked.append(o["remat"]) or own(*args, **o))
    module, xs = Module("lstm", I, H, backend=backend), torch.randn(400, B, I, requires_grad=True)
    both = []
    for remat in (None, 200):
        ys, _ = module(xs, remat=remat)
        both.append(torch.autograd.grad(ys.square().sum(), [xs, *module.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True)) and asked == [None, 200]
    assert 'at least 1, or "sqrt"' in refusal(lambda: module(xs, remat=0))
    with torch.no_grad():
        assert torch.equal(module(xs, remat=200)[0], ys)
