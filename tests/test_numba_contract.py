"""The NumPy backend's fast scan keeps the contract: nothing of the caller's is written to, a backward is repeatable and
linear, arrays may lie as they like.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import FunctionType

import numpy as np
import pytest
from cases import WAYS
from helpers import B, I, T, agree, forward, frozen, named, portable, problem, relative_error, replaced, tensors
from helpers import tolerance as limit
from numba_scans import FUSED, cell, fused, results

BOTH = WAYS["mask and resets"]


def same(found, expected):
    """Bit for bit."""
    assert list(found) == list(expected)
    return all(np.array_equal(found[n], expected[n]) for n in expected)


def held(x, seen=None):
    """All arrays that a backward holds on to."""
    seen = {} if seen is None else seen
    if id(x) in seen:
        return []
    seen[id(x)] = x
    if isinstance(x, np.ndarray):
        return [x]
    parts = []
    if isinstance(x, FunctionType):
        parts = [c.cell_contents for c in x.__closure__ or ()]
    elif is_dataclass(x) and not isinstance(x, type):
        parts = [getattr(x, f.name) for f in fields(x)]
    elif isinstance(x, (tuple, list)):
        parts = list(x)
    elif isinstance(x, dict):
        parts = list(x.values())
    return [a for part in parts for a in held(part, seen)]


@pytest.mark.parametrize("name", FUSED)
def test_a_backward_is_repeatable_and_writes_to_nothing_it_holds(name):
    q, other = problem(cell(name), dtype="float32"), problem(cell(name), 7, T + 2, B + 4, "float32")
    *_, backward = forward(q, fused, **BOTH)
    kept = held(backward)
    before = [a.copy() for a in kept]
    assert sum(a.size for a in kept) > T * B * (I + q.cell.hidden_size)
    first, part = (named(*backward(q.dys, q.ds_T, w), q.cell) for w in (None, (1, 2, 4)))
    results(other, fused)  # another scan of the same cell, of another size, in between
    backward(2 * q.dys, q.ds_T, (0, 3, T))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(kept, before, strict=True))
    assert same(named(*backward(q.dys, q.ds_T), q.cell), first)
    assert same(named(*backward(q.dys, q.ds_T, (1, 2, 4)), q.cell), part)


@pytest.mark.parametrize("way", ["plain", "mask, resets, reverse"])
@pytest.mark.parametrize("name", FUSED)
def test_the_callers_arrays_stay_as_they_were(name, way):
    q = problem(cell(name))  # read-only all of it
    expected = results(q, fused, **WAYS[way])
    own = q._replace(dys=q.dys.copy(), ds_T=tuple(d.copy() for d in q.ds_T))
    for n, v in tensors(q).items():
        own = replaced(own, n, v.copy())
    own = own._replace(data={n: d.copy() for n, d in q.data.items()})
    assert same(results(own, fused, **WAYS[way]), expected)
    for a, b in ((own.dys, q.dys), *zip(own.ds_T, q.ds_T, strict=True), *((own.data[n], q.data[n]) for n in q.data)):
        assert a.flags.writeable and np.array_equal(a, b)
    for n, v in tensors(own).items():
        assert v.flags.writeable and np.array_equal(v, tensors(q)[n])


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("way", ["plain", "mask, resets, reverse"])
def test_what_is_returned_is_read_only_and_the_backward_does_not_hang_on_it(name, way):
    q = problem(cell(name))
    ys, s_T, backward = forward(q, fused, **WAYS[way])
    for a in (ys, *s_T):
        assert a.flags.c_contiguous and not a.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0
    assert not any(np.shares_memory(z, first) for z in s_T for first in q.s0)
    first = named(*backward(q.dys, q.ds_T), q.cell)
    for d in first.values():
        assert not any(np.shares_memory(d, a) for a in held(backward))  # a caller may scale gradients in place
    agree(first, named(*forward(q, portable, **WAYS[way])[2](q.dys, q.ds_T), q.cell))


LAYOUTS = {
    "turned": lambda v: frozen(np.swapaxes(v, 0, -1).copy()).swapaxes(0, -1),
    "with steps": lambda v: frozen(np.repeat(v, 2, axis=-1))[..., ::2],
    "backwards": lambda v: frozen(np.flip(v))[tuple([slice(None, None, -1)] * v.ndim)],
    "Fortran": lambda v: np.asfortranarray(v),
    "unaligned rows": lambda v: frozen(np.pad(v, [(0, 0)] * (v.ndim - 1) + [(1, 2)]))[..., 1:-2],
}


@pytest.mark.parametrize("lies", LAYOUTS)
@pytest.mark.parametrize("name", FUSED)
def test_arrays_may_lie_as_they_like(name, lies):
    q, laid = problem(cell(name)), LAYOUTS[lies]
    r = q._replace(dys=laid(q.dys), ds_T=tuple(map(laid, q.ds_T)), data={n: laid(d) for n, d in q.data.items()})
    for n, v in tensors(q).items():
        r = replaced(r, n, laid(v))
    flags = {n: laid(f).astype(bool) for n, f in BOTH.items()}
    agree(results(r, fused, **flags), results(q, portable, **BOTH))


@pytest.mark.parametrize("name", FUSED)
def test_cotangents_with_copies_and_complex_ones(name):
    """A backward is linear: what it gives for several cotangents, or for complex ones, is what they give each."""
    q, rng = problem(cell(name)), np.random.default_rng(1)
    dys = frozen(rng.standard_normal((2, 1, *q.dys.shape)))
    ds_T = tuple(frozen(rng.standard_normal((3, *d.shape))) for d in q.ds_T)
    turned = frozen(q.dys + 1j * rng.standard_normal(q.dys.shape), "complex128")
    (*_, ours), (*_, theirs) = forward(q, fused, **BOTH), forward(q, portable, **BOTH)
    for cotangents in ((dys, ds_T), (dys, None), (None, ds_T), (turned, q.ds_T), (q.dys, tuple(1j * d for d in ds_T))):
        found, expected = (named(*back(*cotangents), q.cell) for back in (ours, theirs))
        for n in expected:  # what does not depend on the cotangents may have been broadcast
            assert relative_error(*np.broadcast_arrays(found[n], expected[n])) <= limit(), n
