"""What a scan and its backward refuse, each in one line: the rule, what came, and what to do if that is not plain."""

from __future__ import annotations

import numpy as np
import pytest
from cases import MASK, case, make
from helpers import B, H, I, T, forward, frozen, on, problem, refusal, replaced

import rnnbp
from rnnbp.errors import unknown

LSTM = case("lstm")
FLOATS = np.zeros((T, B))
SCANS = {
    "xs of another width": (
        lambda q: replaced(q, "xs", np.zeros((T, B, I + 1))),
        {},
        f"xs must have shape (..., T, B, I) with I={I}; got ({T}, {B}, {I + 1})",
    ),
    "xs with too few axes": (
        lambda q: replaced(q, "xs", np.zeros((T, I))),
        {},
        f"xs must have shape (..., T, B, I) with I={I}; got ({T}, {I})",
    ),
    "no time step": (
        lambda q: replaced(q, "xs", np.zeros((0, B, I))),
        {},
        f"xs must hold at least one time step and one sequence; got shape (0, {B}, {I})",
    ),
    "no sequence": (
        lambda q: replaced(q, "xs", np.zeros((T, 0, I)))._replace(s0=None),
        {},
        f"xs must hold at least one time step and one sequence; got shape ({T}, 0, {I})",
    ),
    "xs a list": (
        lambda q: replaced(q, "xs", q.xs.tolist()),
        {},
        "xs must be an array; got list: convert it with backend.asarray",
    ),
    "integers throughout": (
        lambda q: q._replace(xs=q.xs.astype(int), params={n: w.astype(int) for n, w in q.params.items()}, s0=None),
        {},
        "arrays must be floating; got int64",
    ),
    "integers among floats": (
        lambda q: replaced(q, "xs", q.xs.astype(int)),
        {},
        "dtypes must agree; xs is int64, W is float64: convert one of them",
    ),
    "two precisions": (
        lambda q: replaced(q, "U", q.params["U"].astype("float32")),
        {},
        "dtypes must agree; xs is float64, U is float32: convert one of them",
    ),
    "a state of another precision": (
        lambda q: replaced(q, "s0.c", q.s0[1].astype("float32")),
        {},
        "dtypes must agree; xs is float64, s0 (c) is float32: convert one of them",
    ),
    "a parameter missing": (
        lambda q: q._replace(params={"W": q.params["W"], "U": q.params["U"]}),
        {},
        "parameters of LSTM must be named U, W, b; missing b",
    ),
    "a parameter too many": (
        lambda q: q._replace(params={**q.params, "V": q.xs}),
        {},
        "parameters of LSTM must be named U, W, b; unknown V",
    ),
    "a parameter misspelt": (
        lambda q: q._replace(params={"W": q.params["W"], "U": q.params["U"], "bias": q.params["b"]}),
        {},
        "parameters of LSTM must be named U, W, b; missing b and unknown bias",
    ),
    "a parameter of another shape": (
        lambda q: replaced(q, "U", q.params["U"].T),
        {},
        f"U must have shape (..., {H}, {4 * H}); got ({4 * H}, {H})",
    ),
    "a state too few": (
        lambda q: q._replace(s0=q.s0[:1]),
        {},
        "s0 must be a tuple with one array per state (h, c); got 1",
    ),
    "a state that is no tuple": (
        lambda q: q._replace(s0=q.s0[0]),
        {},
        "s0 must be a tuple with one array per state (h, c); got ndarray",
    ),
    "a state for another batch": (
        lambda q: replaced(q, "s0.c", np.zeros((B + 1, H))),
        {},
        f"s0 (c) must have shape (..., B, {H}) with B={B}; got ({B + 1}, {H})",
    ),
    "a mask of numbers": (lambda q: q, {"mask": FLOATS}, "mask must be boolean; got float64: pass mask != 0"),
    "resets of numbers": (lambda q: q, {"resets": FLOATS}, "resets must be boolean; got float64: pass resets != 0"),
    "a mask of another shape": (
        lambda q: q,
        {"mask": MASK.T},
        f"mask must have shape (T, B) with T={T}, B={B}; got ({B}, {T})",
    ),
    "a mask with copies": (
        lambda q: q,
        {"mask": MASK[None]},
        f"mask must have shape (T, B) with T={T}, B={B}; got (1, {T}, {B})",
    ),
    "a mask that is a list": (
        lambda q: q,
        {"mask": MASK.tolist()},
        "mask must be an array; got list: convert it with backend.asarray",
    ),
    "data for a cell that takes none": (
        lambda q: q._replace(data={"kept": FLOATS}),
        {},
        "data of LSTM must be named nothing; unknown kept",
    ),
    "copies that do not fit": (
        lambda q: replaced(replaced(q, "xs", np.zeros((2, T, B, I))), "b", np.zeros((3, 4 * H))),
        {},
        "leading axes are copies and must broadcast against each other; got xs (2,), b (3,)",
    ),
    "a backend's name": (
        lambda q: q,
        {"backend": "numpy"},
        "backend must be a Backend; got 'numpy': rnnbp.backend(name) gives one",
    ),
}


