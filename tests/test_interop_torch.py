"""Weights from and to torch.nn: outputs, last states and all gradients agree, and what went there comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import refusal
from hypothesis import given
from hypothesis import strategies as st
from weights import FEW, HOST, cases, close, same_bits

import rnnbp
from rnnbp.interop import from_torch, to_torch, torch_module

torch = pytest.importorskip("torch")
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

PLAIN = ("lstm", "lstm:bias=false", "gru", "gru:bias=false", "elman", "elman:activation=relu", "rnn:bias=false")
SPECS = (*PLAIN, "lstm-projected", "lstm-projected:bias=false")
CLOSE = 1e-12  # in float64


def built(case):
    """The module that `torch_module` writes, with our weights."""
    module = eval(torch_module(case.stack, case.params), {"torch": torch}).double()
    module.load_state_dict({name: torch.tensor(a) for name, a in to_torch(case.stack, case.params).items()})
    return module


def assert_same(found, wanted):
    """The same cells; a file tells the width of a projection, which is H // 2 where it was left open."""
    said = lambda cell: replace(cell, projection=cell.width) if hasattr(cell, "width") else cell
    assert found == wanted.of_cells(said)


def their_names(stack):
    """Our prefix of each cell and torch's ending."""
    for prefix, _ in stack.cells:
        layer, *reverse = prefix.strip(".").split(".")
        yield prefix, f"_l{layer}" + "_reverse" * bool(reverse)


def agree(module, stack, params, case):
    """Outputs, last states and every gradient, under random cotangents of all that comes out."""
    cells = list(stack.cells)
    t, b = case.mask.shape
    state = tuple(case.rng.standard_normal((len(cells), b, *shape)) for shape in cells[0][1].states.values())
    xs = torch.tensor(case.xs, requires_grad=True)
    s0 = [torch.tensor(z, requires_grad=True) for z in state]
    packed = pack_padded_sequence(xs, torch.tensor(case.lengths), enforce_sorted=False)
    out, last = module(packed, tuple(s0) if len(s0) == 2 else s0[0])
    last = last if isinstance(last, tuple) else (last,)
    ys = pad_packed_sequence(out, total_length=t)[0]
    dys, ds_T = case.rng.standard_normal(ys.shape), [case.rng.standard_normal(z.shape) for z in state]
    loss = (ys * torch.tensor(dys)).sum() + sum((z * torch.tensor(d)).sum() for z, d in zip(last, ds_T, strict=True))
    loss.backward()

    def split(parts):
        return tuple(tuple(z[k] for z in parts) for k in range(len(cells)))

    ours, s_T, backward = stack.scan(params, case.xs, split(state), mask=case.mask, backend=HOST)
    dparams, dxs, ds0 = backward(dys, split(ds_T))
    close(ours, ys.detach().numpy(), CLOSE)
    close(dxs, xs.grad.numpy(), CLOSE)
    for k in range(len(state)):
        close(np.stack([s[k] for s in s_T]), last[k].detach().numpy(), CLOSE)
        close(np.stack([s[k] for s in ds0]), s0[k].grad.numpy(), CLOSE)
    for prefix, end in their_names(stack):
        theirs = {name.removesuffix(end): w.grad.numpy() for name, w in module.named_parameters() if name.endswith(end)}
        close(dparams[f"{prefix}W"], theirs["weight_ih"].T, CLOSE)
        close(dparams[f"{prefix}U"], theirs["weight_hh"].T, CLOSE)
        if "weight_hr" in theirs:
            close(dparams[f"{prefix}V"], theirs["weight_hr"].T, CLOSE)
        if "bias_ih" in theirs:
            close(dparams[f"{prefix}b"], theirs["bias_ih"], CLOSE)
        if f"{prefix}bu" in dparams:
            close(dparams[f"{prefix}bu"], theirs["bias_hh"][-dparams[f"{prefix}bu"].size :], CLOSE)


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data())
def test_our_weights_there(spec, data):
    case = data.draw(cases(spec))
    agree(built(case), case.stack, case.params, case)


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data(), st.booleans())
def test_their_weights_here(spec, data, within):
    """With two random biases, from the module's own state dict or from that of a model around it."""
    case = data.draw(cases(spec))
    module = built(case)
    with torch.no_grad():
        for w in module.parameters():
            w.copy_(torch.tensor(case.rng.standard_normal(w.shape)))
    around = torch.nn.ModuleDict({"encoder": module, "head": torch.nn.Linear(2, 3)})
    named = "elman:activation=relu" if getattr(module, "nonlinearity", "") == "relu" else "elman"
    weights = around.state_dict() if within else module.state_dict()
    stack, params = from_torch(weights, named if isinstance(module, torch.nn.RNN) else None)
    assert [type(c) for _, c in stack.cells] == [type(c) for _, c in case.stack.cells]
    agree(module, stack, params, case)


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_there_and_back_to_the_bit(spec, data, dtype):
    case = data.draw(cases(spec))
    params = case.weights(dtype)
    there = to_torch(case.stack, params)
    assert all(a.flags.c_contiguous and a.dtype == dtype for a in there.values())
    kind = type(case.stack.layers[0][0]).__name__
    named = f"elman:activation={case.stack.layers[0][0].activation}" if kind == "Elman" else None
    stack, back = from_torch(there, named)
    assert_same(stack, case.stack)
    same_bits(back, params)


