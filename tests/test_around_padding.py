"""A padded batch is its sequences, each by itself: outputs, last states and gradients, forward and reverse."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import H, I, T, frozen, relative_error, tolerance

import rnnbp

LENGTHS = (T, 3, 1)
CELLS = ["lstm", "gru", "gru:reset=before", "lstm/zoneout/recurrent-dropout/learned-start", "elman"]
PAD = 1e30  # what stands past the end must not matter


def batch_of(cell, seed=0):
    """Parameters, and padded xs, data, dys (T, B, N), s0 and ds_T, as host arrays; and the mask."""
    rng = np.random.default_rng(seed)
    mask = np.arange(T)[:, None] < np.asarray(LENGTHS)  # (T, B)
    p = {n: w + 0.3 * rng.standard_normal(w.shape) for n, w in cell.init(rng).items()}

    def sequences(*shape):
        return np.where(mask[..., None], rng.standard_normal((T, len(LENGTHS), *shape)), PAD)

    xs, dys = sequences(cell.input_size), sequences(cell.output_size)
    data = {n: rng.uniform(0, 1, (T, len(LENGTHS), *shape)) for n, shape in cell.data.items()}
    s0, ds_T = cell.random_state(rng, len(LENGTHS)), cell.random_state(rng, len(LENGTHS))
    return p, xs, data, dys, s0, ds_T, mask


def on(backend, tree):
    if isinstance(tree, dict):
        return {n: backend.asarray(a) for n, a in tree.items()}
    return tuple(map(backend.asarray, tree)) if isinstance(tree, tuple) else backend.asarray(tree)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("spec", CELLS)
def test_a_padded_batch_of_a_cell(backend, spec, reverse):
    cell = rnnbp.cell(spec, I, H)
    p, xs, data, dys, s0, ds_T, mask = batch_of(cell)

    def run(xs, data, dys, s0, ds_T, **options):
        ys, s_T, backward = rnnbp.scan(
            cell,
            on(backend, p),
            backend.asarray(xs),
            on(backend, s0),
            data=on(backend, data) or None,
            reverse=reverse,
            backend=backend,
            **options,
        )
        dp, dxs, ds = backward(backend.asarray(dys), on(backend, ds_T))
        host = backend.to_numpy
        return host(ys), [host(z) for z in s_T], {n: host(d) for n, d in dp.items()}, host(dxs), [host(d) for d in ds]

    ys, s_T, dp, dxs, ds = run(xs, data, dys, s0, ds_T, mask=backend.asarray(mask))
    total = {n: np.zeros_like(d) for n, d in dp.items()}
    for b, length in enumerate(LENGTHS):
        own, only = slice(length), slice(b, b + 1)
        alone = run(
            xs[own, only],
            {n: d[own, only] for n, d in data.items()},
            dys[own, only],
            tuple(z[only] for z in s0),
            tuple(d[only] for d in ds_T),
        )
        assert relative_error(ys[own, only], alone[0]) < tolerance() and not ys[length:, b].any()
        assert relative_error(dxs[own, only], alone[3]) < tolerance() and not dxs[length:, b].any()
        for together, single in ((s_T, alone[1]), (ds, alone[4])):
            assert all(relative_error(z[only], z1) < tolerance() for z, z1 in zip(together, single, strict=True))
        total = {n: total[n] + d for n, d in alone[2].items()}
    assert all(relative_error(dp[n], d) < tolerance() for n, d in total.items())


@pytest.mark.parametrize(("spec", "residual"), [("lstm", False), ("gru/learned-start", True)])
def test_a_padded_batch_through_two_layers_in_both_directions(backend, spec, residual):
    """The reverse layer starts at each sequence's own end, and the layer above reads what it gives there."""
    cells = rnnbp.stack(spec, I, H, 2, bidirectional=True, residual=residual)
    rng = np.random.default_rng(0)
    mask = np.arange(T)[:, None] < np.asarray(LENGTHS)
    p = {n: frozen(w + 0.3 * rng.standard_normal(w.shape)) for n, w in cells.init(rng).items()}
    xs = np.where(mask[..., None], rng.standard_normal((T, len(LENGTHS), I)), PAD)
    dys = np.where(mask[..., None], rng.standard_normal((T, len(LENGTHS), 2 * H)), PAD)

    def run(xs, dys, **options):
        ys, last, backward = cells.scan(on(backend, p), backend.asarray(xs), backend=backend, **options)
        dp, dxs, _ = backward(backend.asarray(dys))
        host = backend.to_numpy
        return host(ys), [host(z) for s in last for z in s], {n: host(d) for n, d in dp.items()}, host(dxs)

    ys, last, dp, dxs = run(xs, dys, mask=backend.asarray(mask))
    total = {n: np.zeros_like(d) for n, d in dp.items()}
    for b, length in enumerate(LENGTHS):
        own, only = slice(length), slice(b, b + 1)
        ys1, last1, dp1, dxs1 = run(xs[own, only], dys[own, only])
        assert relative_error(ys[own, only], ys1) < tolerance() and not ys[length:, b].any()
        assert relative_error(dxs[own, only], dxs1) < tolerance() and not dxs[length:, b].any()
        assert all(relative_error(z[only], z1) < tolerance() for z, z1 in zip(last, last1, strict=True))
        total = {n: total[n] + d for n, d in dp1.items()}
    assert all(relative_error(dp[n], d) < tolerance() for n, d in total.items())


def test_a_planted_fault_is_seen():
    """Without the mask the reverse direction starts in the padding."""
    cell = rnnbp.cell("lstm", I, H)
    p, xs, _, _, s0, _, mask = batch_of(cell)
    ys, _ = rnnbp.run(cell, p, np.where(mask[..., None], xs, 0), s0, reverse=True)
    alone, _ = rnnbp.run(cell, p, xs[:3, 1:2], tuple(z[1:2] for z in s0), reverse=True)
    assert relative_error(ys[:3, 1:2], alone) > 0.01
