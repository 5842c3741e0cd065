"""The fused scan at random sizes, on a GPU where there is one and on the host: the same tests for both."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import backend_or_skip
from fast_cells import FUSED, cell
from helpers import B, H, I, T, forward, named, portable, problem, relative_error, tolerance
from host_device import COMPILER, Host
from rnnbp_cupy.devices import Cuda
from rnnbp_cupy.scanning import scan

import rnnbp

SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
REST = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}


class Place:
    """A device, and the way to it and back."""

    def __init__(self, name):
        if name == "cupy":
            self.device, self.backend = Cuda(), backend_or_skip("cupy")
        elif COMPILER is None:
            pytest.skip("there is no C compiler to build the kernels for the host")
        else:
            self.device, self.backend = Host(), rnnbp.backend("numpy")

    def there(self, x):
        if isinstance(x, dict):
            return {n: self.there(a) for n, a in x.items()}
        return tuple(map(self.there, x)) if isinstance(x, tuple) else self.device.xp.asarray(x)

    def results(self, q, window=None, **options):
        """All that a scan and its backward give, on the host in float64."""
        cells, arrays = q.cell, {n: self.there(part) for n, part in q._asdict().items() if n != "cell"}
        options |= {n: self.there(flag) for n, flag in options.items() if n in ("mask", "resets")}
        given = REST | options | {"data": arrays["data"]}
        found = scan(self.device, cells, arrays["params"], arrays["xs"], arrays["s0"], **given)
        assert found is not NotImplemented
        ys, s_T, backward = found
        everything = {"ys": ys, **{f"s_T.{k}": z for k, z in enumerate(s_T)}}
        everything |= named(*backward(arrays["dys"], arrays["ds_T"], window), cells)
        return {n: self.backend.to_numpy(a).astype("float64") for n, a in everything.items()}


@pytest.fixture(params=["host", "cupy"])
def place(request):
    return Place(request.param)


def drawn(name, seed):
    """A problem of random sizes, few of them multiples of 8, with random options."""
    rng = np.random.default_rng([seed, FUSED.index(name)])
    steps, batch, n_in, n = (int(rng.integers(1, top)) for top in (9, 7, 40, 200))
    flags = {flag: rng.random((steps, batch)) < 0.7 for flag in ("mask", "resets") if rng.random() < 0.5}
    start = int(rng.integers(0, steps))
    lo = int(rng.integers(start, steps))
    reverse = bool(rng.random() < 0.3)
    window = None if reverse else (start, lo, int(rng.integers(lo + 1, steps + 1)))
    q = problem(cell(name, n_in, n), seed, steps, batch)
    return q, flags | {"reverse": reverse}, window, max(1, steps * batch * (n_in + n) / (T * B * (I + H)))


def reference(q, window, **options):
    ys, s_T, backward = forward(q, portable, **options)
    found = {"ys": ys, **{f"s_T.{k}": z for k, z in enumerate(s_T)}}
    return found | named(*backward(q.dys, q.ds_T, window), q.cell)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FUSED)
def test_random_sizes_and_options(place, name, seed):
    q, options, window, size = drawn(name, seed)
    expected = reference(q, window, **options)
    found, again = (place.results(q, window, **options) for _ in range(2))
    for n in expected:
        assert relative_error(found[n], expected[n]) <= size * tolerance(), n
        assert np.array_equal(found[n], again[n]), f"{n}: the second run gives other bits"


@pytest.mark.parametrize("dtype", ["float32", *SPACING])
@pytest.mark.parametrize("name", FUSED)
def test_other_precisions(place, name, dtype):
    """Narrow numbers are stored once at each step: T spacings, on the average over a tensor."""
    kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16) if dtype == "bfloat16" else np.dtype(dtype)

    def to(x, kind):
        if isinstance(x, dict):
            return {n: to(a, kind) for n, a in x.items()}
        return tuple(to(a, kind) for a in x) if isinstance(x, tuple) else x.astype(kind)

    q = problem(cell(name))
    small = q._replace(**{n: to(part, kind) for n, part in q._asdict().items() if n != "cell"})
    wide = small._replace(**{n: to(part, "float64") for n, part in small._asdict().items() if n != "cell"})
    found, expected = place.results(small), reference(wide, None)
    for n in expected:
        assert relative_error(found[n], expected[n]) <= (
            T * SPACING[dtype] if dtype in SPACING else tolerance(dtype)
        ), n


# ---- what only a GPU can show ----------------------------------------------------------------------------------------
def test_the_fast_path_on_any_stream_of_cupy():
    place = Place("cupy")
    import cupy

    q = problem(cell("lstm:peepholes=true", 33, 65))
    expected = place.results(q)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        found = place.results(q)
        stream.synchronize()
    assert all(np.array_equal(found[n], expected[n]) for n in expected)
    *_, backward = rnnbp.scan(q.cell, place.there(q.params), place.there(q.xs), place.there(q.s0))
    assert backward.__qualname__.startswith("backward_of")


def test_products_of_cupy_in_tf32_where_that_is_asked_for():
    place = Place("cupy")
    import cupy
    from cupy._core import _routines_linalg as linalg

    if int(cupy.cuda.Device().compute_capability) < 80:
        pytest.skip("this GPU has no TF32")
    q = problem(cell("lstm", 128, 128), dtype="float32")
    strict, before = place.results(q), linalg.get_compute_type("float32")
    try:
        linalg.set_compute_type("float32", linalg.COMPUTE_TYPE_TF32)
        fast = place.results(q)
    finally:
        linalg.set_compute_type("float32", before)
    errors = [relative_error(fast[n], strict[n]) for n in strict]
    assert 0 < max(errors) <= T * 2.0**-10
