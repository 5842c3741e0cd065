"""A stack as one cell, against the stack's own scan: its backward, its windows, and complex steps through it."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from cases import make
from helpers import B, H, I, T, refusal, relative_error, tolerance

import rnnbp
from rnnbp.around.clipping import clipped
from rnnbp.flow import Stacked, Trajectory, growth, lag_decomposition, lyapunov_spectrum
from rnnbp.stacking import Stack, stack

EXACT = 1e-13  # of sums, relative
STEP = 1e-30
STACKS = {
    "two lstms": (("lstm", "lstm"), ()),
    "residual": (("lstm:peepholes=true", "gru", "lstm"), (1, 2)),
    "residual, not at the top": (("rnn", "gru", "lstm"), (1,)),
    "the input, too": (("elman", "gru"), (0, 1)),
    "plain cells": (("gru:reset=before", "rhn", "lstm-projected"), ()),
    "three kinds": (("lstm-layernorm", "several recurrent states", "split"), ()),
    "around cells": (("lstm/zoneout:rate=0.3/learned-start", "gru/learned-start"), (1,)),
    "no dx": (("lstm", "no dx", "gru"), (1,)),
}


@cache
def case(name):
    """The stack as one cell, what it runs on, and what its own scan gives."""
    specs, residual = STACKS[name]
    layers, width = [], H if 0 in residual else I
    for spec in specs:
        layers.append((make(spec, width, H),))
        width = layers[-1][0].output_size
    whole, rng = Stack(tuple(layers), residual), np.random.default_rng(0)
    params = {n: w + 0.3 * rng.standard_normal(w.shape) for n, w in whole.init(rng).items()}
    xs, dys = (rng.standard_normal((T, B, n)) for n in (whole.input_size, whole.output_size))
    cell = Stacked(whole)
    data = {n: rng.uniform(0, 1, (T, B, *shape)) for n, shape in cell.data.items()} or None
    ys, _, back = whole.scan(params, xs, data=data)
    path = Trajectory(cell, params, xs, data=data)
    return SimpleNamespace(stack=whole, path=path, params=params, xs=xs, dys=dys, data=data, ys=ys, back=back)


def as_one(q, states):
    """The stack's states, one tuple for each layer from the bottom up, as a vector (B, N) of the one cell."""
    parts = {prefix: s for (prefix, _), s in zip(q.stack.cells, states, strict=True)}
    return q.path.vector(q.path.cell.together(parts))


def only(q, t):
    """The errors of L_t alone."""
    return np.where(np.arange(T)[:, None, None] == t, q.dys, 0.0)


@pytest.mark.parametrize("name", STACKS)
def test_the_outputs_are_those_of_the_stack(name):
    q = case(name)
    assert relative_error(q.path.ys, q.ys) < tolerance()
    assert list(q.path.layers) == [prefix for prefix, _ in q.stack.cells]
    for prefix, layer in q.path.layers.items():
        own = np.stack([q.path.cell.apart(s)[prefix][0] for s in q.path.states[1:]])
        assert relative_error(layer.ys, own) < tolerance()


@pytest.mark.parametrize("name", STACKS)
def test_jacobians_are_complex_steps_of_the_stack(name):
    """Along the stack's own scan of one step; and, by rows, the stacked cell's own backward."""
    q = case(name)
    t, path = 2, q.path
    before = {prefix: s for prefix, s in path.cell.apart(path.states[t]).items()}
    at = {n: d[t : t + 1] for n, d in (q.data or {}).items()} or None
    columns = []
    for k in range(path.size):
        unit = path.cell.apart(path.split(np.broadcast_to(np.eye(path.size)[k], (B, path.size))))
        s0 = tuple(tuple(z + 1j * STEP * u for z, u in zip(before[p], unit[p], strict=True)) for p, _ in q.stack.cells)
        columns.append(np.imag(as_one(q, q.stack.scan(q.params, q.xs[t : t + 1], s0, data=at)[1])) / STEP)
    wanted = np.stack(columns, axis=-1)
    assert relative_error(path.jacobian(t), wanted) < tolerance()
    rows = np.broadcast_to(np.eye(path.size)[:, None, :], (path.size, B, path.size))
    assert relative_error(np.swapaxes(path.vjp(t, rows), 0, 1), wanted) < tolerance()


