"""The NumPy backend's fast scan against the portable one: every pointwise cell, every option, odd sizes, any layout.

Derivatives that know nothing of either, complex steps, are in test_scanning.py, where the backend takes this path.
"""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from cases import MASK, RESETS, WAYS
from fast_cells import check_against_portable
from helpers import B, H, I, T, agree, forward, named, portable, problem, relative_error, tolerance
from hypothesis import given, settings
from hypothesis import strategies as st
from numba_scans import FUSED, PORTABLE, cell, fused, raw, results, scanning

ODD = ["lstm:peepholes=true", "gru", "rnn", "mgu", "slstm"]


# ---- against the portable scan ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUSED)
def test_it_equals_the_portable_scan(name, way, dtype):
    check_against_portable(fused, name, way, dtype)


@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(ODD),
    dtype=st.sampled_from(["float64", "float32"]),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 19), st.integers(1, 9), st.integers(1, 37)),
    flags=st.sets(st.sampled_from(["mask", "resets", "reverse"])),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_any_sizes(name, dtype, sizes, flags, threads, seed):
    steps, batch, n_in, n = sizes
    rng = np.random.default_rng(seed)
    options = {flag: rng.random((steps, batch)) < 0.6 for flag in flags - {"reverse"}} | {"reverse": "reverse" in flags}
    q = problem(cell(name, n_in, n), seed, steps, batch, dtype)
    with patch.object(scanning, "worth", lambda _: threads):
        found = results(q, fused, **options)
    expected = results(q, portable, **options)
    for key in expected:  # a rounding for each of the T B (I + H) products, as in `tolerance`, and at least that one's
        limit = tolerance(dtype) * max(1, steps * batch * (n_in + n) / (T * B * (I + H)))
        assert relative_error(found[key], expected[key]) <= limit, key


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUSED)
def test_without_cotangents_and_with_some(name, dtype):
    q, options = problem(cell(name), dtype=dtype), WAYS["mask and resets"]
    for cotangents in ((), (q.dys,), (None, q.ds_T), (q.dys, (None, *q.ds_T[1:]))):
        ours, theirs = (results(q, way, [None, (1, 2, T)], cotangents, **options) for way in (fused, portable))
        agree(ours, theirs, dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUSED)
def test_a_forward_alone_keeps_nothing_and_gives_the_same_bits(name, way):
    q = problem(cell(name), dtype="float32")
    ys, s_T, backward = forward(q, partial(fused, keep=False), **WAYS[way])
    kept = forward(q, fused, **WAYS[way])
    assert backward is None
    assert np.array_equal(ys, kept[0]) and all(np.array_equal(a, b) for a, b in zip(s_T, kept[1], strict=True))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", FUSED)
def test_what_pads_a_sequence_may_be_anything(name, reverse, keep):
    q, options = problem(cell(name)), {"mask": MASK, "resets": RESETS, "reverse": reverse}
    blank = {n: np.where(MASK[:, :, None], d, np.nan) for n, d in {"xs": q.xs, "dys": q.dys, **q.data}.items()}
    spoiled = q._replace(xs=blank.pop("xs"), dys=blank.pop("dys"), data=blank)
    if keep:
        found, expected = results(spoiled, fused, **options), results(q, fused, **options)
        assert all(np.array_equal(found[n], expected[n]) for n in expected)
    else:
        ours, theirs = (forward(p, partial(fused, keep=False), **options) for p in (spoiled, q))
        assert np.array_equal(ours[0], theirs[0])
        assert all(np.array_equal(a, b) for a, b in zip(ours[1], theirs[1], strict=True))


# ---- what is left to the portable path -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PORTABLE)
def test_cells_without_kernels_are_declined(name):
    assert forward(problem(cell(name)), raw) is NotImplemented


def test_copies_complex_numbers_halves_and_records_are_declined():
    q = problem(cell("lstm:peepholes=true"))
    assert forward(q, raw) is not NotImplemented
    assert forward(q, raw, record=True) is NotImplemented
    assert forward(q._replace(xs=q.xs[None]), raw) is NotImplemented
    assert forward(q._replace(s0=tuple(z[None] for z in q.s0)), raw) is NotImplemented
    assert forward(q._replace(xs=q.xs + 0j), raw) is NotImplemented
    assert forward(q._replace(s0=(q.s0[0], q.s0[1] + 0j)), raw) is NotImplemented
    for name in ("W", "U", "b", "pi"):
        for other in (q.params[name][None], q.params[name] + 0j, q.params[name].astype("float32")):
            assert forward(q._replace(params={**q.params, name: other}), raw) is NotImplemented
    assert forward(problem(cell("lstm:peepholes=true"), dtype="float16"), raw) is NotImplemented
    data = problem(cell("data"))
    for other in (data.data["kept"][None], data.data["kept"] + 0j):
        assert forward(data._replace(data={"kept": other}), raw) is NotImplemented


def test_subclasses_of_arrays_are_declined():
    q = problem(cell("rnn"))
    assert forward(q._replace(xs=np.ma.masked_array(q.xs)), raw) is NotImplemented


class Scaled(type(cell("rnn"))):
    """An affine part of its own."""

    def project(self, xp, p, x):
        return 2 * super().project(xp, p, x)


class Branching(type(cell("rnn"))):
    """Untraceable: it looks at a value."""

    def pointwise(self, xp, a, s, p, e):
        return super().pointwise(xp, a if a[0].sum() else a, s, p, e)


@pytest.mark.parametrize("kind", [Scaled, Branching])
def test_what_no_graph_tells_is_declined_and_runs(kind):
    import rnnbp

    q = problem(kind(I, H))
    assert forward(q, raw) is NotImplemented
    (ys, _, ours), (ys_too, _, theirs) = forward(q, rnnbp.scan), forward(q, portable)
    assert np.array_equal(ys, ys_too)
    agree(named(*ours(q.dys, q.ds_T), q.cell), named(*theirs(q.dys, q.ds_T), q.cell))
