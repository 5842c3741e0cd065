"""rnnbp_torch.Module: torch's autograd through the backward that was derived by hand."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from cases import WAYS, case, wanted
from helpers import B, H, I, T, agree, inner, named, portable, refusal, relative_error

import rnnbp
from rnnbp.truncation import Truncation

torch = pytest.importorskip("torch")
from rnnbp_numpy import NumpyBackend  # noqa: E402
from rnnbp_torch import Module  # noqa: E402

CELLS = ["lstm:peepholes=true", "gru", "gru:reset=before", "data", "own scan", "states of any shape", "None for zero"]
BACKENDS = [None, "torch", "numpy"]
SHARED = ["lstm:peepholes=true", "gru", "data"]  # cells whose scans NumPy's loops take


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on arrays as small as these its threads only wait for each other


@pytest.fixture
def scans(monkeypatch):
    """Every call of NumPy's own scan: the arrays that it got, the options and what it gave."""
    calls, own = [], NumpyBackend.scan

    def scan(self, cell, params, xs, s0, **options):
        calls.append(((xs, *s0, *params.values()), options, own(self, cell, params, xs, s0, **options)))
        return calls[-1][2]

    monkeypatch.setattr(NumpyBackend, "scan", scan)
    return calls


def tensor(x):
    """Host arrays, in any tuple or dictionary, as leaves of a graph; flags as they are."""
    if isinstance(x, dict):
        return {name: tensor(value) for name, value in x.items()}
    if isinstance(x, tuple):
        return tuple(tensor(value) for value in x)
    if not isinstance(x, np.ndarray):
        return x
    return torch.tensor(x, requires_grad=x.dtype != bool)


def module_of(q, backend=None):
    """The module of a problem's cell, with the problem's parameters."""
    module = Module(q.cell, backend=backend, dtype=torch.float64)
    module.load_state_dict({name: torch.tensor(value) for name, value in q.params.items()})
    return module


def inputs(q, way="plain"):
    """Xs, s0 and what is passed by name."""
    data = {name: torch.tensor(d) for name, d in q.data.items()} or None
    return tensor(q.xs), tensor(q.s0), {"data": data, **tensor(WAYS[way])}


def differentiate(q, ys, last):
    """The backward of the problem's scalar, through whatever graph made ys and last."""
    inner(ys, last, torch.tensor(q.dys), tuple(map(torch.tensor, q.ds_T))).backward()


def found(module, xs, s0, q):
    """All gradients that a backward left, by name."""
    grads = {name: p.grad for name, p in module.named_parameters()}
    tensors = named({name: grads[name] for name in q.params}, xs.grad, tuple(z.grad for z in s0), q.cell)
    return {name: d.numpy() for name, d in tensors.items()}


def by_module(q, backend, way):
    module, (xs, s0, options) = module_of(q, backend), inputs(q, way)
    differentiate(q, *module(xs, s0, **options))
    return found(module, xs, s0, q)


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


# ---- as torch's own modules ------------------------------------------------------------------------------------------
def test_parameters_are_the_cells_by_name_and_as_it_draws_them():
    module = Module("lstm:peepholes=true", I, H, seed=3)
    drawn = module.cell.init(np.random.default_rng(3))
    assert list(module.state_dict()) == list(drawn)
    assert all(p.dtype == torch.float32 and np.array_equal(p.detach(), drawn[n].astype("float32"))
               for n, p in module.named_parameters())  # fmt: skip
    assert not torch.equal(module.W, Module("lstm:peepholes=true", I, H, seed=4).W)
    assert "LSTM(input_size=4, hidden_size=6" in repr(module)


@pytest.mark.parametrize("cell", [rnnbp.cell("gru", I, H), rnnbp.stack("lstm", I, H, 2, bidirectional=True)])
def test_copies_and_files_of_it_compute_the_same(cell, tmp_path):
    module, xs = Module(cell, seed=1), torch.randn(T, B, I)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    loaded = Module(cell, seed=2)
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt"))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded, module.double().float()):
        assert torch.equal(other(xs)[0], module(xs)[0])
    assert copy.deepcopy(module).double()(xs.double())[0].dtype == torch.float64


def test_weights_may_be_reparametrised():
    module, xs = Module("lstm", I, H), torch.randn(T, B, I)
    before = module(xs)[0]
    torch.nn.utils.parametrizations.weight_norm(module, "U")
    after = module(xs)[0]
    torch.testing.assert_close(after, before)
    after.sum().backward()
    assert module.parametrizations.U.original1.grad.abs().sum() > 0


def test_autocast_leaves_it_in_its_own_precision():
    module, xs = Module("lstm", I, H, backend="torch"), torch.randn(T, B, I)
    ys = module(xs)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(xs)[0], ys)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, of a gradient that its tracer looks at
