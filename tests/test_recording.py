"""What a record holds: the names, the axes, and numbers that must come out again as outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from cases import EVERY, MASK, NAMES, WAYS, case
from helpers import B, H, T, agree, forward, frozen, on, portable, relative_error, replaced, tolerance

import rnnbp
from rnnbp.registry import CELLS

POINTWISE = [n for n in NAMES if CELLS[n.partition(":")[0]].dist is None and "reset=before" not in n]
ERRORS_OF = {"lstm": {"da_i", "da_f", "da_g", "da_o", "dh", "dc"}, "gru": {"da_r", "da_z", "da_n_x", "da_n_h", "dh"}}


def recorded(q, way="plain", **more):
    *_, backward = forward(q, record=True, **WAYS[way], **more)
    return backward, backward.record


def test_names():
    backward, record = recorded(case("lstm"))
    values = {"a_i", "a_f", "a_g", "a_o", "i", "f", "g", "o", "t", "c1", "c", "h"}
    assert set(record) == values and len(record) == len(values)
    backward()
    assert set(record) == values | ERRORS_OF["lstm"]
    backward, record = recorded(case("gru"))
    values = {"a_r", "a_z", "a_n_x", "a_n_h", "r", "z", "n", "u", "h"}
    assert set(record) == values
    backward()
    assert set(record) == values | ERRORS_OF["gru"]
    _, record = recorded(case("gru:reset=before"))  # not pointwise: its internals by name, and its state
    assert set(record) == {"x", "r", "z", "n", "q", "h"}


def test_no_record_without_asking():
    assert not hasattr(forward(case("lstm"))[2], "record")


def test_an_unknown_name_is_refused_with_the_known_ones():
    _, record = recorded(case("elman"))
    assert "dh" not in record
    with pytest.raises(rnnbp.UserError) as error:
        record["dh"]
    assert str(error.value) == "unknown name in this record 'dh': did you mean h? known are a_h, h"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVERY)
def test_recording_changes_nothing_and_states_are_what_scan_returns(backend, name, way):
    if name == "own scan" and way == "plain":
        return  # its record is that of the loop, which adds up in another order
    q, options = on(backend, case(name)), on(backend, WAYS[way])
    ys, s_T, backward = forward(q, portable, **options)  # a fast scan leaves records to the loop
    ys_too, s_too, recorded_backward = forward(q, record=True, **options)
    host = backend.to_numpy
    assert np.array_equal(host(ys), host(ys_too)) and all(map(np.array_equal, map(host, s_T), map(host, s_too)))
    for a, b in zip(backward(q.dys, q.ds_T)[0].values(), recorded_backward(q.dys, q.ds_T)[0].values(), strict=True):
        assert np.array_equal(host(a), host(b))
    record = recorded_backward.record
    end = 0 if WAYS[way].get("reverse") else -1
    for (state, shape), last in zip(q.cell.states.items(), s_T, strict=True):
        assert record[state].shape == (T, B, *shape) == record[f"d{state}"].shape
        assert np.array_equal(host(record[state])[end], host(last))
    outputs, mask = host(record[next(iter(q.cell.states))]), WAYS[way].get("mask", np.ones((T, B), dtype=bool))
    assert np.array_equal(np.where(mask[..., None], outputs, 0), host(ys))


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("way", ["plain", "mask and resets", "mask, resets, reverse"])
def test_errors_of_the_gates_add_up_to_the_gradients(name, way):
    """DW = Σ xᵀ da, dU = Σ hᵀ da and db = Σ da, where h is the state that entered the step."""
    q = case(name)
    backward, record = recorded(q, way)
    dp, dxs, ds = backward(q.dys, q.ds_T)
    of_x, of_h = (
        np.concatenate([record[f"da_{g}{part}" if g in q.cell.split else f"da_{g}"] for g in q.cell.gates], axis=-1)
        for part in ("_x", "_h")
    )
    turn = -1 if WAYS[way].get("reverse") else 1
    states = np.concatenate([q.s0[0][None], record["h"][::turn][:-1]])[::turn]
    entered = np.where(WAYS[way]["resets"][..., None], 0, states) if "resets" in WAYS[way] else states
    found = {
        "W": np.einsum("tbi,tbg->ig", q.xs, of_x),
        "U": np.einsum("tbh,tbg->hg", entered, of_h),
        **({"b": of_x.sum(axis=(0, 1))} if "b" in dp else {}),
    }
    agree(found, {n: dp[n] for n in found})
    assert relative_error(of_x @ q.params["W"].T, dxs) < tolerance()


@pytest.mark.parametrize("name", ["gru:reset=before", "lstm-layernorm", "lstm-projected", "rhn", "rhn:coupled=false"])
def test_a_plain_cell_records_its_errors_too(name):
    """Db = Σ da, in each layer of an RHN; and every gate is there."""
    q = case(name)
    backward, record = recorded(q)
    dp = backward(q.dys, q.ds_T)[0]
    gates = q.cell.gates if name.startswith("rhn") else q.cell.blocks["b"]
    layers = range(1, q.cell.depth + 1) if name.startswith("rhn") else [""]
    for k in layers:
        of_b = np.concatenate([record[f"da_{gate}{k}"].sum(axis=(0, 1)) for gate in gates], axis=-1)
        assert relative_error(of_b, dp[f"b{k}"]) < tolerance()
        assert all(record[f"{gate}{k}"].shape == record[f"da_{gate}{k}"].shape for gate in gates)


def test_the_error_of_a_state_is_the_gradient_there():
    """The error of h and c after step t: what a scan of the rest gives for its first state, and for h dy besides."""
    q = case("lstm:peepholes=true")
    backward, record = recorded(q)
    backward(q.dys, q.ds_T)
    for t in range(T):
        rest = q._replace(xs=q.xs[t + 1 :], s0=(record["h"][t], record["c"][t]))
        dh, dc = forward(rest)[2](q.dys[t + 1 :], q.ds_T)[2] if t < T - 1 else q.ds_T
        agree({"dh": record["dh"][t], "dc": record["dc"][t]}, {"dh": dh + q.dys[t], "dc": dc})


def test_errors_are_those_of_the_last_backward_and_zero_outside_its_window():
    q = case("lstm")
    backward, record = recorded(q)
    backward(q.dys, q.ds_T)
    assert all(np.any(record[name][t]) for name in ERRORS_OF["lstm"] for t in range(T))
    backward(q.dys, None, rnnbp.Window(1, 2, 4))
    for name in ERRORS_OF["lstm"]:
        last = name != "dc"  # within the last step the error of c comes through h alone
        assert [bool(np.any(d)) for d in record[name]] == [False, True, True, last, False], name
    backward(None, None)
    assert not any(np.any(record[name]) for name in ERRORS_OF["lstm"])


def test_masked_steps_have_no_errors_of_gates_and_keep_the_state():
    q = case("lstm")
    backward, record = recorded(q, "mask")
    backward(q.dys, q.ds_T)
    assert all(not np.any(record[f"da_{g}"][~MASK]) and np.any(record[f"da_{g}"][MASK]) for g in q.cell.gates)
    assert np.array_equal(record["c"][0, 0], q.s0[1][0]) and np.array_equal(record["h"][1, 2], record["h"][0, 2])
    assert np.array_equal(record["dc"][3:, 1], np.stack([q.ds_T[1][1]] * 2))


def test_what_none_stands_for_is_recorded_as_zero():
    q = case("None for zero")
    backward, record = recorded(q)
    backward(q.dys, q.ds_T)
    assert record["da_idle"].shape == (T, B, H) and not np.any(record["da_idle"]) and np.any(record["da_g"])


def test_copies_are_recorded_in_front():
    q = case("gru")
    for name in ("U", "xs", "s0.h"):
        value = {**q.params, "xs": q.xs, "s0.h": q.s0[0]}[name]
        backward, record = recorded(replaced(q, name, frozen(np.stack([value, 1.1 * value]))), "mask and resets")
        backward(q.dys, q.ds_T)
        for k, copy in enumerate((value, 1.1 * value)):
            alone, record_k = recorded(replaced(q, name, copy), "mask and resets")
            alone(q.dys, q.ds_T)
            for n in record_k:
                found = record[n][k] if record[n].ndim > 3 else record[n]
                assert relative_error(found, record_k[n]) < tolerance(), n


def test_torch_keeps_the_record():
    pytest.importorskip("torch")
    backend = rnnbp.backend("torch")
    q = on(backend, case("lstm"))
    backward, record = recorded(q)
    backward(q.dys, q.ds_T)
    assert backward.record is record and ERRORS_OF["lstm"] < set(record)


@dataclass(frozen=True)
class Sum(rnnbp.Cell):
    """H' = h + x, with a backward that keeps nothing, is no function, or names what was never assigned."""

    kind: str = "function"

    params = {}

    def step(self, xp, p, x, s, e):
        del xp, p, e
        if self.kind == "object":
            return (s[0] + x,), Back()
        if self.kind == "function":
            return (s[0] + x,), lambda ds1: ({}, ds1[0], ds1)
        kept = x
        if self.kind == "never":
            unset = x

        def backward(ds1):
            return {}, ds1[0] + 0 * kept + (unset if self.kind == "never" else 0), ds1

        return (s[0] + x,), backward


class Back:
    def __call__(self, ds1):
        return {}, ds1[0], ds1


@pytest.mark.parametrize(("kind", "names"), [("function", {"h"}), ("object", {"h"}), ("unset", {"h", "kept"})])
def test_whatever_a_backward_is_its_states_are_recorded(kind, names):
    xs = np.random.default_rng(0).standard_normal((T, B, H))
    ys, _, backward = rnnbp.scan(Sum(H, H, kind), {}, xs, record=True)
    _, dxs, _ = backward(np.ones_like(ys))
    assert set(backward.record) == names | {"dh"} and np.array_equal(backward.record["h"], ys)
    assert np.array_equal(dxs, backward.record["dh"])
    if "kept" in names:
        assert np.array_equal(backward.record["kept"], xs)
