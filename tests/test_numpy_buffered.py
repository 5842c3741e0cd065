"""The scan for NumPy alone, called by itself, so that it is tested where numba is installed, too."""

from __future__ import annotations

import numpy as np
import pytest
from cases import EVERY, WAYS, case, wanted
from fast_cells import FUSED, OFF, PORTABLE, cell
from helpers import T, agree, named, portable, problem
from rnnbp_numpy import NumpyBackend
from rnnbp_numpy.buffered import scan as buffered
from rnnbp_numpy.programs import _logistic, program

import rnnbp
from rnnbp import blocks
from rnnbp.fastpath import layout
from rnnbp.lowering import reach
from rnnbp.lowering.nodes import Graph


class Buffered(NumpyBackend):
    """NumPy as it is without numba; a scan that is declined fails."""

    path = "buffered"

    def scan(self, cell, params, xs, s0, **options):
        found = buffered(cell, params, xs, s0, **options)
        assert found is not NotImplemented
        return found


BACKEND = Buffered()


TAKEN = [name for name in EVERY if name not in PORTABLE]  # FUSED without the cells of plugins


def _both(q, window=None, **options):
    """What both paths give: y, the last states, gradients."""
    found = []
    for way in (BACKEND.scan, portable):
        ys, s_T, backward = way(q.cell, q.params, q.xs, q.s0, **OFF | options | {"data": q.data or None})
        grads = named(*backward(q.dys, q.ds_T, window), q.cell)
        found.append(({"ys": ys, **{f"s{k}": z for k, z in enumerate(s_T)}}, grads))
    return found


def test_most_cells_are_taken():
    assert {"lstm", "lstm:peepholes=true", "gru", "rnn", "elman:activation=relu"} <= set(TAKEN)
    assert "gru:reset=before" not in TAKEN


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", TAKEN)
def test_every_gradient_equals_complex_steps(name, way):
    q = case(name)
    _, _, backward = rnnbp.scan(q.cell, q.params, q.xs, q.s0, data=q.data or None, backend=BACKEND, **WAYS[way])
    agree(named(*backward(q.dys, q.ds_T), q.cell), wanted(name, way))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FUSED)
def test_it_equals_the_loop(name, way, dtype):
    """Forwards to the bit, but for the logistic function, which is made of exp in place of tanh."""
    (ours, dours), (theirs, dtheirs) = _both(problem(cell(name), dtype=dtype), **WAYS[way])
    same_bits = all(_logistic(node) is None for node in reach(layout(cell(name)).trace.new_states.values()))
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype and (np.array_equal(ours[key], value) or not same_bits), key
    agree(ours, theirs, dtype)
    agree(dours, dtheirs, dtype)
    assert all(d.dtype == dtype for d in dours.values())


@pytest.mark.parametrize("rows", [1, 7, 512])
@pytest.mark.parametrize("window", [(0, 2, T), (1, 2, 4), (2, 2, 3), (0, 0, 1)], ids=str)
@pytest.mark.parametrize("name", TAKEN)
def test_windows_and_pieces_of_any_length(name, window, rows, monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", rows)
    (ours, dours), (theirs, dtheirs) = _both(case(name), rnnbp.Window(*window), **WAYS["mask and resets"])
    agree(dours, dtheirs)
    agree(ours, theirs)


@pytest.mark.parametrize("name", TAKEN)
def test_a_backward_gives_the_same_again_and_takes_copies(name):
    q = case(name)
    *_, backward = rnnbp.scan(q.cell, q.params, q.xs, q.s0, data=q.data or None, backend=BACKEND)
    first = named(*backward(q.dys, q.ds_T), q.cell)
    copies = named(*backward(np.stack([0 * q.dys, q.dys]), q.ds_T), q.cell)
    alone = named(*backward(None, q.ds_T), q.cell)
    again = named(*backward(q.dys, q.ds_T), q.cell)
    for key, value in first.items():
        assert np.array_equal(value, again[key]) and np.array_equal(value, copies[key][1]), key
    agree({key: d[0] for key, d in copies.items()}, alone)


def test_what_is_declined():
    q = case("lstm")

    def declined(q, **options):
        return buffered(q.cell, q.params, q.xs, q.s0, **OFF | options) is NotImplemented

    assert declined(q, record=True) and not declined(q)
    assert declined(q._replace(xs=q.xs + 0j)) and declined(q._replace(xs=q.xs.astype("float32")))
    assert declined(q._replace(xs=q.xs[None])) and declined(q._replace(params=q.params | {"U": q.params["U"][None]}))
    assert declined(case("gru:reset=before"))


def test_a_program_gives_the_bits_of_the_expression():
    graph = Graph()
    a, b, xp = graph.input("a"), graph.input("b"), graph.xp
    roots = [xp.where((a > b) & ~(b <= 0.1), a**2, b**3) - a, xp.maximum(a, 0.5) / xp.minimum(b, a), a**0.5, None]
    roots += [xp.where(a > b, a, xp.where(b > 0.5, xp.where(b < a, b, a), b)), a, graph.constant(2.0), roots[0]]
    code, rng = program([a, b], roots), np.random.default_rng(0)
    x, y = rng.uniform(0.1, 1, (2, 4, 5))
    out = [np.full((4, 5), np.nan) for _ in roots]
    code.run([x, y, *out, *code.made((4, 5), np.dtype("float64"))])
    wanted = [np.where((x > y) & ~(y <= 0.1), x**2, y**3) - x, np.maximum(x, 0.5) / np.minimum(y, x), x**0.5]
    wanted += [np.full((4, 5), np.nan), np.where(x > y, x, np.where(y > 0.5, np.where(y < x, y, x), y)), x, 0 * x + 2]
    for found, value in zip(out, [*wanted, wanted[0]], strict=True):
        assert np.array_equal(found, value, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logistic_function_is_one_call_and_right_everywhere(dtype):
    graph = Graph()
    a = graph.input("a")
    code = program([a], [0.5 * graph.xp.tanh(0.5 * a) + 0.5])
    assert len(code.calls) == 1 and not code.buffers
    x = np.array([-np.inf, -1e30, -800, -100, -80, -20, -1, -1e-3, 0, 1e-3, 1, 20, 800, 1e30, np.inf, np.nan], dtype)
    out = np.empty_like(x)
    with np.errstate(over="ignore"):
        code.run([x, out, *code.made(x.shape, x.dtype)])
        wanted = 1 / (1 + np.exp(-x.astype("longdouble")))
    error = np.abs(out - wanted)[:-1]
    assert np.all(error <= 4 * np.finfo(dtype).eps * wanted[:-1] + np.finfo(dtype).tiny) and np.isnan(out[-1])
    kept = program([a], [0.5 * graph.xp.tanh(0.5 * a) + 0.5, graph.xp.tanh(0.5 * a)])  # both are computed
    two = np.empty((2, *x.shape), dtype)
    with np.errstate(over="ignore"):
        kept.run([x, *two, *kept.made(x.shape, x.dtype)])
    assert np.array_equal(two[0], out, equal_nan=True) and np.array_equal(two[1], np.tanh(0.5 * x), equal_nan=True)


def test_buffers_are_taken_again():
    graph = Graph()
    node = a = graph.input("a")
    for _ in range(20):
        node = graph.xp.tanh(node * 0.5 + a)
    assert len(program([a], [node]).buffers) == 1
