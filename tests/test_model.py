"""Whole models: every gradient against complex steps, through stacks, directions, masks and windows."""

import numpy as np
import pytest
from helpers import complex_step, relative_error

import rnnbp
from rnnbp import UserError
from rnnbp.embedding import embed, one_hot
from rnnbp.losses import CrossEntropy, MeanSquaredError
from rnnbp.penalties import ActivationPenalty
from rnnbp.truncation import Window, tbptt

T, B, I, H, O = 5, 3, 4, 6, 3
INPUTS = [("dense", None), ("one-hot", I), ("embedding", 7)]


def problem(model, seed=0, masked=True):
    """Host arrays: parameters with noise, inputs, targets for every step, a mask."""
    rng = np.random.default_rng(seed)
    p = {name: w + 0.3 * rng.standard_normal(w.shape) for name, w in model.init(rng).items()}
    xs = rng.integers(0, model.symbols, (T, B)) if model.symbols else rng.standard_normal((T, B, I))
    mask = rng.random((T, B)) > 0.3 if masked else None
    return p, xs, rng.integers(0, O, (T, B)), mask


def check(backend, model, p, xs, targets, mask, windows=None):
    """Every parameter's gradient equals the complex step of the loss, to 1e-13."""
    on = {name: backend.asarray(w) for name, w in p.items()}
    xs, targets = backend.asarray(xs), backend.asarray(targets)
    mask = None if mask is None else backend.asarray(mask)
    dp, dxs, _ = model(on, xs, targets, mask=mask)[2](windows)
    assert list(dp) == list(model.params) and (dxs is None) == (model.symbols is not None)
    for name, w in p.items():
        numeric = complex_step(backend, lambda z, name=name: model({**on, name: z}, xs, targets, mask=mask)[0], w)
        assert relative_error(backend.to_numpy(dp[name]), numeric) < 1e-13, name


@pytest.mark.parametrize(("inputs", "symbols"), INPUTS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_gradient(backend, inputs, symbols, bidirectional):
    model = rnnbp.Model(rnnbp.stack("gru", I, H, 2, bidirectional), O, CrossEntropy(), inputs, symbols)
    check(backend, model, *problem(model))


def test_last_step_loss_through_two_lstm_layers(backend):
    model = rnnbp.Model(rnnbp.stack("lstm:peepholes=true", I, H, 2), O, CrossEntropy(steps="last"))
    p, xs, targets, mask = problem(model)
    check(backend, model, p, xs, targets[0], mask)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_penalty_is_part_of_the_value_and_of_every_gradient(backend, bidirectional):
    cells = rnnbp.stack("gru", I, H, 2, bidirectional)
    model = rnnbp.Model(cells, O, CrossEntropy(), penalty=ActivationPenalty(3.0, 5.0))
    p, xs, targets, mask = problem(model)
    check(backend, model, p, xs, targets, mask)
    free = rnnbp.Model(cells, O, CrossEntropy())
    parts, alone = model.apart(p, xs, targets, mask=mask), free.apart(p, xs, targets, mask=mask)
    assert parts.loss == alone.loss and alone.penalty is None
    ys = cells.run({n: p[n] for n in cells.params}, xs, mask=mask)[0]
    assert parts.penalty == ActivationPenalty(3.0, 5.0)(ys, mask)[0] > 0
    assert model(p, xs, targets, mask=mask)[0] == parts.loss + parts.penalty


def test_windows_cut_the_penalty_s_errors_too():
    """Each window takes the errors that loss and penalty have at its own steps, as `Stack.scan` would."""
    cells = rnnbp.stack("lstm", I, H, 2)
    model = rnnbp.Model(cells, O, CrossEntropy(), penalty=ActivationPenalty(3.0, 5.0))
    p, xs, targets, _ = problem(model, masked=False)
    own = {n: p[n] for n in cells.params}
    ys, _, backward = cells.scan(own, xs)

    def total(z):
        logits = z @ p["readout.W"] + p["readout.b"]
        return CrossEntropy()(logits, targets)[0] + ActivationPenalty(3.0, 5.0)(z)[0]

    dys = complex_step(rnnbp.backend("numpy"), total, ys)
    windows = tbptt(T, 2, 3)
    found = model(p, xs, targets)[2](windows)[0]
    for name in own:
        wanted = sum(backward(dys, None, window)[0][name] for window in windows)
        assert relative_error(found[name], wanted) < 1e-13, name


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 2), (2, 4), (5, 5)])
def test_truncation_is_what_it_says(k1, k2):
    """The sum over windows of the gradient of its losses, the states at its start held constant in every layer."""
    model = rnnbp.Model(rnnbp.stack("lstm", I, H, 2), O, CrossEntropy("sum"))
    backend = rnnbp.backend("numpy")
    p, xs, targets, _ = problem(model, masked=False)

    def window_loss(window, p_now):
        state = model.run(p, xs[: window.start])[1] if window.start else None
        logits, _ = model.run(p_now, xs[window.start : window.stop], state)
        return CrossEntropy("sum")(logits[..., window.lo - window.start :, :, :], targets[window.lo : window.stop])[0]

    windows = tbptt(T, k1, k2)
    dp, _, _ = model(p, xs, targets)[2](windows)
    for name, w in p.items():
        numeric = sum(complex_step(backend, lambda z, x=x, n=name: window_loss(x, {**p, n: z}), w) for x in windows)
        assert relative_error(dp[name], numeric) < 1e-13, name
    full = model(p, xs, targets)[2]()[0]
    apart = relative_error(dp["0.W"], full["0.W"])  # not U: from a zero state the first step leaves it alone
    assert apart < 1e-15 if k2 == T else apart > 1e-6


