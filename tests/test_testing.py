"""The conformance suite: every cell that is registered conforms, and for each check there is a cell that does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import refusal
from misbehaving_cells import FAULTS, Misbehaving, misbehaving
from rnnbp_strict import StrictBackend
from toy_cells import TOYS, Faulty

import rnnbp
from rnnbp.checking import all_specs
from rnnbp.testing import CHECKS, CellCheck, check_cell, parametrize_with_checks
from rnnbp.testing.cases import LeftOut
from rnnbp.testing.runner import subject
from rnnbp.unrolling import unroll

ON_STRICT = ("device-carried", "standard-functions-only", "complex-safe")


# ---- cells that conform ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cell", [*all_specs(), *TOYS.values(), Misbehaving], ids=[*all_specs(), *TOYS, "misbehaving"])
def test_every_cell_conforms(cell):
    found = check_cell(cell, backend="numpy")
    left_out = [name for name, _ in found.left_out]
    assert {*found.passed, *left_out} == set(CHECKS) and set(left_out) <= {*ON_STRICT, "traceable"}
    assert ("traceable" in left_out) == (not isinstance(subject(cell)[1], rnnbp.PointwiseCell))


@pytest.mark.parametrize("cell", ["elman", TOYS["own scan"]], ids=["elman", "own scan"])
def test_cells_conform_on_every_backend(cell, backend):
    """JAX compiles for every shape, which takes minutes; `test_checking_cells` checks gradients on every backend."""
    checks = [name for name in CHECKS if not name.startswith("gradients-")] if backend.name == "jax" else None
    assert check_cell(cell, backend=backend, checks=checks).backend == backend.name


@parametrize_with_checks(["gru", rnnbp.cell("elman:bias=false", 2, 3)], backend="numpy")
def test_as_a_plugin_would_write_it(cell, check):
    check(cell)


# ---- cells that do not -----------------------------------------------------------------------------------------------
def test_every_check_has_a_fault_that_it_must_find():
    assert set(CHECKS) == {*FAULTS, "traceable"}  # which is for pointwise cells, below


@pytest.mark.parametrize("name", FAULTS)
def test_a_check_finds_its_fault(name):
    if name in ON_STRICT:
        pytest.importorskip("array_api_strict")
    with pytest.raises(AssertionError) as error:
        CellCheck(name, "numpy")(misbehaving(FAULTS[name]))
    head, what, *found = str(error.value).splitlines()
    assert "on backend numpy fails" in head and what.startswith(f"  {name}: ") and found
    CellCheck(name, "numpy")(misbehaving(""))


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("another contract", {"api-version"}),
        ("wrong in float32", {"gradients-in-float32"}),
        ("wrong for B = 1", {"gradients-of-one-sequence"}),
        ("first axis summed", {"copies-equal-a-loop"}),
        ("resets ignored", {"resets-start-anew", "fast-path-equals-loop"}),
        ("window ignored", {"gradients-under-truncation", "fast-path-equals-loop", "windows-add-up"}),
    ],
)
def test_all_that_fails_is_in_one_message_and_nothing_else(fault, names):
    with pytest.raises(AssertionError) as error:
        check_cell(misbehaving(fault), backend="numpy")
    message = str(error.value)
    assert message.startswith(f"Misbehaving(fault={fault!r}) on backend numpy fails {len(names)} of ")
    assert set(re.findall(r"^  (\S+): ", message, re.MULTILINE)) == names


def test_a_wrong_gradient_is_reported_in_full():
    with pytest.raises(AssertionError) as error:
        check_cell(misbehaving("dU scaled by 1.001"), backend="numpy", checks=["gradients-by-complex-step"])
    message = str(error.value)
    assert "    worst: U[" in message and "FAIL" in message and "analytic" in message
    assert "    diagnosis: factor (dU" in message


class Faster(type(rnnbp.backend("numpy"))):
    """A backend whose scan is right, and takes every call."""

    recomputes = False

    def scan(self, cell, params, xs, s0, **options):
        if options["mask"] is not None:
            xs = self.xp.where(options["mask"][..., None], xs, 0.0)
        return unroll(self.xp, cell, params, xs, s0, **options)


def test_a_cells_own_scan_is_checked_where_a_backend_has_a_faster_one():
    cell = misbehaving("wrong without a mask")
    with pytest.raises(AssertionError, match="each step is right, the loop over them is wrong"):
        CellCheck("gradients-unmasked", Faster())(cell)
    with pytest.raises(AssertionError, match="of the portable scan plain is"):
        CellCheck("fast-path-equals-loop", Faster())(cell)
    check_cell("elman", backend=Faster())


@dataclass(frozen=True)
class Absolute(rnnbp.PointwiseCell):
    """A forward that drops the imaginary part."""

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        return (abs(a[0]),), lambda ds: ((ds[0] * xp.sign(xp.real(a[0])),), (None,), {})


def test_a_forward_that_drops_the_imaginary_part():
    pytest.importorskip("array_api_strict")
    with pytest.raises(AssertionError, match="complex arguments and cotangents ys is float64") as error:
        CellCheck("complex-safe")(Absolute(3, 4))
    assert "\n    the gradients themselves are right: that a cell takes complex" in str(error.value)


@pytest.mark.parametrize("fault", ["swapped gates", "+= dropped"])
def test_a_graph_that_is_no_derivative(fault):
    with pytest.raises(AssertionError, match="is not the derivative of the forward: error"):
        CellCheck("traceable", "numpy")(Faulty(4, 6, fault=fault))
    CellCheck("traceable", "numpy")(Faulty(4, 6))


def test_a_cell_that_cannot_be_traced_says_why():
    for cell, why in ((Sorting(3, 4), "it uses xp.arange"), (Misbehaving(3, 4), "it is a plain Cell")):
        ((name, said),) = check_cell(cell, backend="numpy", checks=["traceable"]).left_out
        assert name == "traceable" and why in said and "runs on the portable path" in said


@dataclass(frozen=True)
class Sorting(rnnbp.PointwiseCell):
    """h' = tanh(a), by way of a function that tangents have no rule for."""

    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del s, p, e
        steps = 100.0 * xp.arange(self.hidden_size)
        y = xp.tanh(xp.sort(a[0] + steps, axis=-1) - steps)
        return (y,), lambda ds: ((ds[0] * (1 - y * y),), (None,), {})