@pytest.mark.parametrize("name", STACKS)
def test_it_adds_up_to_the_gradient(name):
    q = case(name)
    found, wanted = lag_decomposition(q.path, q.dys).gradient, q.back(q.dys)[0]
    assert list(found) == list(wanted)
    assert all(relative_error(found[n], wanted[n]) < EXACT for n in wanted)


@pytest.mark.parametrize("name", STACKS)
def test_parts_are_those_of_windows(name):
    """dL_t/dW_s is what one more step of a window brings."""
    q = case(name)
    found = lag_decomposition(q.path, q.dys)
    for t in (0, T - 1):
        through = [q.back(only(q, t), None, rnnbp.Window(s, s, t + 1)) for s in range(t + 1)]
        for n in set(q.params) - set(q.path.cell.starting):
            g = np.stack([*(grads[n] for grads, _, _ in through), np.zeros_like(q.params[n])])
            parts = g[:-1] - g[1:]
            blocks = q.path.cell.blocks.get(n, ())
            apart = dict(zip(blocks, np.split(parts, len(blocks), axis=-1), strict=True)) if len(blocks) > 1 else {}
            assert list(found.weights[n]) == ["", *apart]
            for gate, part in ({"": parts} | apart).items():
                check(found.weights[n][gate][t, : t + 1], part, g)
        for s in range(t + 1):
            assert relative_error(found.states[""][t, s], np.linalg.norm(as_one(q, through[s][2]))) < tolerance()
        entered = q.path.vector(q.path.entered(q.dys[t]))
        assert relative_error(found.states[""][t, t + 1], np.linalg.norm(entered)) < tolerance()


def check(norms, parts, scale):
    """Norms (S,) of parts (S, …), within the rounding of the numbers that were subtracted for them."""
    wanted = np.linalg.norm(parts.reshape(len(parts), -1), axis=1)
    assert np.max(np.abs(norms - wanted)) <= tolerance() * max(np.max(np.linalg.norm(scale)), 1e-300)


@pytest.mark.parametrize("name", ["residual", "plain cells", "around cells"])
def test_it_steps_like_any_cell(name):
    """Its backward, through the loop of `rnnbp.scan`, and errors of last states."""
    q = case(name)
    last = {prefix: tuple(map(np.ones_like, s)) for prefix, s in q.path.cell.apart(q.path.states[-1]).items()}
    dp, dxs, ds = rnnbp.scan(q.path.cell, q.params, q.xs, data=q.data)[2](None, q.path.cell.together(last))
    wanted = q.back(None, tuple(last[prefix] for prefix, _ in q.stack.cells))
    assert all(relative_error(dp[n], d) < tolerance() for n, d in wanted[0].items())
    assert relative_error(dxs, wanted[1]) < tolerance()
    assert relative_error(q.path.vector(ds), as_one(q, wanted[2])) < tolerance()


def test_exponents_of_a_linear_stack_are_those_of_its_layers():
    """The Jacobian is a block triangle: its eigenvalues are those of every U."""
    specs = stack("elman:activation=identity,bias=false", 1, 2, layers=2)
    u = {"0.U": np.diag([0.9, 0.5]), "1.U": np.diag([1.1, 0.7])}
    params = {"0.W": np.ones((1, 2)), "1.W": np.array([[0.3, 0.1], [-0.2, 0.4]]), **u}
    path = Trajectory(Stacked(specs), params, np.zeros((200, 1, 1)))
    found = lyapunov_spectrum(path, warmup=100).exponents[0]
    assert found == pytest.approx(np.log([1.1, 0.9, 0.7, 0.5]), abs=1e-6)
    assert growth(path, lags=(150, 200)).exponent[0] == pytest.approx(np.log(1.1), rel=1e-6)


def test_names_and_refusals():
    cell = Stacked(stack("lstm", 4, 6, layers=2))
    assert list(cell.states) == ["1.h", "1.c", "0.h", "0.c"] and cell.blocks["0.U"] == ("i", "f", "g", "o")
    assert (cell.input_size, cell.hidden_size, cell.output_size) == (4, 6, 6)
    assert "one direction" in refusal(lambda: Stacked(stack("lstm", 4, 6, bidirectional=True)))
    held = stack("lstm", 4, 6, layers=2).of_cells(lambda c: clipped(c, 1.0))
    assert "clips errors" in Stacked(held).inexact
    with pytest.raises(rnnbp.UserError, match="those of a stack; got LSTM"):
        Trajectory(rnnbp.cell("lstm", 2, 3), {}, np.zeros((1, 1, 2)), ()).layers  # noqa: B018