def test_states_carry_from_one_call_to_the_next(backend):
    model = rnnbp.Model(rnnbp.stack("lstm", I, H, 2), O, CrossEntropy("sum"))
    p, xs, targets, _ = problem(model)
    on, xs, targets = {n: backend.asarray(w) for n, w in p.items()}, backend.asarray(xs), backend.asarray(targets)
    whole, last, _ = model(on, xs, targets)
    first, carried, _ = model(on, xs[:2, ...], targets[:2, ...])
    second, end, _ = model(on, xs[2:, ...], targets[2:, ...], carried)
    assert np.isclose(float(first) + float(second), float(whole), rtol=1e-14)
    for a, b in zip((z for s in last for z in s), (z for s in end for z in s), strict=True):
        assert relative_error(backend.to_numpy(a), backend.to_numpy(b)) < 1e-15


def test_ds0_of_windows_is_the_error_of_the_first_state_alone():
    """A window that starts later ends in the error of a later state, which is no part of ds0."""
    model = rnnbp.Model(rnnbp.stack("lstm", I, H), O, CrossEntropy("sum"))
    p, xs, targets, _ = problem(model, masked=False)
    windows = [Window(0, 0, 2), Window(2, 2, T)]
    ds0 = model(p, xs, targets)[2](windows)[2]
    expected = model(p, xs[:2], targets[:2])[2]()[2]
    assert all(relative_error(a, b) < 1e-15 for a, b in zip(ds0[0], expected[0], strict=True))


def test_windows_of_a_model_are_checked():
    model = rnnbp.Model(rnnbp.stack("lstm", I, H, 2), O, CrossEntropy("sum"))
    p, xs, targets, _ = problem(model, masked=False)
    backward = model(p, xs, targets)[2]
    found, expected = backward([(0, 0, 2), (1, 2, T)]), backward([Window(0, 0, 2), Window(1, 2, T)])
    assert all(np.array_equal(found[0][n], d) for n, d in expected[0].items())
    for windows, message in (
        ([], "windows must hold at least one window"),
        (0, "windows must be a list of windows .*; got int"),
        (Window(0, 0, T), "a window must be a tuple of three whole numbers, .*; got int"),
    ):
        with pytest.raises(UserError, match=message):
            backward(windows)


def test_a_stack_takes_a_plain_tuple_as_a_window():
    stack = rnnbp.stack("gru", I, H, 2)
    rng = np.random.default_rng(0)
    xs, dys = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    *_, backward = stack.scan(stack.init(rng), xs)
    assert np.array_equal(backward(dys, None, (1, 2, 4))[1], backward(dys, None, Window(1, 2, 4))[1])
    with pytest.raises(UserError, match="a window must be a tuple of three whole numbers, .*; got tuple"):
        backward(dys, None, ())


@pytest.mark.parametrize("way", ["Model.__call__", "Model.run", "Stack.scan", "Stack.run"])
def test_a_wrong_keyword_names_the_method(way):
    model = rnnbp.Model(rnnbp.stack("gru", I, H), O, CrossEntropy())
    owner, method = way.split(".")
    with pytest.raises(TypeError, match=rf"{way}\(\) got an unexpected keyword argument 'record'"):
        getattr(model if owner == "Model" else model.stack, method)({}, None, None, record=True)


