"""The worked examples of docs/examples: each runs, and says what its first lines promise."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnbp
from rnnbp.checking.foreign.bystep import ByStep
from rnnbp.checking.foreign.findings import ByTime, Named, Remark
from rnnbp.checking.properties.examination import Properties
from rnnbp.testing import check_cell

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
NEEDS = {
    "elman_backend": "array_api_strict",  # three checks of the conformance suite run on it
    "jax_function": "jax",
    "numpy_lstm": "numpy",
    "thinc_lstm": "thinc",
    "torch_function": "torch",
}


def example(name):
    """The example as a module; skipped where its library is not installed."""
    pytest.importorskip(NEEDS[name])
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reports(name):
    """What the example's `check` finds."""
    return example(name).check()


def named(report):
    return {f.tensor: f.bug for f in report.findings if isinstance(f, Named)}


def remarks(report):
    return " | ".join(f.text for f in report.findings if isinstance(f, Remark))


def missed(report):
    (found,) = (f for f in report.findings if isinstance(f, Properties))
    return {name: fault for (_, name), fault in found.faults.items()}


def test_every_example_has_a_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)


@pytest.mark.parametrize("name", ["numpy_lstm"])
def test_an_example_is_a_script(name):
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "passed: 4 of 4" in done.stdout and "FAILED: 4 of 4 tensors are wrong" in done.stdout and not done.stderr


def test_the_numpy_lstm_is_right_and_its_fault_begins_at_the_second_step():
    right, wrong = reports("numpy_lstm")
    assert right.passed and right.worst.error < 1e-13
    (table,) = (f for f in wrong.findings if isinstance(f, ByTime))
    assert not wrong.passed and max(table.errors[0]) < 1e-13 and all(row[0] > 0.1 for row in table.errors[1:])
    of_dx = next(f for f in wrong.findings if isinstance(f, ByStep))
    assert of_dx.tensor == "X" and of_dx.where == "recurrence (s < t)"


def test_the_torch_function_is_right_and_the_missing_slope_is_found():
    right, wrong = reports("torch_function")
    assert right.passed and right.worst.error < 1e-14
    assert [c.tensor for c in wrong.failures] == ["a"] and 12 <= wrong.worst.index[1] < 18  # the output gate


def test_the_jax_function_is_right_by_both_methods():
    states, norm = reports("jax_function")
    assert states.passed and {c.method for c in states.checks} == {"complex-step"}
    assert norm.passed and {c.method for c in norm.checks} == {"five-point"}
    assert "drops the imaginary part" in remarks(norm)


def test_the_faults_of_thinc_are_found_and_named():
    portable, cython = reports("thinc_lstm")
    assert len(portable.failures) == len(cython.failures) == 5
    assert named(portable) == dict.fromkeys(("X", "Wx", "bx", "Wh", "bh"), "all-zero")
    assert named(cython) == {"X": "first-step-skipped", "bh": "all-zero"}
    assert "dWx = Wx itself" in missed(cython)["zero at zero cotangent"]
    assert "dWh = Wh itself" in missed(cython)["zero at zero cotangent"]
    for report in (portable, cython):
        assert missed(report)["inputs untouched"] == "the cotangent written to"
        assert max(c.tolerance for c in report.checks) < 1e-2


def test_the_backend_s_own_scan_is_right_and_is_what_was_checked():
    rnn, lstm, suite = reports("elman_backend")
    assert rnn.passed and lstm.passed and rnn.worst.error < 1e-14
    paths = [{c.path for c in report.checks if c.level == "sequence"} for report in (rnn, lstm)]
    assert paths == [{"portable", "by hand"}, {"portable"}]
    assert len(suite.passed) > 30 and not suite.left_out


def test_a_fault_in_the_backend_s_own_scan_is_seen(monkeypatch):
    module = example("elman_backend")
    right = module.weights
    monkeypatch.setattr(module, "weights", lambda xs, hs, da: right(xs, hs[[*range(1, len(hs)), 0]], da))
    found = rnnbp.gradcheck("rnn", backend=module.ElmanBackend())
    assert {(c.path, c.tensor) for c in found.failures} == {("by hand", "U")}
    with pytest.raises(AssertionError, match="gradient"):
        check_cell("rnn", backend=module.ElmanBackend())


def test_the_page_shows_the_backend_as_it_is():
    text = (EXAMPLES / "elman_backend.py").read_text(encoding="utf-8")
    page = (EXAMPLES.parent / "backends.md").read_text(encoding="utf-8")
    shown = re.findall(r"which is run -->\n```python\n(.*?)```", page, re.S)
    assert len(shown) == 2 and all(block in text for block in shown)
