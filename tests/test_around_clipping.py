"""Errors clipped at every step: against the definition written out, on every path; and refused by a gradient check."""

import numpy as np
import pytest
from cases import MASK, RESETS
from helpers import B, H, I, T, agree, forward, gradients, on, portable, problem, refusal, relative_error

import rnnbp
from rnnbp.around.clipping import ErrorClipping, clipped
from rnnbp.losses import MeanSquaredError
from rnnbp.registry import cell as make

LIMIT = 0.1  # of errors that are of size one: most are clipped, not all


def lstm_by_hand(q, limit):
    """The LSTM's backward over a sequence with clipped da, written out; dW, dU, db, dX, dh0, dc0."""
    W, U, b = (q.params[n] for n in "WUb")
    h, c = q.s0
    kept = []
    for x in q.xs:
        ai, af, ag, ao = np.split(x @ W + h @ U + b, 4, axis=-1)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (ai, af, ao))
        g, before = np.tanh(ag), (h, c)
        c = f * c + i * g
        h = o * np.tanh(c)
        kept.append((x, *before, i, f, g, o, c))
    dh, dc = q.ds_T
    dW, dU, db, dX, hit = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b), np.zeros_like(q.xs), 0
    for t in reversed(range(len(q.xs))):
        x, h0, c0, i, f, g, o, c = kept[t]
        dh = dh + q.dys[t]
        th = np.tanh(c)
        dc = dc + dh * o * (1 - th**2)
        raw = [dc * g * i * (1 - i), dc * c0 * f * (1 - f), dc * i * (1 - g**2), dh * th * o * (1 - o)]
        da = np.clip(np.concatenate(raw, axis=-1), -limit, limit)
        hit += np.sum(np.abs(np.concatenate(raw, axis=-1)) > limit)
        dW, dU, db, dX[t] = dW + x.T @ da, dU + h0.T @ da, db + da.sum(0), da @ W.T
        dh, dc = da @ U.T, dc * f
    assert 0.1 < hit / (T * B * 4 * H) < 0.9
    return {"W": dW, "U": dU, "b": db, "xs": dX, "s0.h": dh, "s0.c": dc}


@pytest.mark.parametrize("record", [False, True])  # the fast path, and the portable one
def test_the_definition(backend, record):
    q = problem(clipped(make("lstm", I, H), LIMIT))
    agree(gradients(q, backend, record=record), lstm_by_hand(q, LIMIT))


@pytest.mark.parametrize("spec", ["gru", "lstm:peepholes=true,stopped=i+f"])
@pytest.mark.parametrize("flags", [{}, {"mask": MASK}, {"resets": RESETS}, {"reverse": True}], ids=str)
def test_every_path_clips_alike(spec, flags):
    """Gates in two parts, peepholes, cuts; NumPy's fast scan against the loop."""
    q, host = problem(clipped(make(spec, I, H), LIMIT)), rnnbp.backend("numpy")
    fast, loop = gradients(q, host, **flags), gradients(q, host, record=True, **flags)
    agree(fast, loop)
    plain = gradients(problem(make(spec, I, H)), host, **flags)
    assert relative_error(fast["W"], plain["W"]) > 1e-3, "nothing was clipped"


def cuda_on_the_host():
    import host_device
    from rnnbp_cupy.scanning import scan

    if host_device.COMPILER is None:
        pytest.skip("there is no C compiler to build the kernels for the host")

    return lambda *given, **options: scan(host_device.Host(), *given, **options)


def buffered():
    from rnnbp_numpy.buffered import scan

    return scan


@pytest.mark.parametrize("path", [cuda_on_the_host, buffered], ids=lambda path: path.__name__)
def test_the_text_for_a_gpu_and_numpy_alone_clip_alike(path):
    from fast_cells import OFF, results

    fast, q = path(), problem(clipped(make("gru", I, H), LIMIT))
    agree(results(q, lambda *given, **options: fast(*given, **OFF | options)), results(q, portable))


def test_a_wide_limit_changes_nothing(backend, spec="rnn"):
    """And the forward is the cell's own, whatever the limit. Recorded, so that nothing is compiled for it."""
    wide, own = problem(clipped(make(spec, I, H), 1e6)), problem(make(spec, I, H))
    agree(gradients(wide, backend, record=True), gradients(own, backend, record=True))
    tight = forward(on(backend, problem(clipped(make(spec, I, H), 1e-3))), record=True)[0]
    assert np.array_equal(backend.to_numpy(tight), backend.to_numpy(forward(on(backend, own), record=True)[0]))


def test_every_recorded_error_is_within_the_limit():
    q = problem(clipped(make("gru", I, H), LIMIT))
    *_, backward = forward(q, record=True)
    backward(q.dys, q.ds_T)
    sizes = [np.max(np.abs(backward.record[name])) for name in ("da_r", "da_z", "da_n_x", "da_n_h")]
    assert max(sizes) == LIMIT


def test_it_is_traced_and_takes_the_fast_path():
    from rnnbp.fastpath import layout
    from rnnbp.lowering import untraceable

    cell = clipped(make("lstm", I, H), LIMIT)
    assert untraceable(cell) is None and layout(cell).cell == cell


def test_a_gradient_check_refuses_in_one_line():
    cell = clipped(make("lstm", I, H), LIMIT)
    said = "clips errors on their way back, so its backward is no derivative: check the cell within"
    assert said in refusal(lambda: rnnbp.gradcheck(cell))
    from rnnbp.checking.models import check_model

    stack = rnnbp.stack("lstm", I, H).of_cells(lambda cell: clipped(cell, LIMIT))
    model = rnnbp.Model(stack, 2, MeanSquaredError())
    assert said in refusal(lambda: check_model(model, np.zeros((T, B, I)), np.zeros((T, B, 2))))


def test_it_has_a_name(capsys):
    from rnnbp_cli import main

    spec = "lstm/clip-errors:limit=0.1"
    assert make(spec, I, H) == clipped(make("lstm", I, H), LIMIT)
    with pytest.raises(SystemExit) as left:
        main(["gradcheck", spec])
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == "" and said.err.count("\n") == 1 and "is no derivative" in said.err


def test_a_model_with_a_penalty_is_not_checked_as_if_it_had_none():
    from rnnbp.checking.models import check_model
    from rnnbp.penalties import ActivationPenalty

    model = rnnbp.Model(rnnbp.stack("rnn", I, H), 2, MeanSquaredError(), penalty=ActivationPenalty(1.0))
    said = refusal(lambda: check_model(model, np.zeros((T, B, I)), np.zeros((T, B, 2))))
    assert "leave out the model's penalty" in said


def test_what_cannot_be_clipped_is_refused():
    assert "ResetBeforeGRU is none" in refusal(lambda: clipped(make("gru:reset=before", I, H), 1.0))
    for limit in (0, -1.0, float("nan"), float("inf"), "small", True):
        assert "the limit of errors must be a number above 0" in refusal(
            lambda x=limit: ErrorClipping(make("lstm", I, H), x)
        )