def test_unknown_data_are_refused():
    model = rnnbp.Model(rnnbp.stack("lstm", I, H), O, CrossEntropy())
    p, xs, targets, _ = problem(model)
    with pytest.raises(UserError, match="data of the stack must be named nothing; unknown 0.noise"):
        model(p, xs, targets, data={"0.noise": xs})


def test_run_is_the_forward(backend):
    model = rnnbp.Model(rnnbp.stack("gru", I, H, 1, True), O, CrossEntropy())
    p, xs, targets, mask = problem(model)
    on = {n: backend.asarray(w) for n, w in p.items()}
    xs, targets, mask = map(backend.asarray, (xs, targets, mask))
    logits, _ = model.run(on, xs, mask=mask)
    assert float(model.loss(logits, targets, mask)[0]) == float(model(on, xs, targets, mask=mask)[0])


def test_embedding_is_a_product_with_one_hot_rows(backend):
    rng = np.random.default_rng(0)
    table, ids = rng.standard_normal((7, I)), rng.integers(0, 7, (T, B))
    on, on_ids = backend.asarray(table), backend.asarray(ids)
    xs, backward = embed(backend.xp, on, on_ids)
    assert np.array_equal(backend.to_numpy(xs), table[ids])
    hot = backend.to_numpy(one_hot(backend.xp, on_ids, 7, on))
    assert np.array_equal(hot @ table, table[ids]) and (hot.sum(-1) == 1).all()
    d = rng.standard_normal((T, B, I))
    expected = np.zeros_like(table)
    np.add.at(expected, ids, d)
    assert relative_error(backend.to_numpy(backward(backend.asarray(d))), expected) < 1e-15


def test_symbols_of_a_small_integer_type():
    """200 classes do not fit the type that holds the first hundred numbers."""
    xp = rnnbp.backend("numpy").xp
    hot = one_hot(xp, np.asarray([[3], [99]], dtype=np.int8), 200, np.ones(1))
    assert hot.shape == (2, 1, 200) and hot[0, 0, 3] == hot[1, 0, 99] == 1 and hot.sum() == 2


def test_a_window_through_both_directions_is_refused():
    model = rnnbp.Model(rnnbp.stack("gru", I, H, 1, True), O, CrossEntropy())
    p, xs, targets, _ = problem(model)
    with pytest.raises(UserError, match="cannot go through a reversed direction"):
        model(p, xs, targets)[2]([Window(1, 1, 3)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": "words"}, "unknown kind of inputs 'words'"),
        ({"inputs": "one-hot"}, "symbols counts the classes"),
        ({"inputs": "one-hot", "symbols": I + 1}, "one-hot inputs need input_size = symbols = 5; got 4"),
        ({"inputs": "embedding", "symbols": 0}, "symbols must be an integer of at least 1; got 0"),
        ({"symbols": 3}, "symbols counts the classes"),
        ({"output_size": 0}, "output_size must be an integer of at least 1; got 0"),
        ({"loss": "mse"}, "loss must be a Loss, such as CrossEntropy\\(\\); got 'mse'"),
    ],
)
def test_bad_models_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        rnnbp.Model(rnnbp.stack("gru", I, H), **{"output_size": O, "loss": MeanSquaredError()} | arguments)


def test_bad_calls_are_refused():
    model = rnnbp.Model(rnnbp.stack("gru", I, H), O, CrossEntropy(), "embedding", 7)
    p, xs, targets, _ = problem(model)
    with pytest.raises(UserError, match="missing readout.b"):
        model({n: w for n, w in p.items() if n != "readout.b"}, xs, targets)
    with pytest.raises(UserError, match="parameters of the model must be named .*; unknown V"):
        model.run({**p, "V": xs}, xs)
    with pytest.raises(UserError, match=r"symbols must lie in 0 … 6; got 7"):
        model(p, np.full((T, B), 7), targets)
    with pytest.raises(UserError, match=r"symbols must be integers of shape \(T, B\); got float64"):
        model(p, np.zeros((T, B)), targets)
    with pytest.raises(UserError, match="layers must be at least 1; got 0"):
        rnnbp.stack("gru", I, H, 0)
    with pytest.raises(UserError, match="one state per cell, 1; got 2"):
        model(p, xs, targets, ((p["0.bu"],),) * 2)
