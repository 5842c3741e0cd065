"""The conformance suite over every built-in cell, and the options under which it has other equations, on each backend.

The cells of `cases.CORE` go through each feature of a scan in tests of their own besides.
"""

from __future__ import annotations

import pytest
from conftest import backend_or_skip

from rnnbp.checking.catalogue import builtin_specs
from rnnbp.testing import check_cell

# JAX compiles every operation for every shape, half a minute for a cell: there each cell's gradients are checked, and
# what depends on the library; the rest is about the cell, which three other libraries say enough about
ON_JAX = ("gradients-by-complex-step", "gradients-of-one-step", "dtype-carried", "device-carried")


@pytest.mark.parametrize("spec", builtin_specs())
def test_every_built_in_cell(backend, spec):
    check_cell(spec, backend=backend, checks=ON_JAX if backend.name == "jax" else None)


def test_one_cell_goes_through_all_checks_on_jax():
    check_cell("lstm:peepholes=true", backend=backend_or_skip("jax"))
