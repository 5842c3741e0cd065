"""Dropout between layers and residual layers: every gradient by complex steps, with masks, windows, both directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import MASK, RESETS
from helpers import B, H, I, T, complex_step, frozen, inner, on, refusal, relative_error, tolerance

import rnnbp
from rnnbp.truncation import Window

WITHIN = rnnbp.stack("gru", H, H, 2)
STACKS = {
    "dropout": (rnnbp.stack("lstm", I, H, 2), ["1.dropout"]),
    "dropout everywhere": (rnnbp.stack("gru", I, H, 2), ["0.dropout", "1.dropout", "2.dropout"]),
    "residual": (rnnbp.stack("gru", I, H, 3, residual=True), []),
    "residual from the bottom, dropout": (replace(WITHIN, residual=(0, 1)), ["0.dropout", "1.dropout", "2.dropout"]),
    "zoneout, recurrent dropout": (
        rnnbp.stack("lstm/zoneout/recurrent-dropout", I, H, 2, residual=True),
        ["1.dropout"],
    ),
    "both directions": (rnnbp.stack("gru/zoneout", I, H, 2, True, residual=True), ["1.dropout", "2.dropout"]),
    "learned starts": (rnnbp.stack("lstm/learned-start", I, H, 2, residual=True), ["1.dropout"]),
}


def problem(name, seed=0):
    """Parameters, xs, data and dys of a stack, as host arrays."""
    cells, dropouts = STACKS[name]
    rng = np.random.default_rng(seed)
    widths = [cells.input_size, *(sum(c.output_size for c in layer) for layer in cells.layers)]
    shapes = {prefix + n: shape for prefix, cell in cells.cells for n, shape in cell.data.items()}
    shapes |= {f"{k}.dropout": (width,) for k, width in enumerate(widths) if f"{k}.dropout" in dropouts}
    p = {n: frozen(w + 0.3 * rng.standard_normal(w.shape)) for n, w in cells.init(rng).items()}
    data = {n: frozen(rng.uniform(0, 1, (T, B, *shape))) for n, shape in shapes.items()}
    xs, dys = (frozen(rng.standard_normal((T, B, n))) for n in (cells.input_size, cells.output_size))
    return cells, p, xs, data, dys


def numeric(cells, p, xs, data, dys, window=None, **options):
    """The gradients by complex steps: of what the window claims, its first state being held constant."""
    start, lo, stop = window or (0, 0, T)
    head, body = slice(0, start), slice(start, stop)
    flags = {n: (f[head], f[body]) for n, f in options.items()}

    def loss(given):
        s = None
        if start:
            own = {n: f[0] for n, f in flags.items()}
            s = cells.run(p, xs[head], data={n: d[head] for n, d in data.items()} or None, **own)[1]
        own = {n: f[1] for n, f in flags.items()}
        params = {n: given.get(n, w) for n, w in p.items()}
        part = {n: d[body] for n, d in data.items()} or None
        ys, _ = cells.run(params, given.get("xs", xs)[..., body, :, :], s, data=part, **own)
        return inner(ys[..., lo - start :, :, :], (), dys[lo:stop], ())

    host = rnnbp.backend("numpy")
    return {n: complex_step(host, lambda z, n=n: loss({n: z}), v) for n, v in {**p, "xs": xs}.items()}


def found(backend, cells, p, xs, data, dys, window=None, **options):
    p, xs, data, dys, options = (on(backend, a) for a in (p, xs, data, dys, options))
    *_, backward = cells.scan(p, xs, data=data or None, backend=backend, **options)
    dp, dxs, _ = backward(dys, window=window)
    return {n: backend.to_numpy(d) for n, d in {**dp, "xs": dxs}.items()}


def agree(a, b):
    assert list(a) == list(b)
    errors = {n: relative_error(a[n], b[n]) for n in b}
    assert max(errors.values()) <= tolerance(), errors


@pytest.mark.parametrize("name", STACKS)
def test_every_gradient_on_every_backend(backend, name):
    q = problem(name)
    agree(found(backend, *q, mask=MASK, resets=RESETS), numeric(*q, mask=MASK, resets=RESETS))


@pytest.mark.parametrize("window", [(0, 0, T), (1, 2, 4), (0, 3, T), (2, 2, 3)])
@pytest.mark.parametrize("name", [n for n, (cells, _) in STACKS.items() if not cells.bidirectional])
def test_windows_through_all_layers(name, window):
    q = problem(name)
    agree(found(rnnbp.backend("numpy"), *q, window=Window(*window)), numeric(*q, window=window))


def test_dropout_is_a_product_with_what_a_layer_reads():
    cells, p, xs, data, dys = problem("dropout everywhere")
    ys, _ = cells.run(p, xs, data=data)
    h = xs * data["0.dropout"]
    for k, (cell,) in enumerate(cells.layers):
        h, *_ = rnnbp.scan(cell, {n: p[f"{k}.{n}"] for n in cell.params}, h)
        h = h * data[f"{k + 1}.dropout"]
    assert relative_error(ys, h) < tolerance()


def test_a_residual_layer_adds_its_input_as_it_was_before_dropout():
    cells, p, xs, data, _ = problem("residual from the bottom, dropout")
    ys, _ = cells.run(p, xs, data=data, mask=MASK)
    h = np.where(MASK[..., None], xs, 0)
    for k, (cell,) in enumerate(cells.layers):
        own = {n: p[f"{k}.{n}"] for n in cell.params}
        h = h + rnnbp.scan(cell, own, h * data[f"{k}.dropout"], mask=MASK)[0]
    assert relative_error(ys, h * data["2.dropout"]) < tolerance()


def test_what_pads_a_sequence_does_not_go_around_the_cells():
    q = problem("residual from the bottom, dropout")
    cells, p, xs, data, dys = q
    dirty = np.where(MASK[..., None], xs, np.nan), np.where(MASK[..., None], dys, np.nan)
    host = rnnbp.backend("numpy")
    a, b = found(host, *q, mask=MASK), found(host, cells, p, dirty[0], data, dirty[1], mask=MASK)
    assert all(np.array_equal(a[n], b[n]) for n in a) and not np.any(a["xs"][~MASK])
    assert np.array_equal(cells.run(p, dirty[0], data=data, mask=MASK)[0], cells.run(p, xs, data=data, mask=MASK)[0])


def test_without_masks_nothing_is_dropped():
    cells, p, xs, _, _ = problem("dropout")
    ones = {"1.dropout": np.ones((T, B, H))}
    assert np.array_equal(cells.run(p, xs)[0], cells.run(p, xs, data=ones)[0])


def test_a_planted_fault_is_seen(monkeypatch):
    """Errors that go back without the mask, or that do not go around a residual layer, are not the derivative."""
    q, host = problem("residual from the bottom, dropout"), rnnbp.backend("numpy")
    wanted = numeric(*q)
    with monkeypatch.context() as patch:
        patch.setattr("rnnbp.stacking.plus", lambda a, b: a if a is not None else b)
        with pytest.raises(AssertionError):
            agree(found(host, *q), wanted)
    cells, p, xs, data, dys = q
    *_, backward = cells.scan(p, xs, data=data)
    monkeypatch.setattr("rnnbp.stacking.dropped", lambda xs, *_: xs)
    dp, dxs, _ = backward(dys)
    with pytest.raises(AssertionError):
        agree({**dp, "xs": dxs}, wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnnbp.stack("lstm", I, H, 1, residual=True), "residual layers are those above the first; got one"),
        (lambda: rnnbp.Stack(WITHIN.layers, (2,)), "residual names layers, 0 to 1; got 2"),
        (
            lambda: rnnbp.Stack(rnnbp.stack("lstm", I, H, 2).layers, (0,)),
            f"a residual layer is as wide as its input; layer 0 gives {H} for {I}",
        ),
        (lambda: _run({"1.dropout": np.ones((T, B, I))}), f"1.dropout must have shape (..., T, B, N) with T={T}"),
        (lambda: _run({"1.dropout": np.ones((T, B, H), "float32")}), "dtypes must agree"),
        (lambda: _run({"3.dropout": np.ones((T, B, H))}), "unknown 3.dropout"),
    ],
)
def test_refusals(call, message):
    assert message in refusal(call)


def _run(data):
    cells, p, xs, _, _ = problem("dropout")
    return cells.run(p, xs, data=data)
