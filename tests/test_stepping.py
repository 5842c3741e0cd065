"""One step of a cell and a scan over one step are the same thing, forward and backward, however the cell is written."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EVERY, make
from helpers import agree, forward, frozen, named, on, problem, tensors, tolerance

from rnnbp.validation import check_scan


@pytest.mark.parametrize("name", EVERY)
def test_a_step_is_a_scan_of_length_one(backend, name):
    q = on(backend, problem(make(name), 4, time_steps=1))
    e = {n: d[0, ...] for n, d in q.data.items()}
    s1, step_backward = q.cell.step(backend.xp, q.params, q.xs[0, :, :], q.s0, e)
    ys, s_T, backward = forward(q)
    for a, b in zip((s1[0], *s1), (ys[0, :, :], *s_T), strict=True):
        assert np.allclose(backend.to_numpy(a), backend.to_numpy(b), rtol=0, atol=tolerance())
    dp, dx, ds = step_backward(q.ds_T)
    zeros = {n: 0 * v for n, v in tensors(q).items()}
    found = {n: zeros[n] if dp.get(n) is None else dp[n] for n in q.params}
    found["xs"] = zeros["xs"] if dx is None else dx[None, ...]
    found |= {f"s0.{n}": zeros[f"s0.{n}"] if d is None else d for n, d in zip(q.cell.states, ds, strict=True)}
    wanted = named(*backward(None, q.ds_T), q.cell)
    agree(*({n: backend.to_numpy(d) for n, d in part.items()} for part in (found, wanted)))


@pytest.mark.parametrize("name", EVERY)
def test_a_step_has_copies_too(name):
    q = problem(make(name), 4, time_steps=1)
    first = next(iter(q.params))
    copies = frozen(q.params[first] + np.arange(2).reshape(2, *[1] * q.params[first].ndim))
    xp = check_scan(q.cell, q.params, q.xs, q.s0, None, None, q.data)
    e = {n: d[0] for n, d in q.data.items()}
    s1, back = q.cell.step(xp, {**q.params, first: copies}, q.xs[0], q.s0, e)
    dp, _, ds = back(q.ds_T)
    for k in range(2):
        s1_k, back_k = q.cell.step(xp, {**q.params, first: copies[k]}, q.xs[0], q.s0, e)
        dp_k, _, ds_k = back_k(q.ds_T)
        pairs = [(dp[n], d) for n, d in dp_k.items() if d is not None]
        pairs += [pair for pair in zip((*s1, *ds), (*s1_k, *ds_k), strict=True) if pair[1] is not None]
        for a, b in pairs:
            assert np.allclose(a[k] if a.ndim > b.ndim else a, b, rtol=0, atol=tolerance() * max(1, np.max(np.abs(b))))
