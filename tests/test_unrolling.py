"""What a mask, resets and the reverse direction mean, told by a loop over single sequences and single steps."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EVERY, MASK, NAMES, RESETS, WAYS, case
from helpers import B, T, agree, forward, named, on, relative_error, tolerance

import rnnbp


def spelled_out(q, mask=None, resets=None, reverse=False):
    """Outputs and last states, one sequence and one step at a time."""
    xp = rnnbp.backend("numpy").xp
    ys, last = np.zeros_like(q.dys), [np.zeros_like(z) for z in q.s0]
    for b in range(B):
        only = slice(b, b + 1)
        s = tuple(z[only] for z in q.s0)
        for t in reversed(range(T)) if reverse else range(T):
            if resets is not None and resets[t, b]:
                s = q.cell.initial_state(xp, 1, q.xs)
            if mask is None or mask[t, b]:
                s, _ = q.cell.step(xp, q.params, q.xs[t, only], s, {n: d[t, only] for n, d in q.data.items()})
                ys[t, b] = s[0][0]
        for k, z in enumerate(s):
            last[k][only] = z
    return ys, last


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVERY)
def test_every_way_forward(backend, name, way):
    q = case(name)
    ys, s_T, _ = forward(on(backend, q), **on(backend, WAYS[way]))
    expected, last = spelled_out(q, **WAYS[way])
    assert relative_error(backend.to_numpy(ys), expected) < tolerance()
    for found, wanted in zip(s_T, last, strict=True):
        assert relative_error(backend.to_numpy(found), wanted) < tolerance()


@pytest.mark.parametrize("name", EVERY)
def test_reverse_is_forward_over_the_turned_sequence(name):
    q = case(name)
    turned = q._replace(xs=q.xs[::-1], dys=q.dys[::-1], data={n: d[::-1] for n, d in q.data.items()})
    ys, s_T, backward = forward(q, mask=MASK, resets=RESETS, reverse=True)
    ys_too, s_too, backward_too = forward(turned, mask=MASK[::-1], resets=RESETS[::-1])
    assert np.array_equal(ys, ys_too[::-1]) and all(map(np.array_equal, s_T, s_too))
    dp, dxs, ds = backward_too(turned.dys, q.ds_T)
    agree(named(*backward(q.dys, q.ds_T), q.cell), named(dp, dxs[::-1], ds, q.cell))


@pytest.mark.parametrize("padding", [3.0, np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_masked_steps_does_not_matter(backend, name, padding):
    q = case(name)
    filled = q._replace(xs=np.where(MASK[..., None], q.xs, padding), dys=np.where(MASK[..., None], q.dys, padding))

    def results(problem):
        here = on(backend, problem)
        ys, s_T, backward = forward(here, mask=backend.asarray(MASK))
        found = named(*backward(here.dys, here.ds_T), q.cell)
        return {n: backend.to_numpy(a) for n, a in {"ys": ys, **dict(enumerate(s_T)), **found}.items()}

    found, wanted = results(filled), results(q)
    assert all(np.array_equal(found[n], wanted[n]) for n in wanted)
    assert not np.any(found["ys"][~MASK]) and not np.any(found["xs"][~MASK])


def test_a_sequence_that_is_masked_throughout_keeps_its_state():
    q = case("lstm")
    mask = np.ones((T, B), dtype=bool)
    mask[:, 1] = False
    ys, s_T, backward = forward(q, mask=mask)
    _, dxs, ds = backward(q.dys, q.ds_T)
    assert not np.any(ys[:, 1]) and not np.any(dxs[:, 1])
    assert all(np.array_equal(a[1], b[1]) for a, b in zip((*s_T, *ds), (*q.s0, *q.ds_T), strict=True))


def test_no_error_passes_a_reset():
    q = case("lstm")
    resets = np.zeros((T, B), dtype=bool)
    resets[2] = True
    _, dxs, ds = forward(q, resets=resets)[2](np.where(np.arange(T)[:, None, None] < 2, 0, q.dys), q.ds_T)
    assert not np.any(dxs[:2]) and np.all(np.any(dxs[2:], axis=(1, 2))) and not any(map(np.any, ds))


def test_a_scan_can_be_cut_in_two():
    """The state carried over, and its error carried back, give what one scan gives."""
    q = case("gru:reset=before")
    first, second = q._replace(xs=q.xs[:2]), q._replace(xs=q.xs[2:])
    ys1, s, back1 = forward(first)
    ys2, s_T, back2 = forward(second._replace(s0=s))
    dp2, dxs2, ds = back2(q.dys[2:], q.ds_T)
    dp1, dxs1, ds0 = back1(q.dys[:2], ds)
    ys, whole, backward = forward(q)
    assert relative_error(np.concatenate([ys1, ys2]), ys) < tolerance()
    assert relative_error(s_T[0], whole[0]) < tolerance()
    joined = named({n: dp1[n] + dp2[n] for n in dp1}, np.concatenate([dxs1, dxs2]), ds0, q.cell)
    agree(joined, named(*backward(q.dys, q.ds_T), q.cell))


def test_parameters_that_nothing_depends_on_have_zero_gradients(backend):
    for name, parameter in (("None for zero", "spare"), ("None for zero", "given"), ("states of any shape", "spare")):
        q = on(backend, case(name))
        dp, _, _ = forward(q)[2](q.dys, q.ds_T)
        assert dp[parameter].shape == q.params[parameter].shape and dp[parameter].dtype == q.xs.dtype
        assert not np.any(backend.to_numpy(dp[parameter]))


def test_gradients_are_named_in_the_order_of_the_parameters():
    for name in EVERY:
        q = case(name)
        assert list(forward(q)[2](q.dys, q.ds_T)[0]) == list(q.cell.params)
