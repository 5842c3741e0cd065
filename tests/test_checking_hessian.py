"""The symmetry of the Hessian, and Hessian–vector products, through hand-written backwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import backend_or_skip
from faulty_cells import LOOP_FAULTS, LoopedLSTM, ToyLSTM
from helpers import on, problem, refusal, relative_error
from verdicts_of import failed, verdict_of

import rnnbp
from rnnbp.checking import builtin_specs, check_task
from rnnbp.checking.methods.curvature import hessian
from rnnbp.checking.methods.numeric import Asked
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.selftest.candidates import applies, catalogue, specimen
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting
from rnnbp.losses import CrossEntropy
from rnnbp.model import Model
from rnnbp.scanning import reference
from rnnbp.stacking import stack
from rnnbp.truncation import full, uncut

WHOLE = [spec for spec in builtin_specs() if uncut(made := rnnbp.cell(spec, 3, 4)) == made]  # a cut has no symmetry
ONLY = {"method": "hessian", "properties": False}
SMALL = {"time_steps": 3, "batch": 2, "input_size": 2, "hidden_size": 3, **ONLY}
# gradients, too, though of something else: of 0, −L, L/T, L/B, or L less an error that comes in
UNSEEN = {"all-zero:all", "sign:all", "factor:1/T", "factor:1/B", "last-step-skipped"}
UNSEEN |= {"last-state-forgotten:h", "last-state-forgotten:c"}


# ---- symmetry -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", WHOLE)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_hessian_of_right_cells_is_symmetric(spec, dtype):
    report = rnnbp.gradcheck(spec, dtype=dtype, **SMALL)
    assert report.passed and report.worst.error < {"float64": 1e-14, "float32": 1e-5}[dtype], str(report)
    found = [f for f in report.findings if f.kind == "hessian"]
    assert len(found) == 2 and all(f.passed and f.suspects == () for f in found)


def test_it_is_symmetric_on_every_backend(backend):
    """One step of one dtype where every new shape is compiled."""
    slow = backend.name == "jax"
    for dtype in ("float64", "float32")[: 1 if slow else 2]:
        sizes = SMALL | {"time_steps": 1 if slow else 3}
        report = rnnbp.gradcheck("rnn", backend=backend, dtype=dtype, levels=("sequence",), **sizes)
        assert report.passed, str(report)


@pytest.mark.parametrize("task", ["adding", "four-steps"])
def test_it_is_symmetric_for_whole_models(task):
    sizes = {"time_steps": 3, "batch": 2} if task == "adding" else {}
    report = check_task(task, "lstm", method="hessian", hidden_size=2, **sizes)
    assert report.passed and report.worst.error < 1e-13, str(report)


@pytest.mark.parametrize("family", ["rnn, dropout", "lstm", "gru, reset before"])
def test_of_the_catalogue_it_misses_only_what_is_a_gradient_of_something_else(family):
    faults = [fault for name, fault in catalogue() if name == family and applies(family, fault)]
    unseen = {fault for fault in faults if not failed(specimen(family, fault), "hessian")}
    assert unseen == UNSEEN & set(faults) and len(unseen) < len(faults) / 3


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost", "shape lost"}))
def test_it_names_the_tensor_that_does_not_fit(fault):
    """That loop takes no copies: the Hessian is taken entry by entry."""
    checks, (found,) = verdict_of(LoopedLSTM(3, 4, fault), "hessian", time_steps=4, batch=2)
    right = all(check.passed for check in checks)
    assert found.passed == right == (fault == "one entry of dU")  # which is off by a constant
    if fault in ("dU scaled by 1.001", "dU = instead of +=", "h_t where h_{t-1} belongs"):
        assert found.suspects == ("U",) and "in all of them: U" in str(found)
    if fault == "X turned in time":
        assert found.suspects == ("X",)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["passed"] is right


def test_nan_and_gradients_that_are_no_gradients_fail():
    checks, (found,) = verdict_of(ToyLSTM(3, 4, "nan"), "hessian")
    assert not any(check.passed for check in checks) and found.suspects == ("b",)
    checks, _ = verdict_of(LoopedLSTM(3, 4, "shape lost"), "hessian", time_steps=4, batch=2)
    assert [(c.tensor, c.note != "") for c in checks if not c.passed] == [("b", True)]  # the rest is symmetric


def test_without_a_single_gradient_there_is_no_hessian():
    one = asked(ToyLSTM(2, 3))
    bare = Asked(replace(one.subject, gradients=lambda _: {}), one.backend)
    whole, places = hessian(bare)
    assert whole.size == 0 and places == {} and METHODS["hessian"].findings(bare, 1e-10) == ()


def asked(cell, memory=64 * 2**20):
    """The Hessian of a cell over a sequence."""
    how, q = setting("numpy", "float64", "hessian", "full"), draw(cell, 4, 2, 0, padded=False)
    return Asked(sequence_subject("cell", q, full(4), how), how.backend, memory)


def test_copies_and_single_entries_give_the_same_hessian():
    one, places = hessian(asked(ToyLSTM(2, 3)))
    for other in (asked(LoopedLSTM(2, 3)), asked(ToyLSTM(2, 3), memory=16 * len(one) ** 2)):
        assert relative_error(hessian(other)[0], one) < 1e-15
    assert list(places) == list(asked(ToyLSTM(2, 3)).subject.tensors) and len(one) == places["c0"].stop


@dataclass(frozen=True)
class Dropping(rnnbp.PointwiseCell):
    """Its backward drops the imaginary part, aloud or in silence, or cannot take one."""

    how: str = "real"
    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])

        def backward(ds):
            slope = 1 - t * t
            if self.how == "real":
                return (xp.real(ds[0]) * xp.real(slope),), (None,), {}
            if self.how == "buffer":
                buffer = np.zeros(np.shape(slope))
                buffer[...] = slope
                return (ds[0] * buffer,), (None,), {}
            return (ds[0] * slope if slope.dtype == np.float64 else int("3.5"),), (None,), {}

        return (t,), backward


def test_a_backward_that_does_not_stay_complex_is_refused():
    for how, said in (("buffer", "ComplexWarning"), ("raises", "it ended in ValueError")):
        message = refusal(lambda how=how: rnnbp.gradcheck(Dropping(2, 3, how=how), **ONLY))
        assert message.startswith("a Hessian by complex steps needs a backward that stays complex") and said in message
    assert not rnnbp.gradcheck(Dropping(2, 3), **ONLY).passed  # real parts taken in silence: x stays complex in dW


class Cut(rnnbp.PointwiseCell):
    gates = ("h",)
    cut = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])
        return (t,), lambda ds: ((ds[0] * (1 - t * t),), (None,), {})


def test_what_it_cannot_check_is_refused():
    said = "a truncated backward is the gradient of nothing"
    assert said in refusal(lambda: rnnbp.gradcheck("lstm", truncation="tbptt:1,2", **ONLY))
    assert said in refusal(lambda: check_task("adding", "rnn", method="hessian", truncation="tbptt:1,2", batch=2))
    assert "hessian sees through cut gates" in refusal(lambda: rnnbp.gradcheck(Cut(2, 3), **ONLY))
    said = refusal(lambda: rnnbp.gradcheck("lstm", memory=10_000, **ONLY))
    assert "method hessian keeps a matrix of" in said and "make the sizes smaller" in said


# ---- Hessian–vector products --------------------------------------------------------------------------------------
def test_hvp_of_a_known_function(backend):
    """L = Σ w³ v: H_ww = 6 w v, H_wv = 3 w²."""
    xp, make = backend.xp, backend.asarray
    w, v, dw, dv = (np.array(a) for a in ([1.0, -2.0], [0.5, 3.0], [1.0, 10.0], [-1.0, 2.0]))

    def gradient(p):
        return {"w": 3 * p["w"] * p["w"] * p["v"], "v": p["w"] * p["w"] * p["w"]}

    for dtype, close in (("float64", 1e-15), ("float32", 1e-6)):
        point, direction = (
            {n: make(a, dtype) for n, a in pair.items()} for pair in ({"w": w, "v": v}, {"w": dw, "v": dv})
        )
        found = rnnbp.hvp(gradient, point, direction)
        assert {str(d.dtype).rpartition(".")[2] for d in found.values()} == {dtype}
        wanted = 6 * w * v * dw + 3 * w * w * dv
        np.testing.assert_allclose(backend.to_numpy(found["w"]), wanted, rtol=close, atol=close)
        np.testing.assert_allclose(backend.to_numpy(found["v"]), 3 * w * w * dw, rtol=close)
        copies = rnnbp.hvp(gradient, point, {"w": xp.stack([direction["w"], 2 * direction["w"]])})
        np.testing.assert_allclose(backend.to_numpy(copies["v"]), np.outer([1, 2], 3 * w * w * dw), rtol=close)


@pytest.mark.parametrize("spec", WHOLE)
def test_hvp_is_torchs_double_backward(spec):
    backend_or_skip("torch")
    import torch

    q = on(rnnbp.backend("torch"), problem(rnnbp.cell(spec, 3, 4), time_steps=6))
    backend = rnnbp.backend("torch")
    drawn = np.random.default_rng(1)
    direction = {n: backend.asarray(drawn.standard_normal(tuple(w.shape))) for n, w in q.params.items()}

    def gradient(p):
        return rnnbp.scan(q.cell, p, q.xs, q.s0)[2](q.dys, q.ds_T)[0]

    leaves = {n: w.clone().requires_grad_() for n, w in q.params.items()}
    rest = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": False}
    ys, s_T, _ = reference(backend.xp, q.cell, leaves, q.xs, q.s0, **rest)
    value = torch.sum(ys * q.dys) + sum(torch.sum(z * d) for z, d in zip(s_T, q.ds_T, strict=True))
    first = torch.autograd.grad(value, list(leaves.values()), create_graph=True)
    along = sum(torch.sum(g * d) for g, d in zip(first, direction.values(), strict=True))
    second = torch.autograd.grad(along, list(leaves.values()), allow_unused=True)
    found = rnnbp.hvp(gradient, q.params, direction)
    for name, wanted in zip(leaves, second, strict=True):
        host = np.zeros(tuple(leaves[name].shape)) if wanted is None else backend.to_numpy(wanted)
        assert relative_error(backend.to_numpy(found[name]), host) < 1e-14, name


def test_hvp_of_a_model_as_its_docstring_says():
    model = Model(stack("lstm", 3, 4, layers=2), 5, CrossEntropy())
    rng = np.random.default_rng(0)
    params, xs, targets = model.init(rng), rng.standard_normal((4, 2, 3)), rng.integers(0, 5, (4, 2))
    a, b = ({n: rng.standard_normal(w.shape) for n, w in params.items()} for _ in range(2))

    def product(v):
        return rnnbp.hvp(lambda p: model(p, xs, targets)[2]()[0], params, v)

    dot = lambda p, q: sum(np.sum(p[n] * q[n]) for n in params)
    assert dot(product(a), b) == pytest.approx(dot(a, product(b)), rel=1e-12)
    step = 1e-4
    ends = [model({n: w + s * step * a[n] for n, w in params.items()}, xs, targets)[2]()[0] for s in (1, -1)]
    for name, found in product(a).items():
        assert relative_error(found, (ends[0][name] - ends[1][name]) / (2 * step)) < 1e-7


def test_what_hvp_cannot_take_is_refused():
    one = {"w": np.ones(3)}
    square = lambda p: {"w": 2 * p["w"]}
    bad = [
        (square, one, {"v": np.ones(3)}, "named like tensors of the point, w; got v"),
        (square, one, {}, "got nothing"),
        (square, one, {"w": np.ones((3, 2))}, r"must have its shape (3,) behind copies; got (3, 2)"),
        (square, one, {"w": np.ones(3, dtype="float32")}, "all the same; got float32, float64"),
        (square, {"w": np.ones(3, dtype=complex)}, one, "must be real and floating; w is complex128"),
        (lambda p: {"w": abs(p["w"])}, one, one, "the gradient of w came back float64"),
        (lambda p: {"w": p["u"]}, one, one, "it ended in KeyError: 'u'"),
    ]
    for gradient, point, direction, said in bad:
        assert said in refusal(lambda g=gradient, p=point, d=direction: rnnbp.hvp(g, p, d))
