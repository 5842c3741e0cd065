"""Weights from and to Keras 3, on its JAX backend: outputs agree, and what went there comes back."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers import refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from weights import FEW, HOST, cases, close, same_bits

import rnnbp
from rnnbp.interop import from_keras, keras_model, load, save, to_keras

h5py = pytest.importorskip("h5py")

SPECS = (
    "lstm",
    "lstm:bias=false",
    "gru",
    "gru:bias=false",
    "gru:reset=before",
    "gru:reset=before,bias=false",
    "elman",
    "elman:activation=relu",
    "elman:activation=identity,bias=false",
)
SINGLE = 1e-6  # relative, in float32
# Keras converts its arrays for h5py by a way that NumPy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.fixture(scope="module")
def keras():
    """Keras, imported once its backend is named; JAX with 64 bits, as our backend switches it."""
    pytest.importorskip("jax")
    rnnbp.backend("jax")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("KERAS_BACKEND", "jax")
        warnings.simplefilter("ignore")  # of imports that are not ours
        found = pytest.importorskip("keras")
    assert found.backend.backend() == "jax"
    return found


def left_open(stack):
    """The cell, where the shapes do not tell all of it."""
    cell = stack.layers[0][0]
    if isinstance(cell, rnnbp.Cell) and hasattr(cell, "activation"):
        return f"elman:activation={cell.activation}"
    if "U" in cell.params and "gru" in type(cell).__name__.lower() and not cell.bias:
        return "gru:reset=" + ("before" if "Before" in type(cell).__name__ else "after")
    return None


def built(keras, stack, params):
    """The model that `keras_model` writes."""
    return eval(keras_model(stack, params), {"keras": keras})


def run(model, case):
    """Its outputs, time first, under the mask; Keras repeats an output at a masked step, where ours is zero."""
    ys, mask = case.xs.transpose(1, 0, 2), case.mask.T
    for layer in model.layers:
        ys = layer(ys, mask=mask)
    return np.asarray(ys).transpose(1, 0, 2) * case.mask[..., None]


@pytest.mark.parametrize("spec", SPECS)
@settings(FEW, max_examples=2)  # JAX compiles each anew
@given(data=st.data())
def test_weights_and_outputs_both_ways(keras, tmp_path_factory, spec, data):
    """Random weights of theirs, the second bias of a GRU among them, here; and ours, as lists and as a file, there."""
    case, path = data.draw(cases(spec)).as_float32(), tmp_path_factory.mktemp("keras") / "w.weights.h5"
    model = built(keras, case.stack, case.params)
    for layer in model.layers:
        layer.set_weights([case.rng.standard_normal(w.shape) for w in layer.get_weights()])
    ys, cell = run(model, case), left_open(case.stack)
    stack, params = from_keras([layer.get_weights() for layer in model.layers], cell)
    assert stack == case.stack
    close(ys, stack.run(params, case.xs, mask=case.mask, backend=HOST)[0], SINGLE)
    model.save_weights(path)
    kinds = {"LSTM": "lstm", "GRU": "gru", "ResetBeforeGRU": "gru", "Elman": "simple_rnn"}
    name = "bidirectional" if stack.bidirectional else kinds[type(stack.layers[0][0]).__name__]
    found, back = load(path, cell=cell, layers=[name + f"_{k}" * bool(k) for k in range(len(stack.layers))])
    assert found == stack
    same_bits(back, params)
    lists = to_keras(case.stack, case.params)
    for layer, arrays in zip(model.layers, lists, strict=True):
        layer.set_weights(arrays)
    wanted = case.stack.run(case.params, case.xs, mask=case.mask, backend=HOST)[0]
    close(run(model, case), wanted, SINGLE)
    save(path, case.stack, case.params)
    model = built(keras, case.stack, case.params)
    model.load_weights(path)
    for layer, arrays in zip(model.layers, lists, strict=True):
        same_bits(dict(enumerate(layer.get_weights())), dict(enumerate(arrays)))


DOUBLE = """
import keras, numpy as np, rnnbp
from rnnbp.interop import from_keras, keras_model, to_keras
keras.config.set_floatx("float64")
for spec in ("lstm", "lstm:bias=false", "gru"):
    for both in (False, True):
        stack, rng = rnnbp.stack(spec, 3, 4, 2, both), np.random.default_rng(0)
        params = {name: rng.standard_normal(p.shape) for name, p in stack.params.items()}
        model, xs = eval(keras_model(stack, params)), rng.standard_normal((5, 2, 3))
        for layer, arrays in zip(model.layers, to_keras(stack, params), strict=True):
            layer.set_weights(arrays)
        ys = model.layers[0](xs.transpose(1, 0, 2))
        ys = keras.ops.convert_to_numpy(model.layers[1](ys)).transpose(1, 0, 2)
        print(np.max(np.abs(stack.run(params, xs)[0] - ys)))