def test_modules_on_top_of_each_other_and_the_weights_of_a_cell():
    model = torch.nn.ModuleDict(
        {"below": torch.nn.LSTM(3, 4, bidirectional=True), "above": torch.nn.GRU(8, 2)}
    ).double()
    stack, params = from_torch(model.state_dict(), layers=["below", "above"])
    xs = torch.tensor(np.random.default_rng(0).standard_normal((5, 2, 3)))
    ys = model["above"](model["below"](xs)[0])[0]
    close(stack.run(params, xs.numpy(), backend=HOST)[0], ys.detach().numpy(), CLOSE)
    one = torch.nn.GRUCell(3, 4).double()
    stack, params = from_torch(one.state_dict())
    close(stack.run(params, xs.numpy()[:1], backend=HOST)[0][0], one(xs[0]).detach().numpy(), CLOSE)


def lstm(**changes):
    weights = {name: a.numpy() for name, a in torch.nn.LSTM(3, 5, num_layers=2).state_dict().items()} | changes
    return {name: a for name, a in weights.items() if a is not None}


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (lstm(weight_ih_l0=np.zeros((19, 3))), {}, "weight_ih_l0 must have shape (20, I); got (19, 3)"),
        (lstm(weight_hh_l1=np.zeros((20, 6))), {}, "weight_hh_l1 must have 1, 3 or 4 times as many rows as columns"),
        (lstm(bias_hh_l1=np.zeros(21)), {}, "bias_hh_l1 must have shape (20,); got (21,)"),
        (lstm(weight_hr_l0=np.zeros((2, 5))), {}, "weight_hr_l0 must have shape (5, H); got (2, 5)"),
        (lstm(weight_hr_l0=np.zeros((5, 6))), {}, "weight_hh_l0 must have 4 rows for each of 6 units; got (20, 5)"),
        (lstm(bias_hh_l1=None), {}, "bias_hh_l1 of shape (20,) is missing"),
        (lstm(weight_hh_l0=None), {}, "weight_hh_l0 of shape (G·H, H) is missing"),
        (
            lstm(weight_ih_l1=np.zeros((20, 7))),
            {},
            "weight_hh_l1 must take the 5 outputs of the layer below; it takes 7",
        ),
        (lstm(weight_ih_l0=np.zeros((20, 3), int)), {}, "weight_ih_l0 must hold floating-point numbers; got int64"),
        (lstm(), {"cell": "gru"}, "has a cell of kind lstm; got cell gru: name one that fits, such as lstm"),
        (lstm(), {"cell": "lstm:bias=false"}, "has bias=true; got cell lstm:bias=false"),
        (lstm(), {"layers": ["encoder"]}, "unknown layer 'encoder'"),
        ({"fc.weight": np.zeros(3)}, {}, "the state dict holds no RNN, LSTM or GRU"),
        (
            torch.nn.RNN(2, 3).state_dict(),
            {},
            "does not say its activation: add --cell elman:activation=tanh or --cell",
        ),
        (torch.nn.LSTM(2, 3).bfloat16().state_dict(), {}, "an array must have a dtype that NumPy knows"),
    ],
)
def test_what_does_not_fit_is_refused(weights, options, message):
    assert message in refusal(lambda: from_torch(weights, **options))


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (rnnbp.stack("lstm:peepholes=true", 2, 3), "torch has no lstm with peepholes=true: cell 0 cannot go there"),
        (rnnbp.stack("ugrnn", 2, 3), "got UGRNN"),
        (rnnbp.stack("lstm-projected:projection=3", 2, 3), "projects to fewer numbers than its 3 units; got 3"),
        (rnnbp.Stack(rnnbp.stack("lstm", 3, 3).layers, residual=(0,)), "torch gets the cells of a stack alone"),
        (rnnbp.stack("gru:reset=before", 2, 3), "torch has no gru with reset=before"),
        (rnnbp.stack("elman:activation=sigmoid", 2, 3), "torch.nn.RNN has activation tanh or relu; got sigmoid"),
        (
            rnnbp.Stack(((rnnbp.cell("lstm", 2, 3),), (rnnbp.cell("lstm", 3, 4),))),
            "a module of torch has equal layers; layer 1 is not like layer 0",
        ),
    ],
)
def test_what_torch_does_not_have_is_refused(stack, message):
    params = stack.init(np.random.default_rng(0))
    for write in (to_torch, torch_module):
        assert message in refusal(lambda write=write: write(stack, params))


def test_weights_of_another_stack_are_refused():
    stack = rnnbp.stack("lstm", 2, 3)
    params = stack.init(np.random.default_rng(0))
    assert "0.U must have shape (3, 12); got (4, 12)" in refusal(
        lambda: to_torch(stack, params | {"0.U": np.zeros((4, 12))})
    )
