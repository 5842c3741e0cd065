"""torch.autograd and jax.grad as oracles: the same forward, and nothing of the hand-written backward."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import backend_or_skip
from faulty_cells import LOOP_FAULTS, STEP_FAULTS, LoopedLSTM, ToyLSTM
from helpers import refusal
from verdicts_of import failed

import rnnbp
from rnnbp.checking import check_task
from rnnbp.checking.methods.autodiff import autodiff, traced
from rnnbp.checking.operands.arithmetic import plain
from rnnbp.registry import BACKENDS

SMALL = {"time_steps": 3, "batch": 2, "input_size": 2, "hidden_size": 3, "properties": False}
LIBRARIES = ("torch", "jax")


@pytest.fixture(params=LIBRARIES)
def library(request):
    """Each library that differentiates, where it is installed."""
    backend_or_skip(request.param)
    return request.param


def missing(monkeypatch, *names):
    """As if these were not installed."""
    for name in names:
        monkeypatch.setattr(BACKENDS.load(name), "available", classmethod(lambda _: "not here"))


@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru:reset=before"])
@pytest.mark.parametrize("truncation", ["full", "tbptt:1,2"])
def test_right_cells_pass(spec, truncation, library):
    report = rnnbp.gradcheck(spec, method=f"autodiff-{library}", truncation=truncation, **SMALL)
    assert report.passed and report.worst.error < 1e-14, str(report)


def test_every_backend_is_checked_and_float32_too(backend):
    backend_or_skip("torch")
    for dtype in ("float64", "float32"):
        report = rnnbp.gradcheck("lstm", backend=backend, dtype=dtype, method="autodiff", **SMALL)
        assert report.passed, str(report)
        assert {(check.method, check.backend, check.dtype) for check in report.checks} == {
            ("autodiff", backend.name, dtype)
        }


def test_the_library_is_the_backends_own_else_the_one_that_is_installed(monkeypatch):
    asked = []

    def engine(name):
        return lambda _, tensors: asked.append(name) or tensors

    for name in LIBRARIES:
        backend_or_skip(name)
        monkeypatch.setitem(autodiff.__globals__["ENGINES"], name, engine(name))
    point = {"w": np.ones(2)}
    for name in ("torch", "jax", "numpy"):
        autodiff(lambda _: None, point, rnnbp.backend(name))
    missing(monkeypatch, "torch")
    autodiff(lambda _: None, point, rnnbp.backend("numpy"))
    autodiff(lambda _: None, point, rnnbp.backend("numpy"), "jax")
    assert asked == ["torch", "jax", "torch", "jax", "jax"]


def test_without_a_library_the_method_is_refused(monkeypatch):
    missing(monkeypatch, *LIBRARIES)
    said = refusal(lambda: rnnbp.gradcheck("lstm", method="autodiff", backend="numpy", **SMALL))
    assert "needs PyTorch or JAX" in said and "pip install torch" in said
    assert "not here" in refusal(lambda: rnnbp.gradcheck("lstm", method="autodiff-jax", backend="numpy", **SMALL))
    said = refusal(lambda: autodiff(lambda _: None, {}, rnnbp.backend("numpy"), "tensorflow"))
    assert "unknown library for autodiff 'tensorflow'" in said


def test_a_whole_model_is_differentiated_on_the_librarys_own_backend(library):
    """There torch's scan would switch the graph off."""
    sizes = {"time_steps": 4, "batch": 2, "hidden_size": 3, "levels": ("model",)}
    for backend in (library, "numpy"):
        report = check_task("adding", "rnn", method=f"autodiff-{library}", backend=backend, **sizes)
        assert report.passed and report.worst.error < 1e-13, str(report)


def test_a_traced_backend_is_the_same_but_for_its_scan(library):
    backend = rnnbp.backend(library)
    found = traced(backend)
    assert (found.name, found.device, found.xp) == (backend.name, backend.device, backend.xp)
    assert found.scan(None, None, None, None) is NotImplemented and traced(backend) == found


class Cut(rnnbp.PointwiseCell):
    """No error through U: its forward detaches h."""

    gates = ("h",)
    cut = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        t = xp.tanh(a[0])
        return (t,), lambda ds: ((ds[0] * (1 - t * t),), (None,), {})


def test_detach_cuts_the_graph(library):
    assert not failed(Cut(2, 3), f"autodiff-{library}")


def test_what_does_not_reach_the_loss_has_a_gradient_of_zero(library):
    def loss(where):
        return lambda p: where.xp.sum(p["w"] * p["w"])

    def constant(where):
        return lambda p: where.xp.sum(rnnbp.detach(p["w"]))

    point, host = {"w": np.array([1.0, 2.0]), "v": np.ones(3)}, rnnbp.backend("numpy")
    found = autodiff(loss, point, host, library)
    assert found["w"].tolist() == [2, 4] and found["v"].tolist() == [0, 0, 0]
    assert all(not d.any() for d in autodiff(constant, point, host, library).values())
    assert plain(host).xp.sum(point["w"]) == 3  # what was given is as it was


@pytest.mark.parametrize("fault", STEP_FAULTS)
def test_every_fault_of_the_step_is_found(fault):
    backend_or_skip("torch")
    assert failed(ToyLSTM(3, 4, fault), "autodiff-torch") >= STEP_FAULTS[fault]


@pytest.mark.parametrize("fault", sorted(set(LOOP_FAULTS) - {"dtype widened", "device lost"}))
def test_every_fault_of_the_loop_is_found(fault):
    backend_or_skip("torch")
    assert failed(LoopedLSTM(3, 4, fault), "autodiff-torch") == LOOP_FAULTS[fault]