@pytest.mark.parametrize("way", [rnnbp.scan, rnnbp.run], ids=["scan", "run"])
@pytest.mark.parametrize("what", SCANS)
def test_a_scan_refuses(what, way):
    change, options, message = SCANS[what]
    assert refusal(lambda: forward(change(LSTM), way, **options)) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data of Zoneout must be named kept; missing kept"),
        ({"kept": np.zeros((T, B))}, f"kept must have shape (..., T, B, {H}) with T={T}, B={B}; got ({T}, {B})"),
        (
            {"kept": np.zeros((T, B, H), dtype="float32")},
            "dtypes must agree; xs is float64, kept is float32: convert one of them",
        ),
    ],
)
def test_data_must_fit(data, message):
    assert refusal(lambda: forward(case("data")._replace(data=data))) == message


BACKWARDS = {
    "dys of another shape": (
        (np.zeros((T, B, H + 1)),),
        f"dys must have shape (..., T, B, O) with T={T}, B={B}, O={H}; got ({T}, {B}, {H + 1})",
    ),
    "dys a list": (([1.0],), "dys must be an array; got list: convert it with backend.asarray"),
    "dys a number": ((1.0,), "dys must be an array; got float: convert it with backend.asarray"),
    "dys in another precision": (
        (np.zeros((T, B, H), dtype="float32"),),
        "dtypes must agree; output is float64, dys is float32: convert one of them",
    ),
    "a state's error too few": (
        (None, LSTM.ds_T[:1]),
        "ds_T must be a tuple with one array per state (h, c); got 1",
    ),
    "a state's error that is no tuple": (
        (None, LSTM.ds_T[0]),
        "ds_T must be a tuple with one array per state (h, c); got ndarray",
    ),
    "a state's error of another shape": (
        (None, (LSTM.ds_T[0], np.zeros((B, H, 1)))),
        f"ds_T (c) must have shape (..., B, {H}) with B={B}; got ({B}, {H}, 1)",
    ),
}


@pytest.mark.parametrize("what", BACKWARDS)
def test_a_backward_refuses(what):
    arguments, message = BACKWARDS[what]
    *_, backward = forward(LSTM)
    assert refusal(lambda: backward(*arguments)) == message


def test_none_for_the_error_of_one_state_is_zero(backend):
    q = on(backend, LSTM)
    *_, backward = forward(q)
    found = backward(q.dys, (q.ds_T[0], None))
    expected = backward(q.dys, (q.ds_T[0], backend.xp.zeros_like(q.ds_T[1])))
    for a, b in zip(
        (*found[0].values(), *found[1:2], *found[2]), (*expected[0].values(), *expected[1:2], *expected[2]), strict=True
    ):
        assert np.array_equal(backend.to_numpy(a), backend.to_numpy(b))


def test_arrays_come_from_one_backend(backend):
    if backend.name == "numpy":
        return
    q = on(backend, LSTM)
    kind = f"{type(q.xs).__module__}.{type(q.xs).__name__}"
    message = refusal(lambda: forward(q._replace(params=LSTM.params)))
    assert message.startswith(f"arrays must all come from one backend; xs is {kind}, W is numpy.ndarray, ")
    assert message.endswith(": convert with backend.asarray")
    message = refusal(lambda: forward(q)[2](LSTM.dys))
    assert message.startswith(f"arrays must all come from one backend; output is {kind}, dys is numpy.ndarray")
    message = refusal(lambda: forward(LSTM, backend=backend))
    assert message == f"backend {backend.name} got arrays of numpy: convert them with backend.asarray"


def test_a_list_of_states_will_do():
    (ys, *_), (ys_too, *_) = forward(LSTM), forward(LSTM._replace(s0=list(LSTM.s0)))
    assert np.array_equal(ys, ys_too)


def test_copies_that_broadcast_are_taken():
    q = replaced(LSTM, "xs", frozen(np.zeros((3, 1, T, B, I))))
    ys, *_ = forward(replaced(q, "b", frozen(np.zeros((2, 4 * H)))))
    assert ys.shape == (3, 2, T, B, H)


def test_complex_and_real_numbers_of_one_precision_go_together():
    ys, *_ = forward(replaced(LSTM, "xs", LSTM.xs + 0j))
    assert ys.dtype == np.complex128
    q = problem(make("lstm"), dtype="float32")
    ys, *_ = forward(replaced(q, "xs", q.xs.astype("complex64")))
    assert ys.dtype == np.complex64


def test_sizes_of_any_integer_type_are_kept_as_given():
    cell = make("lstm", input_size=np.int64(I), hidden_size=np.int32(H))
    assert isinstance(cell.input_size, np.int64) and cell.output_size == H


def test_a_name_that_is_no_string_is_unknown_in_one_line():
    assert str(unknown("reset", 3, ("after", "before"))) == "unknown reset 3: known are after, before"


@pytest.mark.parametrize("name", ["input_size", "hidden_size"])
@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_sizes_of_a_cell_are_whole_numbers(name, size):
    sizes = {"input_size": I, "hidden_size": H} | {name: size}
    assert refusal(lambda: make("lstm", **sizes)) == f"{name} must be an integer of at least 1; got {size!r}"
