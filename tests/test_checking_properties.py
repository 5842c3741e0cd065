"""Every cell has every property on every backend; a cell with one of them broken misses that one, and is told how."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import rnnbp
from rnnbp.checking import all_specs
from rnnbp.checking.properties.catalogue import OF_BACKWARDS, PROPERTIES
from rnnbp.checking.properties.examination import Properties, examine
from rnnbp.checking.properties.trials import owned, read_only, strided
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.verdicts import setting
from rnnbp.unrolling import unroll


def results(cell, backend="numpy", dtype="float64", time_steps=4, batch=2):
    """What each property says of the cell, by its name."""
    problem = draw(cell, time_steps, batch, 0, dtype, padded=True)
    how = setting(backend, dtype, "complex-step", "full")
    return {name: ask(cell, problem, how) for name, ask in PROPERTIES.items()}


@pytest.mark.parametrize("spec", all_specs())
def test_every_cell_has_every_property_on_every_backend(spec, backend):
    assert results(rnnbp.cell(spec, 3, 5), backend) == dict.fromkeys(PROPERTIES, "")


@pytest.mark.parametrize("sizes", [(1, 1), (6, 3)])
@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru:reset=before"])
def test_in_float32_and_at_other_sizes_too(spec, sizes):
    assert results(rnnbp.cell(spec, 3, 5), "numpy", "float32", *sizes) == dict.fromkeys(PROPERTIES, "")


def test_on_a_device_that_is_not_the_first(device1):
    assert results(rnnbp.cell("gru", 3, 5), device1) == dict.fromkeys(PROPERTIES, "")


@dataclass(frozen=True)
class Broken(rnnbp.PointwiseCell):
    """An Elman cell whose own scan is the library's loop with one property broken."""

    fault: str = ""
    gates = ("h",)

    def pointwise(self, xp, a, s, p, e):
        del p, e
        t, norm = xp.tanh(a[0]), np.sqrt(np.sum(s[0] * s[0], axis=-1, keepdims=True))
        dh = s[0] / norm if self.fault == "divides by |h|" else None
        return (t,), lambda ds: ((ds[0] * (1 - t * t),), (dh,), {})

    def scan(self, xp, p, xs, s0, **options):
        if self.fault == "writes to xs":
            xs[0, 0, 0] += 1.0
        if self.fault == "needs order":
            assert xs.flags.c_contiguous
        if self.fault == "reads memory":
            u = p["U"]  # as a kernel does that gets an address and a shape
            p = p | {"U": np.lib.stride_tricks.as_strided(u, u.shape, (8 * u.shape[1], 8))}
        ys, s_T, back = unroll(xp, self, p, xs, s0, **options)
        calls = []

        def backward(dys=None, ds_T=None, window=None):
            if self.fault == "needs dys":
                dys = dys + 0
            calls.append(None)
            dp, dxs, ds = back(dys, ds_T, window)
            return self.spoil(xp, dp, p, len(calls)), dxs, ds

        return (ys.astype("float32") if self.fault == "narrow" else ys), s_T, backward

    def spoil(self, xp, dp, p, calls):
        if self.fault == "dW = W":
            return dp | {"W": p["W"] if not dp["W"].any() else dp["W"]}
        if self.fault == "adds up":
            return dp | {"U": dp["U"] * calls}
        if self.fault == "clips":
            return {n: xp.clip(d, -5.0, 5.0) for n, d in dp.items()}
        if self.fault == "clips far off":
            return {n: xp.clip(d, -1000.0, 1000.0) for n, d in dp.items()}
        if self.fault == "normalises":
            return {n: d / max(float(np.linalg.norm(d)), 1e-300) for n, d in dp.items()}
        if self.fault == "renames":
            return {n.lower(): d for n, d in dp.items()}
        return dp


FAULTS = {
    "dW = W": {"zero at zero cotangent": "dW is W itself"},
    "adds up": {"repeatable": "dU changes when backward is called again"},
    "clips": {"linear in the cotangent": "clipping or normalising"},
    "clips far off": {"linear in the cotangent": "clipping or normalising"},
    "divides by |h|": {"finite from the initial state": "dh0 is not finite"},
    "normalises": {"linear in the cotangent": "dW by "},
    "needs dys": {"None means zero": "unsupported operand"},
    "writes to xs": {"inputs untouched": "X was written to", "read-only inputs": "read-only"},
    "needs order": {"non-contiguous inputs": "AssertionError"},
    "reads memory": {"non-contiguous inputs": "is another one"},
    "narrow": {"shapes, dtypes, devices": "ys is float32, not float64"},
    "renames": {"shapes, dtypes, devices": "gradients are named w, u, b, X, h0"},
}


def examined(fault):
    cell = Broken(3, 5, fault=fault)
    problem = draw(cell, 4, 2, 0, padded=False)
    return examine("toy", problem, setting("numpy", "float64", "complex-step", "full"))


def test_the_toy_without_a_fault_has_all():
    found = examined("")
    assert found.passed and str(found).startswith(
        "toy: all properties hold (sequence 9, step 8): None means zero, zero"
    )
    assert {level: set(names) for level, names in found.missed.items()} == {
        "sequence": set(PROPERTIES),
        "step": {*OF_BACKWARDS, "finite from the initial state"},
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_property_is_named_and_says_how(fault):
    found = examined(fault)
    assert not found.passed
    for name, words in FAULTS[fault].items():
        said = found.missed["sequence"][name]
        assert words in said, found.missed
        assert f"toy: NOT {name} (sequence): {said}" in str(found)


@pytest.mark.parametrize("fault", ["dW = W", "needs dys", "needs order", "reads memory", "narrow"])
def test_the_other_properties_still_hold(fault):
    assert set(examined(fault).faults) == {("sequence", name) for name in FAULTS[fault]}


def test_a_finding_is_plain_in_json():
    found = examined("clips").to_json()
    assert found["cell"] == "toy" and found["passed"] is False
    assert set(found["missed"]["sequence"]) == set(PROPERTIES)


def test_the_cell_asked_is_the_one_given():
    right, wrong = Broken(3, 5), Broken(3, 5, fault="dW = W")
    problem, how = draw(right, 4, 2, 0, padded=False), setting("numpy", "float64", "complex-step", "full")
    ask = PROPERTIES["zero at zero cotangent"]
    assert (
        ask(right, problem, how) == ""
        and ask(wrong, problem, how) == ask(wrong, replace(problem, cell=wrong), how) != ""
    )
    assert isinstance(examine("x", problem, how), Properties)


def test_views_are_apart_and_turned_and_others_are_not():
    """Else two properties would say nothing."""
    how, value = setting("numpy", "float32", "complex-step", "full"), np.arange(24.0).reshape(2, 3, 4)
    view, own, fixed = strided(how)(value), owned(how)(value), read_only(how)(value)
    assert view.strides == (8, 16, 48) and own.flags.c_contiguous and own.flags.writeable
    assert not fixed.flags.writeable
    assert all(np.array_equal(a, value) and a.dtype == np.float32 for a in (view, own, fixed))
    assert strided(how)(value > 3).dtype == bool and strided(how)(np.arange(3)).dtype == np.int64
    assert strided(how)(np.asarray(2.0)).shape == ()


def test_they_are_examined_where_every_entry_is_checked_or_when_asked_for():
    def kinds(**options):
        return {finding.kind for finding in rnnbp.gradcheck("gru", time_steps=3, **options).findings}

    assert "properties" in kinds() and "properties" in kinds(method="directional", properties=True)
    assert "properties" not in kinds(properties=False) | kinds(method="directional")
