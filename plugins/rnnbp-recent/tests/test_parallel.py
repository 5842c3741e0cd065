"""The parallel scan: equal to the loop in all that a scan has, stable, and logarithmic in the number of operations."""

from __future__ import annotations

import numpy as np
import pytest
from rnnbp_recent.mingru import MinGRU, ParallelMinGRU
from rnnbp_recent.minlstm import MinLSTM, ParallelMinLSTM
from rnnbp_recent.parallel import recurrence, recurrence_backward

import rnnbp

B, SIZE_IN, SIZE = 3, 4, 5
LENGTHS = [1, 2, 5, 33]
PAIRS = {"mingru": (ParallelMinGRU, MinGRU), "minlstm": (ParallelMinLSTM, MinLSTM)}


def close(found, wanted, steps):
    """A rounding for each of the T B (I + H) products of an entry, and 10 for how they add up, of the largest entry."""
    limit = 10 * steps * B * (SIZE_IN + SIZE) * float(np.finfo(np.float64).eps)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit * max(1.0, np.max(np.abs(wanted))))


# ---- the recurrence --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("steps", [*LENGTHS, 1000])
@pytest.mark.parametrize("smallest", [0.5, 1e-300, 0.0])
def test_the_recurrence_is_the_loop(steps, smallest):
    """For a that are as good as nothing, too: their products underflow to zero."""
    rng = np.random.default_rng(0)
    a = np.where(rng.random((steps, B, SIZE)) < 0.5, smallest, rng.random((steps, B, SIZE)))
    b, h = rng.standard_normal((steps, B, SIZE)), rng.standard_normal((B, SIZE))
    found, wanted, before = recurrence(np, a, b, h), np.empty_like(b), h
    for t in range(steps):
        before = wanted[t] = a[t] * before + b[t]
    close(found, wanted, 1)
    backwards, dh = np.empty_like(b), h
    for t in reversed(range(steps)):
        backwards[t] = b[t] + (dh if t == steps - 1 else a[t + 1] * dh)
        dh = backwards[t]
    close(recurrence_backward(np, a, b, h), backwards, 1)


class Counted(np.ndarray):
    """Arrays that count the functions and operators that they go through; taking a part is none."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        Counted.operations += 1
        return counted(getattr(ufunc, method)(*map(plain, inputs), **options))

    def __array_function__(self, function, types, inputs, options):
        Counted.operations += 1
        return counted(function(*map(plain, inputs), **options))


def plain(z):
    """The same arrays without the count, in a tuple or list too."""
    return type(z)(map(plain, z)) if type(z) in (list, tuple) else z.view(np.ndarray) if isinstance(z, Counted) else z


def counted(z):
    return tuple(map(counted, z)) if isinstance(z, tuple) else z.view(Counted) if isinstance(z, np.ndarray) else z


@pytest.mark.parametrize("name", PAIRS)
def test_operations_grow_with_the_logarithm_of_the_length(name):
    """Forward and backward: each doubling of T adds the same few operations. The loop's are in proportion to T."""
    parallel, serial = (kind(SIZE_IN, SIZE) for kind in PAIRS[name])
    p = {n: w.view(Counted) for n, w in parallel.init(np.random.default_rng(0)).items()}

    def operations(cell, steps):
        xs = np.ones((steps, B, SIZE_IN)).view(Counted)
        Counted.operations = 0
        ys, _, backward = rnnbp.scan(cell, p, xs, (np.ones((B, SIZE)).view(Counted),))
        backward(np.ones((steps, B, SIZE)).view(Counted))
        return Counted.operations

    counts = [operations(parallel, 2**k) for k in range(1, 11)]
    (more,) = {b - a for a, b in zip(counts, counts[1:], strict=False)}
    assert 0 < more <= 20
    assert counts[-1] < operations(serial, 64) < operations(serial, 128)


