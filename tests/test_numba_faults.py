"""Faults planted in the generated Numba source: the comparison with the portable scan finds each of them."""

from __future__ import annotations

import pytest
from cases import WAYS
from helpers import portable, problem, relative_error, tolerance
from numba_scans import cell, fused, results, scanning
from rnnbp_numpy.caching import _run, _written
from rnnbp_numpy.generating import source

FAULTS = {
    "an error flows back over a reset": ("in range(H if resets[step, row] else 0)", "in range(0)"),
    "a reset is forgotten": ("if fresh else c_all[now_c, row]", "if False else c_all[now_c, row]"),
    "a masked step changes the state": ("c_all[then_c, row, unit] = c_row[unit]", "c_all[then_c, row, unit] = F(0)"),
    "a masked step has an error": ("dz[step - start, row, column] = F(0)", "dz[step - start, row, column] = F(1)"),
    "a parameter's gradient is not summed": ("dpf_sum[unit] += ", "dpf_sum[unit] = "),
    "outputs count outside of the window": ("if step >= at else zero", "if step >= start else zero"),
    "what U sends back is forgotten": ("h_error[row, unit] += back[", "h_error[row, unit] += F(0) * back["),
    "a kept value in another's place": ("] = f\n", "] = i\n"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault, monkeypatch, tmp_path):
    right, wrong = FAULTS[fault]
    q, options, windows = problem(cell("lstm:peepholes=true")), WAYS["mask and resets"], [None, (1, 3, 5)]
    text = source(q.cell, "float64")
    assert text.count(right) == 1
    spoiled = _run("spoiled", _written(tmp_path / "spoiled.py", text.replace(right, wrong)))
    monkeypatch.setattr(scanning, "kernel", lambda *_: spoiled)
    found, expected = results(q, fused, windows, **options), results(q, portable, windows, **options)
    assert max(relative_error(found[n], expected[n]) for n in expected) > 1e6 * tolerance()