"""


def test_double_precision():
    """Keras has it in what it leaves to torch: its own tanh is in float32, on torch as on JAX."""
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    environment = os.environ | {"KERAS_BACKEND": "torch", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", DOUBLE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    errors = [float(line) for line in done.stdout.split()]
    assert len(errors) == 6 and max(errors) < 1e-12


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_there_and_back_to_the_bit(spec, data, dtype):
    case = data.draw(cases(spec))
    params = case.weights(dtype)
    stack, back = from_keras(to_keras(case.stack, params), left_open(case.stack))
    assert stack == case.stack
    same_bits(back, params)


def test_one_layer_is_a_list_of_arrays():
    stack = rnnbp.stack("lstm", 2, 3)
    (arrays,) = to_keras(stack, stack.init(np.random.default_rng(0)))
    assert from_keras(arrays)[0] == stack


def test_a_model_with_more_in_it(keras, tmp_path):
    """The layers by their paths; what else the file holds is left out, and told."""
    from rnnbp.interop.files import read

    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            keras.layers.LSTM(3, return_sequences=True, name="encoder"),
            keras.layers.Dense(4),
            keras.layers.GRU(3),
        ]
    )
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    assert "holds gru, lstm: name one" in refusal(lambda: load(path))
    found = read(path, layers=["lstm"])
    assert found.source == "keras" and found.stack == rnnbp.stack("lstm", 2, 3)
    assert {"layers/dense/vars/0", "layers/gru/cell/vars/0"} <= set(found.left_out)
    assert not any("lstm" in name for name in found.left_out)
    assert "layers/gru must take the 3 outputs of the layer below; it takes 4" in refusal(
        lambda: load(path, layers=["lstm", "gru"])
    )
    assert "unknown layer 'gro': did you mean" in refusal(lambda: load(path, layers=["gro"]))


def arrays(*shapes):
    return [np.ones(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (arrays((2, 12), (3, 12), (11,)), {}, "layer 0/bias must have shape (12,); got (11,)"),
        (arrays((2, 12), (3, 11)), {}, "layer 0/recurrent_kernel must have 1, 3 or 4 times as many columns as rows"),
        (arrays((2, 13), (3, 12)), {}, "layer 0/kernel must have shape (I, 12); got (2, 13)"),
        (arrays((2, 9), (3, 9), (3, 9)), {}, "layer 0/bias must have shape (2, 9); got (3, 9)"),
        (arrays((2, 12)), {}, "a layer has kernel, recurrent kernel, perhaps bias, or twice that; got 1 arrays"),
        (arrays((2, 12), (3, 12), (2, 12), (5, 12)), {}, "layer 0/backward_layer/recurrent_kernel must have 1, 3 or 4"),
        (arrays((2, 9), (3, 9)), {}, "does not say its reset: add --cell gru:reset=after or --cell gru:reset=before"),
        (arrays((2, 3), (3, 3)), {}, "layer 0 does not say its activation: add --cell elman:activation=tanh"),
        (
            arrays((2, 9), (3, 9), (9,)),
            {"cell": "gru:reset=after"},
            "layer 0 has reset=before; got cell gru:reset=after",
        ),
    ],
)
def test_what_does_not_fit_is_refused(weights, options, message):
    assert message in refusal(lambda: from_keras(weights, **options))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lstm:peepholes=true", "keras has no lstm with peepholes=true"),
        ("lstm-projected", "keras has no lstm-projected"),
    ],
)
def test_what_keras_does_not_have_is_refused(spec, message):
    stack = rnnbp.stack(spec, 2, 4)
    assert message in refusal(lambda: to_keras(stack, stack.init(np.random.default_rng(0))))


def test_a_damaged_file_is_refused_by_name(tmp_path):
    """HDF5 says what is wrong by several classes of errors, never which file."""
    stack = rnnbp.stack("lstm", 2, 3)
    path = tmp_path / "w.weights.h5"
    save(path, stack, stack.init(np.random.default_rng(0)))
    whole = path.read_bytes()
    for damage in (whole[:-1], whole.replace(b"TREE", b"EERT"), whole.replace(b"SNOD", b"DONS")):
        path.write_bytes(damage)
        assert refusal(lambda: load(path)).startswith(f"{path} is damaged or cut short (")