def test_torch_compile_goes_around_it():
    module, readout, xs = Module("lstm", I, H), torch.nn.Linear(H, 1), torch.randn(T, B, I)

    def model(xs):
        return readout(module(xs.tanh())[0]).square().sum()

    losses = []
    for function in (model, torch.compile(model, backend="eager")):
        module.zero_grad()
        function(xs).backward()
        losses.append(module.U.grad.clone())
    assert torch.equal(*losses)


@pytest.mark.parametrize("cell", ["lstm", "gru:reset=before"])
def test_torchs_optimizers_train_it(cell):
    torch.manual_seed(0)
    module, readout = Module(cell, 1, 8), torch.nn.Linear(8, 1)
    xs = torch.randn(12, 16, 1)
    target = xs.cumsum(0)
    optimizer = torch.optim.Adam([*module.parameters(), *readout.parameters()], lr=0.02)
    losses = []
    for _ in range(60):
        loss = torch.nn.functional.mse_loss(readout(module(xs)[0]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# ---- refusals --------------------------------------------------------------------------------------------------------
def test_what_a_module_is_made_of():
    assert "needs input_size and hidden_size" in refusal(lambda: Module("lstm"))
    assert "has its sizes" in refusal(lambda: Module(rnnbp.cell("lstm", I, H), I, H))
    assert "got int" in refusal(lambda: Module(3))
    assert "known are numpy, torch" in refusal(lambda: Module("lstm", I, H, backend="cuda"))


def test_what_a_module_takes():
    odd = Module("lstm", I, H, dtype=torch.complex64)
    module, xs = Module("lstm", I, H), torch.ones(T, B, I)
    assert "(T, B, I)" in refusal(lambda: module(torch.ones(2, T, B, I)))
    assert "must be an array" in refusal(lambda: module([[1.0]]))
    assert "dtypes must agree" in refusal(lambda: module(xs.double()))
    assert "tuple with one array per state" in refusal(lambda: module(xs, torch.ones(B, H)))
    assert "got 1" in refusal(lambda: module(xs, (torch.ones(B, H),)))
    assert "must be an array" in refusal(lambda: module(xs, (torch.ones(B, H), None)))
    assert "no axes before T and B" in refusal(lambda: module(xs, (torch.ones(2, B, H), torch.ones(B, H))))
    assert "must be boolean" in refusal(lambda: module(xs, mask=torch.ones(T, B)))
    assert "takes real numbers" in refusal(lambda: odd(xs.to(torch.complex64)))


def test_truncation_that_does_not_fit_is_refused_before_the_forward():
    module, xs = Module("lstm", I, H), torch.ones(T, B, I)
    assert "K2 >= K1" in refusal(lambda: module(xs, truncation="tbptt:3,2"))
    assert "reversed direction" in refusal(lambda: module(xs, reverse=True, truncation="tbptt:2,2"))
    assert "stop <= T=5" in refusal(lambda: module(xs, truncation=[rnnbp.Window(0, 0, 9)]))
    both = Module(rnnbp.stack("lstm", I, H, bidirectional=True))
    assert "reversed direction" in refusal(lambda: both(xs, truncation="tbptt:2,2"))


def test_what_a_stack_takes():
    module, xs = Module(rnnbp.stack("lstm", I, H, 2)), torch.ones(T, B, I)
    one = (torch.ones(B, H), torch.ones(B, H))
    assert "one tuple of states per cell, 2; got 1" in refusal(lambda: module(xs, (one,)))
    assert "got Tensor" in refusal(lambda: module(xs, one[0]))
    assert "(h, c); got 3" in refusal(lambda: module(xs, (one, (*one, one[0]))))
    assert "make the stack bidirectional" in refusal(lambda: module(xs, reverse=True))


def test_data_that_ask_for_a_gradient_are_refused():
    q = case("data")
    module, (xs, s0, options) = module_of(q), inputs(q)
    data = {name: d.requires_grad_() for name, d in options["data"].items()}
    assert "data get no gradient" in refusal(lambda: module(xs, s0, data=data))


def test_numpy_is_refused_where_it_cannot_be():
    module = Module("lstm", I, H, backend="numpy", dtype=torch.bfloat16)
    said = refusal(lambda: module(torch.ones(T, B, I, dtype=torch.bfloat16)))
    assert "float32 or float64; got torch.bfloat16 on cpu" in said


def test_neither_backend_loads_its_library_for_its_name():
    code = "import sys, rnnbp_torch, rnnbp_jax; print([n for n in ('torch', 'jax') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    import rnnbp_torch

    with pytest.raises(AttributeError, match="Modul"):
        rnnbp_torch.Modul  # noqa: B018
