"""The conformance suite over every built-in cell, and the options under which it has other equations, on each backend.

The cells of `cases.CORE` go through each feature of a scan in tests of their own besides.
"""

from __future__ import annotations

import pytest

from rnnbp.checking.catalogue import builtin_specs
from rnnbp.testing import check_cell


@pytest.mark.parametrize("spec", builtin_specs())
def test_every_built_in_cell(backend, spec):
    check_cell(spec, backend=backend)