def test_tangents_are_left_out_where_a_function_has_no_rule():
    found = check_cell(Sorting(3, 4), backend="numpy", checks=["gradients-by-tangent", "gradients-by-complex-step"])
    assert found.passed == ("gradients-by-complex-step",)
    ((name, why),) = found.left_out
    assert name == "gradients-by-tangent" and why.startswith("no rule is known for the derivative of sort")


class Raises(Misbehaving):
    def step(self, *_):
        raise ZeroDivisionError("no such [step]")


def test_an_exception_is_what_was_found_and_its_cause_is_kept():
    with pytest.raises(AssertionError, match=r"ZeroDivisionError: no such \[step\]") as error:
        check_cell(Raises)
    assert isinstance(error.value.__cause__, ZeroDivisionError) and "api-version" not in str(error.value)
    with pytest.raises(AssertionError, match="ZeroDivisionError") as error:
        CellCheck("run-equals-scan")(Raises)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


# ---- how it is called ------------------------------------------------------------------------------------------------
def test_what_a_cell_may_be():
    for cell in (Misbehaving, Misbehaving(2, 5), lambda n_in, n: Misbehaving(n_in, n), "elman"):
        found = check_cell(cell, backend="numpy", checks=["states-as-declared", "api-version"])
        assert found.passed == ("states-as-declared", "api-version") and found.left_out == ()
    assert str(found) == "elman on backend numpy: 2 checks passed"


def test_without_array_api_strict_its_checks_are_left_out(monkeypatch):
    monkeypatch.setattr(StrictBackend, "version", classmethod(lambda _: None))
    found = check_cell("elman", backend="numpy", checks=["api-version", *ON_STRICT])
    assert found.passed == ("api-version",) and tuple(name for name, _ in found.left_out) == ON_STRICT
    assert "left out: complex-safe: backend strict cannot be used: array-api-strict is not installed" in str(found)
    with pytest.raises(LeftOut):  # a unittest.SkipTest: pytest skips
        CellCheck("complex-safe", "numpy")("elman")


def test_the_backend_is_taken_from_the_call_then_the_check_then_the_environment(monkeypatch):
    seen = []
    monkeypatch.setitem(CHECKS, "api-version", lambda _, backend: seen.append((backend.name, backend.device)) or "")
    pytest.importorskip("array_api_strict")
    monkeypatch.setenv("RNNBP_BACKEND", "strict")
    CellCheck("api-version")("elman")
    CellCheck("api-version", "numpy")("elman")
    CellCheck("api-version", "numpy")("elman", rnnbp.backend("strict", "device1"))
    check_cell("elman", checks=["api-version"])
    assert seen == [("strict", None), ("numpy", None), ("strict", "device1"), ("strict", None)]


def test_mistakes_are_one_line():
    assert "did you mean complex-safe" in refusal(lambda: check_cell("elman", checks=["complex-save"]))
    assert "unknown check" in refusal(lambda: parametrize_with_checks(["elman"], checks=["all"]))
    assert "did you mean elman" in refusal(lambda: check_cell("elmann"))
    assert "takes a cell, NAME" in refusal(lambda: check_cell(3))
    assert "takes a cell, NAME" in refusal(lambda: check_cell(lambda *_: None))
    assert "did you mean numpy" in refusal(lambda: check_cell("elman", backend="numpi"))


def test_names_and_ids_are_readable():
    mark = parametrize_with_checks(["lstm:peepholes=true", Misbehaving(2, 3)], checks=["complex-safe"])
    ids = [p.id for p in mark.args[1]]
    assert ids == ["lstm:peepholes=true-complex-safe", "Misbehaving-complex-safe"]
    assert all(check.__doc__ for check in CHECKS.values())
    assert all(name.replace("-", "").isalnum() for name in CHECKS)


def test_check_cell_needs_no_pytest():
    code = "import sys; from rnnbp.testing import check_cell; check_cell('elman', checks=['is-a-value']); "
    code += "print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_in_pytest_each_check_is_a_test(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "from misbehaving_cells import misbehaving\n"
        "from rnnbp_strict import StrictBackend\n"
        "from rnnbp.testing import parametrize_with_checks\n"
        "StrictBackend.version = classmethod(lambda _: None)\n"
        "names = ['api-version', 'run-equals-scan', 'reverse-turns-time', 'complex-safe']\n"
        "@parametrize_with_checks([misbehaving('reverse ignored')], checks=names)\n"
        "def test_cell(cell, check):\n    check(cell)\n"
    )
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "1 failed, 2 passed, 1 skipped" in done.stdout
    assert "[Misbehaving(fault='reverse ignored')-reverse-turns-time]" in done.stdout