# ---- a whole scan ----------------------------------------------------------------------------------------------------
def both(name, steps, complex_numbers=False, copies=(), **options):
    """What the parallel scan and the loop give for one problem: ys, the last state, the gradients of some windows."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        real = rng.standard_normal(shape)
        return real + 1j * rng.standard_normal(shape) if complex_numbers else real

    given = {
        "W": (2 if "W" in copies else 1, SIZE_IN, SIZE * len(PAIRS[name][0].gates)),
        "b": (2 if "b" in copies else 1, SIZE * len(PAIRS[name][0].gates)),
        "xs": (2 if "xs" in copies else 1, steps, B, SIZE_IN),
        "h": (2 if "h" in copies else 1, B, SIZE),
        "dys": (2 if "dys" in copies else 1, steps, B, SIZE),
        "dh": (2 if "dh" in copies else 1, B, SIZE),
    }
    drawn = {n: normal(*shape) if n in copies else normal(*shape[1:]) for n, shape in given.items()}
    windows = [None] if options.get("reverse") else [None, (0, steps // 2, steps), (steps // 3, steps // 2, steps)]
    if steps > 2 and not options.get("reverse"):
        windows.append((1, 1, steps - 1))
    for kind in PAIRS[name]:
        cell = kind(SIZE_IN, SIZE)
        ys, s_T, back = rnnbp.scan(cell, {n: drawn[n] for n in "Wb"}, drawn["xs"], (drawn["h"],), **options)
        found = {"ys": ys, "h_T": s_T[0]}
        for window in windows:
            for what, cotangents in {"all": (drawn["dys"], (drawn["dh"],)), "none": (None, (None,))}.items():
                dp, dxs, (dh0,) = back(*cotangents, window=window)
                found |= {f"{n} {window} {what}": d for n, d in (dp | {"xs": dxs, "h": dh0}).items()}
        yield found


def agree(name, steps, **options):
    ours, loop = both(name, steps, **options)
    assert {n: a.shape for n, a in ours.items()} == {n: a.shape for n, a in loop.items()}
    for n in loop:
        assert ours[n].dtype == loop[n].dtype
        close(ours[n], loop[n], steps)


def flags(steps, share):
    return np.random.default_rng(2).random((steps, B)) < share


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("interrupted", ["", "mask", "resets", "mask and resets"])
@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("name", PAIRS)
def test_the_scan_equals_the_loop(name, steps, interrupted, reverse):
    which = {"mask": flags(steps, 0.6), "resets": flags(steps, 0.3)}
    agree(name, steps, reverse=reverse, **{n: f for n, f in which.items() if n in interrupted})


@pytest.mark.parametrize("copies", ["W", "b", "xs", "h", "dys", "dh", ("W", "xs"), ("b", "h", "dys")])
@pytest.mark.parametrize("name", PAIRS)
def test_copies_and_complex_numbers(name, copies):
    copies = (copies,) if isinstance(copies, str) else copies
    for complex_numbers in (False, True):
        agree(name, 5, copies=copies, complex_numbers=complex_numbers, mask=flags(5, 0.6), resets=flags(5, 0.3))


def test_a_record_goes_through_the_loop():
    parallel, serial = (kind(SIZE_IN, SIZE) for kind in PAIRS["minlstm"])
    p, xs = parallel.init(np.random.default_rng(0)), np.ones((5, B, SIZE_IN))
    records = []
    for cell in (parallel, serial):
        ys, _, backward = rnnbp.scan(cell, p, xs, record=True)
        backward(np.ones_like(ys))
        records.append(dict(backward.record))
    assert list(records[0]) == list(records[1]) and {"f", "i", "k", "n", "da_f", "dh"} <= set(records[0])
    assert all(np.array_equal(records[0][n], records[1][n]) for n in records[0])


def test_what_the_contract_does_not_have_yet_is_declined():
    cell = ParallelMinGRU(SIZE_IN, SIZE)
    p, xs, s0 = cell.init(np.random.default_rng(0)), np.ones((5, B, SIZE_IN)), (np.zeros((B, SIZE)),)
    usual = {"mask": None, "resets": None, "data": None, "reverse": False, "record": False, "keep": True}
    assert cell.scan(np, p, xs, s0, **usual, another=0) is not NotImplemented
    assert cell.scan(np, p, xs, s0, **usual, another=2) is NotImplemented


def test_cotangents_that_do_not_fit_are_refused():
    cell = ParallelMinGRU(SIZE_IN, SIZE)
    *_, backward = rnnbp.scan(cell, cell.init(np.random.default_rng(0)), np.ones((5, B, SIZE_IN)))
    with pytest.raises(rnnbp.UserError, match="^dys must have shape "):
        backward(np.ones((5, B, 1)))
    with pytest.raises(rnnbp.UserError, match="^a window needs 0 <= start <= lo < stop <= T=5; "):
        backward(np.ones((5, B, SIZE)), window=(2, 1, 5))
