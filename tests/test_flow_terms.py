"""The terms of ∂c_t/∂c_{t−1} and of a GRU's ∂h_t/∂h_{t−1}, against complex steps of the equations and of the step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import STEP, B, H, I, T, problem, refusal, relative_error, tolerance

import rnnbp
from rnnbp.flow import Trajectory, step_terms

LSTMS = [
    "lstm",
    "lstm:bias=false",
    "lstm:peepholes=true",
    "lstm:peepholes=true,peephole_error=false",
    "lstm:peepholes=true,clip=0.8",
    "lstm:peepholes=true,stopped=i+g",
    "lstm:peepholes=true,coupled=true,input_activation=relu",
    "lstm:peepholes=true,without=i,output_activation=identity",
    "lstm:peepholes=true,without=f,input_activation=bipolar",
    "lstm:without=o+i,output_activation=sigmoid",
    "lstm-1997",
    "lstm-1997:truncated=false",
]
GRUS = ["gru", "gru:bias=false,clip=0.8", "gru:reset=before", "gru:reset=before,bias=false,clip=0.8"]
CURVES = {
    "tanh": np.tanh,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "relu": lambda a: a * (a.real > 0),
    "identity": lambda a: a,
    "bipolar": lambda a: 2 / (1 + np.exp(-a)) - 1,
    "bipolar2": lambda a: 4 / (1 + np.exp(-a)) - 2,
}


def along(cell, time_steps=T):
    q = problem(cell, time_steps=time_steps)
    return Trajectory(q.cell, q.params, q.xs, q.s0)


def trajectory(name):
    return along(rnnbp.cell(name, I, H))


def slopes(f, z):
    """∂f/∂z by complex steps, (B, H, H): f takes copies (H, B, H)."""
    copies = z + 1j * STEP * np.eye(H)[:, None, :]
    return np.moveaxis(np.broadcast_to(np.imag(f(copies)), copies.shape) / STEP, 0, 2)


def clipped(a, top):
    return a if top is None else np.where(abs(a.real) > top, np.sign(a.real) * top, a)


def gate(path, k, x, h, c):
    """The gate k as the papers have it; 1 where there is none. What an error does not pass is made real."""
    cell, p = path.cell, path.params
    if k == "f" and cell.coupled:
        return 1 - gate(path, "i", x, h, c)
    if k not in cell.gates:
        return np.ones_like(c)
    at = cell.gates.index(k) * H
    a = x @ p["W"][:, at : at + H] + (h.real if k in cell.stopped else h) @ p["U"][:, at : at + H]
    if cell.bias:
        a = a + p["b"][at : at + H]
    if cell.peepholes and k != "g":
        a = a + p[f"p{k}"] * (c if cell.peephole_error else c.real)
    return CURVES[cell.input_activation if k == "g" else "sigmoid"](clipped(a, cell.clip))


def output(path, t, c):
    """h_t as a function of c_t: x_t and h_{t−1} are held fixed, and o too unless a peephole of it sees c_t."""
    return gate(path, "o", path.xs[t], path.states[t][0], c) * CURVES[path.cell.output_activation](c)


@pytest.mark.parametrize("name", LSTMS)
@pytest.mark.parametrize("t", [1, T - 1])
def test_each_term_of_an_lstm_is_that_of_the_equations(name, t):
    path = trajectory(name)
    x, (h, c) = path.xs[t], path.states[t]
    now = {k: gate(path, k, x, h, c) for k in "ifg"}
    moved = {k: slopes(lambda z, k=k: gate(path, k, x, output(path, t - 1, z), z), c) for k in "ifg"}
    wanted = {"f": c[:, :, None] * moved["f"], "i": now["g"][:, :, None] * moved["i"]}
    wanted |= {"g": now["i"][:, :, None] * moved["g"], "direct": now["f"][:, :, None] * np.eye(H)}
    found = step_terms(path, t)
    absent = set(wanted) - set(found.parts)
    assert found.state == "c" and not any(wanted[term].any() for term in absent)
    assert absent == set(path.cell.without) - {"o"}
    for term, part in found.parts.items():
        assert relative_error(part, wanted[term]) < tolerance(), term


@pytest.mark.parametrize("name", LSTMS)
def test_the_terms_of_an_lstm_add_up_to_the_derivative_of_its_step(name):
    path = trajectory(name)
    for t in range(1, T):
        whole = slopes(lambda c, t=t: path.step(t, (output(path, t - 1, c), c))[0][1], path.states[t][1])
        assert relative_error(step_terms(path, t).total, whole) < tolerance()


def test_what_an_output_peephole_adds():
    """Held fixed, o leaves another derivative: the path through it is in every term but the direct one."""
    path, t = trajectory("lstm:peepholes=true"), 2
    o = gate(path, "o", path.xs[t - 1], path.states[t - 1][0], path.states[t][1])
    held = slopes(lambda c: path.step(t, (o * np.tanh(c), c))[0][1], path.states[t][1])
    assert relative_error(step_terms(path, t).total, held) > 1e-3
    zero = replace(path, params={**path.params, "po": np.zeros(H)})
    o = gate(zero, "o", zero.xs[t - 1], zero.states[t - 1][0], zero.states[t][1])
    held = slopes(lambda c: zero.step(t, (o * np.tanh(c), c))[0][1], zero.states[t][1])
    assert relative_error(step_terms(zero, t).total, held) < tolerance()


@pytest.mark.parametrize(("name", "exact"), [("lstm:without=o", True), ("lstm", False)])
def test_a_product_over_steps_leaves_out_what_passes_the_output_gate(name, exact):
    path = trajectory(name)

    def two_steps(c):
        return path.step(2, path.step(1, (output(path, 0, c), c))[0])[0][1]

    product = step_terms(path, 2).total @ step_terms(path, 1).total
    assert (relative_error(product, slopes(two_steps, path.states[1][1])) < tolerance()) is exact


def test_the_truncated_lstm_of_1997_has_only_the_direct_term_and_that_is_one():
    terms = step_terms(trajectory("lstm-1997"), 3)
    assert not terms.parts["i"].any() and not terms.parts["g"].any() and "f" not in terms.parts
    assert np.array_equal(terms.total, np.broadcast_to(np.eye(H), (B, H, H)))


@pytest.mark.parametrize("name", GRUS)
def test_each_term_of_a_gru_is_that_of_the_equations(name):
    path, t = trajectory(name), T - 1
    p, x, (h,) = path.params, path.xs[t], path.states[t]
    b, bu = (p.get("b", np.zeros(3 * H)), p.get("bu", np.zeros(H)))
    columns = {k: slice(j * H, (j + 1) * H) for j, k in enumerate("rzn")}

    def sigma(k, h):
        a = x @ p["W"][:, columns[k]] + h @ p["U"][:, columns[k]] + b[columns[k]]
        return CURVES["sigmoid"](clipped(a, path.cell.clip))

    def n(h, r):
        u = p["U"][:, columns["n"]]
        fed = (r * h) @ u if "before" in name else r * (h @ u + bu)
        return np.tanh(clipped(x @ p["W"][:, columns["n"]] + b[columns["n"]] + fed, path.cell.clip))

    r, z = sigma("r", h), sigma("z", h)
    wanted = {
        "z": slopes(lambda m: (h - n(h, r)) * sigma("z", m), h),
        "n": slopes(lambda m: (1 - z) * n(m, r), h),
        "r": slopes(lambda m: (1 - z) * n(h, sigma("r", m)), h),
        "direct": z[:, :, None] * np.eye(H),
    }
    found = step_terms(path, t)
    assert found.state == "h" and list(found.parts) == list(wanted)
    for term, part in found.parts.items():
        assert relative_error(part, wanted[term]) < tolerance(), term


@pytest.mark.parametrize(("name", "stopped"), [*((name, ()) for name in GRUS), ("gru", ("r",)), ("gru", ("z", "n"))])
def test_the_terms_of_a_gru_add_up_to_its_jacobian(name, stopped):
    cell = rnnbp.cell(name, I, H)
    path = along(replace(cell, stopped=stopped) if stopped else cell)
    for t in range(T):
        whole = slopes(lambda h, t=t: path.step(t, (h,))[0][0], path.states[t][0])
        assert relative_error(step_terms(path, t).total, whole) < tolerance()
        assert relative_error(step_terms(path, t).total, path.jacobian(t)) < tolerance()
    assert not any(step_terms(path, 1).parts[k].any() for k in stopped)


@pytest.mark.parametrize("name", ["elman", "lstm-layernorm", "lstm/zoneout:rate=0.1"])
def test_cells_without_such_terms_are_refused(name):
    assert "worked out for lstm and gru" in refusal(lambda: step_terms(trajectory(name), 1))


def test_gate_recurrence_is_refused():
    assert "gate_recurrence" in refusal(lambda: step_terms(trajectory("lstm:gate_recurrence=true"), 1))


@pytest.mark.parametrize(("name", "t"), [("lstm", 0), ("lstm", T), ("gru", -1), ("gru", T)])
def test_steps_without_terms_are_refused(name, t):
    assert f"of {T}; got step {t}" in refusal(lambda: step_terms(trajectory(name), t))
