"""The two contracts: what a cell has without saying so, and what each freedom that it may take means."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from array_api_compat import device as device_of
from cases import EVERY, case, make
from helpers import B, H, I, T, agree, complex_step, forward, named, problem, relative_error, tolerance
from toy_pointwise import Cut, FullRecurrence, Independent, Leaky, Products, Zoneout

import rnnbp
from rnnbp import UserError
from rnnbp.pointwise import sum_rows

NUMPY = rnnbp.backend("numpy")


# ---- what every cell has ---------------------------------------------------------------------------------------------
def test_a_cell_must_write_params_and_step():
    for contract in (rnnbp.Cell, rnnbp.PointwiseCell):
        with pytest.raises(TypeError, match="abstract"):
            contract(I, H)


@pytest.mark.parametrize("name", EVERY)
def test_what_every_cell_has(backend, name):
    cell = make(name)
    drawn = cell.init(np.random.default_rng(0))
    assert {n: w.shape for n, w in drawn.items()} == {n: spec.shape for n, spec in cell.params.items()}
    assert all(w.dtype == np.float64 and type(w) is np.ndarray for w in drawn.values())
    again = cell.init(np.random.default_rng(0))
    assert all(np.array_equal(drawn[n], again[n]) for n in drawn)
    like = backend.asarray([1.0], "float32")
    zero = cell.initial_state(backend.xp, B, like)
    random = cell.random_state(np.random.default_rng(0), B)
    for shape, z, r in zip(cell.states.values(), zero, random, strict=True):
        assert tuple(z.shape) == (B, *shape) == r.shape and np.any(r)
        assert z.dtype == like.dtype and device_of(z) == device_of(like)
    assert cell.output_size == next(iter(cell.states.values()))[-1] == forward(case(name))[0].shape[-1]
    assert cell.api == 1


def test_cells_are_values():
    cell = rnnbp.cell("lstm:peepholes=true", I, H)
    assert cell == rnnbp.cell("lstm", I, H, peepholes=True) and hash(cell) == hash(replace(cell))
    assert cell != replace(cell, peepholes=False)
    with pytest.raises(AttributeError):
        cell.hidden_size = 3


def test_a_plain_cell_without_words():
    @dataclass(frozen=True)
    class Least(rnnbp.Cell):
        params = {}

        def step(self, xp, p, x, s, e):
            del xp, p, e
            return (s[0] + x,), lambda ds1: ({}, ds1[0], (ds1[0],))

    cell = Least(H, H)
    assert cell.states == {"h": (H,)} and cell.data == {} and cell.output_size == H
    assert cell.scan(NUMPY.xp, {}, None, None) is NotImplemented
    xs = np.random.default_rng(0).standard_normal((T, B, H))
    ys, (h,), backward = rnnbp.scan(cell, {}, xs)
    dp, dxs, (dh,) = backward(np.ones_like(ys))
    assert np.allclose(h, xs.sum(0), rtol=0, atol=tolerance()) and dp == {}
    assert np.array_equal(dxs[:, 0, 0], np.arange(T, 0, -1)) and np.all(dh == T)


# ---- the affine part -------------------------------------------------------------------------------------------------
def test_parameters_of_pointwise_cells():
    shapes = {
        Zoneout: {"W": (I, H), "U": (H, H), "b": (H,)},
        Leaky: {"W": (I, H), "U": (H, H), "b": (H,), "leak": (1,)},
        FullRecurrence: {"W": (I, 2 * H), "U": (2 * H, 2 * H), "b": (2 * H,)},
        Independent: {"W": (I, H), "b": (H,), "u": (H,)},
        Products: {"W": (I, 3 * H), "U": (H, 3 * H), "b": (3 * H,)},
    }
    for kind, expected in shapes.items():
        assert {n: spec.shape for n, spec in kind(I, H).params.items()} == expected
        without = {n: shape for n, shape in expected.items() if n != "b"}
        assert {n: spec.shape for n, spec in kind(I, H, bias=False).params.items()} == without


def test_recurrent_states_stand_side_by_side_in_the_order_they_are_named():
    q = case("several recurrent states")
    h, _, f = q.s0
    w, u, b = (q.params[n] for n in "WUb")
    (h1, c1, f1), _ = q.cell.step(NUMPY.xp, q.params, q.xs[0], q.s0, {})
    a = q.xs[0] @ w + np.concatenate([f, h], axis=-1) @ u + b
    assert relative_error(f1, 1 / (1 + np.exp(-a[:, :H]))) < tolerance()
    assert relative_error(c1, f1 * q.s0[1] + (1 - f1) * np.tanh(a[:, H:])) < tolerance()
    assert relative_error(h1, np.tanh(c1)) < tolerance()


def test_split_gates_get_their_parts_one_after_the_other():
    q = case("split")
    w, u, b = (q.params[n] for n in "WUb")
    ax, ah = q.xs[0] @ w + b, q.s0[0] @ u
    (h1,), _ = q.cell.step(NUMPY.xp, q.params, q.xs[0], q.s0, {})
    a, ab, c = (slice(k * H, (k + 1) * H) for k in range(3))
    both = np.tanh((ax + ah)[:, ab])
    wanted = np.tanh(ax[:, a]) * ah[:, a] + both * np.tanh(ah[:, c]) + 0.5 * ax[:, c]
    assert relative_error(h1, wanted) < tolerance()


def test_a_scalar_sums_over_units_and_rows():
    d = np.arange(12.0).reshape(2, 3, 2)
    assert np.array_equal(sum_rows(NUMPY.xp, d, (1,)), d.sum(axis=(-2, -1))[:, None])
    assert np.array_equal(sum_rows(NUMPY.xp, d, (2,)), d.sum(axis=-2))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("split", "unknown name in split of Cut 'forget': known are f, g, i"),
        ("cut", "unknown name in cut of Cut 'forget': known are f, g, i"),
    ],
)
def test_a_gate_that_is_not_there_is_refused(what, message):
    with pytest.raises(UserError) as error:
        Cut(I, H, **{{"split": "apart", "cut": "stopped"}[what]: ("forget",)})
    assert str(error.value) == message


def test_a_recurrent_state_that_is_not_there_is_refused():
    class Mistyped(FullRecurrence):
        recurrent = ("f", "k")

    with pytest.raises(UserError) as error:
        Mistyped(I, H)
    assert str(error.value) == "unknown name in recurrent of Mistyped 'k': known are c, f, h"


# ---- cut -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("split", [(), ("f", "g")], ids=["", "split"])
@pytest.mark.parametrize("cut", [("f",), ("i", "g"), ("i", "f", "g")], ids="+".join)
def test_cut_stops_the_recurrent_error_of_its_gates_and_nothing_else(cut, split):
    whole, some = Cut(I, H, stopped=(), apart=split), Cut(I, H, stopped=cut, apart=split)
    q = problem(whole, time_steps=1)
    ys, s_T, back = forward(q)
    ys_too, s_too, back_too = forward(q._replace(cell=some))
    assert np.array_equal(ys, ys_too) and all(map(np.array_equal, s_T, s_too))
    (dp, dxs, (dh, dc)), (dp_too, dxs_too, (dh_too, dc_too)) = back(q.dys, q.ds_T), back_too(q.dys, q.ds_T)
    agree({**dp_too, "xs": dxs_too, "c": dc_too}, {**dp, "xs": dxs, "c": dc})
    if len(cut) == 3:
        assert not np.any(dh_too)
    else:  # what is missing is what the cut gates send through their columns of U
        backward = forward(q._replace(cell=whole), record=True)[2]
        backward(q.dys, q.ds_T)
        errors = {g: backward.record[("da_{}_h" if g in split else "da_{}").format(g)][0] for g in cut}
        columns = {g: q.params["U"][:, k * H : (k + 1) * H] for k, g in enumerate(whole.gates)}
        missing = sum(errors[g] @ columns[g].T for g in cut)
        assert np.any(missing) and relative_error(dh - missing, dh_too) < tolerance()


def test_cut_keeps_the_gradient_of_the_weights_that_is_left():
    """Over several steps: the complex step with the cut gates fed from a constant copy of the states."""
    q = case("one gate cut")
    states = [q.s0[0], *forward(q)[0][:-1]]  # h before each step, held constant

    def loss(params):
        h, c = q.s0
        total = 0.0
        for x, dy, fixed in zip(q.xs, q.dys, states, strict=True):
            free, stopped = x @ params["W"] + params["b"][..., None, :], fixed @ params["U"]
            a = free + h @ params["U"]
            i, f, g = (a[..., :H], (free + stopped)[..., H : 2 * H], a[..., 2 * H :])
            i, f, g = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g)
            c = f * c + i * g
            h = np.tanh(c)
            total = total + np.sum(h * dy, axis=(-2, -1))
        return total + np.sum(h * q.ds_T[0], axis=(-2, -1)) + np.sum(c * q.ds_T[1], axis=(-2, -1))

    wanted = {n: complex_step(NUMPY, lambda z, n=n: loss({**q.params, n: z}), w) for n, w in q.params.items()}
    found = forward(q)[2](q.dys, q.ds_T)[0]
    agree(found, wanted)
    full = forward(q._replace(cell=Cut(I, H, stopped=())))[2](q.dys, q.ds_T)[0]
    assert all(relative_error(found[n], full[n]) > 1e-3 for n in found)


def test_detach_inside_pointwise_stops_one_path_only():
    q = case("detach")
    *_, backward = forward(q)
    found = named(*backward(q.dys, q.ds_T), q.cell)
    assert np.any(found["pf"])

    def open_loss(z):  # the same cell with the peephole's path open
        h, total = z, 0.0
        for x, dy in zip(q.xs, q.dys, strict=True):
            f = 1 / (1 + np.exp(-(x @ q.params["W"] + h @ q.params["U"] + q.params["b"] + q.params["pf"] * h)))
            h = f * h + 1 - f
            total = total + np.sum(h * dy, axis=(-2, -1))
        return total + np.sum(h * q.ds_T[0], axis=(-2, -1))

    assert relative_error(found["s0.h"], complex_step(NUMPY, open_loss, q.s0[0])) > 1e-3


@pytest.mark.parametrize(
    ("da", "ds", "said"),
    [
        (lambda d: (d,), (None,), "3 errors in da, one per pre-activation; got 1"),
        (lambda d: d, (None,), "3 errors in da, one per pre-activation; got a ndarray"),
        (lambda d: (d, d, d), (), "1 errors in ds, one per state; got 0"),
    ],
)
def test_a_backward_of_the_wrong_length_is_one_line(da, ds, said):
    class Short(rnnbp.PointwiseCell):
        gates = ("f", "n")
        split = ("n",)

        def pointwise(self, xp, a, s, p, e):
            del s, p, e
            return (xp.tanh(a[0]),), lambda ds1: (da(ds1[0]), ds, {})

    with pytest.raises(rnnbp.UserError, match=f"the backward of Short must return {said}"):
        rnnbp.gradcheck(Short(3, 4))
