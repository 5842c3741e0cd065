"""Leading axes are copies: each argument may have them, and each copy is as if it were alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from cases import EVERY, WAYS, case
from helpers import T, forward, frozen, named, on, relative_error, replaced, tensors, tolerance

import rnnbp

COPIES_WINDOW = rnnbp.Window(1, 2, T)


def all_results(q, options, to_numpy):
    """What scan gives for a problem: outputs, states, and the gradients of the whole and of one window."""
    ys, s_T, backward = forward(q, **options)
    found = {"ys": ys, **{f"s_T{k}": s for k, s in enumerate(s_T)}}
    found |= named(*backward(q.dys, q.ds_T), q.cell)
    found |= {f"window {n}": d for n, d in named(*backward(q.dys, q.ds_T, COPIES_WINDOW), q.cell).items()}
    return {n: to_numpy(a) for n, a in found.items()}


def with_two_copies(q):
    """For each argument: the problem with two copies of it, and the two problems that they stand for."""
    rng = np.random.default_rng(1)

    def twice(a):
        return frozen(a + 0.1 * rng.random((2, *a.shape)))

    copied = {n: replaced(q, n, twice(v)) for n, v in tensors(q).items()}
    single = {n: [replaced(q, n, tensors(copied[n])[n][k]) for k in range(2)] for n in copied}
    parts = {"dys": twice(q.dys), "ds_T": tuple(map(twice, q.ds_T))}
    if q.data:
        parts["data"] = {n: twice(d) for n, d in q.data.items()}
    for n, part in parts.items():
        copied[n] = q._replace(**{n: part})
        single[n] = [q._replace(**{n: _copy(part, k)}) for k in range(2)]
    return {n: (copied[n], single[n]) for n in copied}


def _copy(part, k):
    if isinstance(part, dict):
        return {n: a[k] for n, a in part.items()}
    return tuple(a[k] for a in part) if isinstance(part, tuple) else part[k]


@cache
def one_by_one(name):
    """What each copy of each argument gives by itself, on NumPy."""
    return {
        argument: [all_results(r, WAYS["mask and resets"], np.asarray) for r in single]
        for argument, (_, single) in with_two_copies(case(name)).items()
    }


@pytest.mark.parametrize("name", EVERY)
def test_copies_are_each_evaluated_by_itself(backend, name):
    """Two copies of any argument, forward and backward, equal two calls; windows, masks and resets included."""
    options = on(backend, WAYS["mask and resets"])
    for argument, (copied, _) in with_two_copies(case(name)).items():
        found = all_results(on(backend, copied), options, backend.to_numpy)
        assert any(a.ndim > one_by_one(name)[argument][0][n].ndim for n, a in found.items())
        for k, expected in enumerate(one_by_one(name)[argument]):
            for n, a in expected.items():
                own = found[n][k] if found[n].ndim > a.ndim else found[n]
                assert relative_error(own, a) < tolerance(), f"copies of {argument}: {n} of copy {k}"
