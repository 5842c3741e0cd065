"""The built-in cells that are not in `cases.CORE`: kernels made of their definition alone give what the portable scan
gives, on the NumPy backend's two fast paths and by the text for a GPU, built for the host.
"""

from __future__ import annotations

from functools import partial

import pytest
import rnnbp_cupy.scanning
from cases import CORE, WAYS, make
from fast_cells import OFF, declined, results
from helpers import agree, portable, problem
from host_device import COMPILER, Host
from rnnbp_numpy import buffered

from rnnbp.checking.catalogue import builtin_specs
from rnnbp.pointwise import PointwiseCell

FAMILY = [spec for spec in builtin_specs() if spec.partition(":")[0] not in CORE]
TAKEN = [spec for spec in FAMILY if isinstance(make(spec), PointwiseCell)]


def compiled():
    pytest.importorskip("numba")
    from numba_scans import scanning

    return scanning.scan


def for_a_gpu():
    if COMPILER is None:
        pytest.skip("there is no C compiler to build the kernels for the host")
    return partial(rnnbp_cupy.scanning.scan, Host())


PATHS = {"compiled": compiled, "buffered": lambda: buffered.scan, "text for a GPU": for_a_gpu}


@pytest.mark.parametrize("spec", TAKEN)
def test_every_pointwise_cell_is_taken(spec):
    assert declined(spec) is None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("spec", TAKEN)
def test_outputs_and_gradients_with_a_mask_and_through_a_window(spec, path, dtype):
    fast, q = PATHS[path](), problem(make(spec), dtype=dtype)

    def way(*args, **options):
        found = fast(*args, **OFF | options)
        assert found is not NotImplemented
        return found

    for name, windows in (("plain", [None]), ("mask and resets", [None, (1, 2, 4)])):
        found = results(q, way, windows, **WAYS[name])
        assert {a.dtype.name for a in found.values()} == {dtype}
        agree(found, results(q, portable, windows, **WAYS[name]), dtype)
