"""rnnbp_torch.Module among torch's own modules, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cases import case
from helpers import B, H, I, T, refusal

import rnnbp

torch = pytest.importorskip("torch")
from rnnbp_torch import Module  # noqa: E402
from torch_modules import (  # noqa: E402
    inputs,
    module_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert "at least one time step" in refusal(lambda: module(torch.ones(0, B, I)))
    assert "must be tensors of torch; got ndarray" in refusal(lambda: module(xs.numpy()))
    assert "must be tensors of torch; got ndarray" in refusal(lambda: module(xs, (np.ones((B, H), "float32"),) * 2))
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
