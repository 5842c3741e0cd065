"""Files of weights: our own, how a file is known, what is refused, and the way from one format to another."""

from __future__ import annotations

import pickle
import subprocess
import sys
from itertools import product
from zipfile import ZipFile

import numpy as np
import pytest
from helpers import refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from weights import FEW, cases, same_bits

import rnnbp
from rnnbp.checking.catalogue import all_specs
from rnnbp.interop import load, save
from rnnbp.interop.files import ENDINGS, read, receiver
from rnnbp.interop.native import spec_of
from rnnbp.training import Config, train

COMMON = ("lstm", "lstm:bias=false", "gru", "elman:activation=relu")  # what every format can say


def drawn(stack, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(spec.shape) for name, spec in stack.params.items()}


@pytest.mark.parametrize("spec", [*all_specs(), "lstm/zoneout:rate=0.2", "gru:bias=false/learned-start"])
def test_our_own_file_holds_any_cell(tmp_path, spec):
    stack = rnnbp.stack(spec, 3, 4, 2, bidirectional=True)
    params = drawn(stack)
    save(tmp_path / "w.safetensors", stack, params, cells={prefix: spec for prefix, _ in stack.cells})
    found, back = load(tmp_path / "w.safetensors")
    assert found == stack
    same_bits(back, params)


@pytest.mark.parametrize("spec", all_specs())
def test_a_cell_is_named_without_being_told(spec):
    cell = rnnbp.cell(spec, 3, 4)
    assert rnnbp.cell(spec_of(cell), 3, 4) == cell


def test_a_cell_of_no_name_is_refused(tmp_path):
    stack = rnnbp.stack("lstm/zoneout", 3, 4)
    found = refusal(lambda: save(tmp_path / "w.safetensors", stack, drawn(stack)))
    assert "no registered name makes a Zoneout" in found


def test_layers_of_other_cells_and_widths(tmp_path):
    lstm, gru = rnnbp.stack("lstm:peepholes=true", 3, 4, bidirectional=True), rnnbp.stack("gru:reset=before", 8, 2)
    stack = rnnbp.Stack(lstm.layers + gru.layers)
    params = drawn(stack)
    save(tmp_path / "w.safetensors", stack, params)
    assert load(tmp_path / "w.safetensors")[0] == stack
    found = read(tmp_path / "w.safetensors", layers=["1"])
    assert found.stack == gru and set(found.left_out) == {name for name in params if name.startswith("0.")}
    same_bits(found.params, {name.replace("1.", "0."): a for name, a in params.items() if name.startswith("1.")})
    assert "layer 0 does not take the 2 outputs of layer 1" in refusal(
        lambda: load(tmp_path / "w.safetensors", layers=["1", "0"])
    )
    assert "unknown layer '2': known are 0, 1" in refusal(lambda: load(tmp_path / "w.safetensors", layers=["2"]))


@pytest.mark.parametrize("format", ENDINGS)
def test_a_transposed_array_survives(tmp_path, format):
    """A view in another order than C, and one that is backwards."""
    for package in {"keras": ["h5py"], "onnx": ["onnx"]}.get(format, []):
        pytest.importorskip(package)
    stack = rnnbp.stack("lstm", 3, 4)
    params = drawn(stack)
    views = {name: np.asarray(a, order="F") if a.ndim > 1 else a[::-1].copy()[::-1] for name, a in params.items()}
    assert not views["0.W"].flags.c_contiguous and not views["0.b"].flags.c_contiguous
    save(tmp_path / f"w{ENDINGS[format]}", stack, views, format)
    same_bits(load(tmp_path / f"w{ENDINGS[format]}", format)[1], params)


@pytest.mark.parametrize("spec", COMMON)
@settings(FEW, max_examples=2)
@given(data=st.data())
def test_from_every_format_to_every_other_to_the_bit(tmp_path_factory, spec, data):
    pytest.importorskip("h5py")
    pytest.importorskip("onnx")
    folder, case = tmp_path_factory.mktemp("weights"), data.draw(cases(spec))
    spec = spec if "elman" in spec else None
    for one, other in product(ENDINGS, ENDINGS):
        first, second = (folder / f"{k}{ENDINGS[each]}" for k, each in enumerate((one, other)))
        save(first, case.stack, case.params, one)
        stack, params = load(first, one, spec if one != "rnnbp" else None, names(one, case.stack))
        save(second, stack, params, other)
        found, back = load(second, other, spec if other != "rnnbp" else None, names(other, case.stack))
        assert found == case.stack
        same_bits(back, case.params)


def names(format, stack):
    """The layers of a file of Keras, whose order its names tell."""
    if format != "keras":
        return ()
    kinds = {"LSTM": "lstm", "GRU": "gru", "Elman": "simple_rnn"}
    name = "bidirectional" if stack.bidirectional else kinds[type(stack.layers[0][0]).__name__]
    return [name + f"_{k}" * bool(k) for k in range(len(stack.layers))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    train(Config(task="adding", cell="gru", hidden=5, layers=2, steps=2, batch=3, time_steps=6, save_every=1), folder)
    return folder


def test_a_run(run, tmp_path):
    """Its folder stands for its best checkpoint; what is no recurrent weight is told."""
    found = read(run)
    assert found.source == "rnnbp" and found.stack == rnnbp.stack("gru", 2, 5, 2)
    stored = load_file(run / "best.safetensors")
    same_bits(found.params, {name: stored[f"params/{name}"] for name in found.stack.params})
    assert found.left_out == ["params/readout.W", "params/readout.b"]
    assert read(run / "last.safetensors").stack == found.stack
    save(tmp_path / "w.safetensors", found.stack, found.params, dtype="float64")
    assert {a.dtype for a in load(tmp_path / "w.safetensors")[1].values()} == {np.dtype("float64")}


@pytest.mark.parametrize("options", [{"truncation": "1997"}, {"clip_step": 0.1}])
def test_how_errors_were_cut_or_clipped_is_no_part_of_the_weights(tmp_path, options):
    config = Config(task="adding", cell="lstm", hidden=3, steps=1, batch=2, time_steps=4, save_every=1, **options)
    train(config, tmp_path / "run")
    stack, params = load(tmp_path / "run")
    assert stack == rnnbp.stack("lstm", 2, 3)
    save(tmp_path / "w.safetensors", stack, params)
    same_bits(load(tmp_path / "w.safetensors")[1], params)


def write(path, kind):
    """A file that is none of ours."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weight_ih_l0": 0}))
    elif kind in ("data.pkl", "model.weights.h5", "arr_0.npy"):
        with ZipFile(path, "w") as archive:
            archive.writestr(f"archive/{kind}" if kind == "data.pkl" else kind, b"")
    elif kind == "cut":
        save_file({"weight_hh_l0": np.zeros((4, 1))}, path)
        path.write_bytes(path.read_bytes()[:-5])
    elif kind == "damaged":
        save_file({"0.W": np.zeros(1)}, path, metadata={"rnnbp": '{"format": 1, "layers": [[{"cell": "lstm"}]]}'})
    else:
        path.write_text("some words, no weights")
    return path


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "w.pt",
            "pickle",
            "is a pickle, which can run any code and is not read here: in torch, safetensors.torch.save",
        ),
        ("w.pt", "data.pkl", "is a pickle"),
        (
            "m.keras",
            "model.weights.h5",
            'load it there and model.save_weights("w.weights.h5")',
        ),
        ("w.npz", "arr_0.npy", "is an archive of a kind not known here"),
        ("w.safetensors", "cut", "is damaged or cut short"),
        ("w.safetensors", "damaged", "is damaged, its metadata describe no cells"),
        ("w.safetensors", "text", "is no .safetensors, .weights.h5 or .onnx, nor the folder of a run"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path, name, kind, message):
    assert message in refusal(lambda: load(write(tmp_path / name, kind)))


def test_a_header_that_begins_like_a_pickle(tmp_path):
    """The first byte of a safetensors file belongs to the length of its header."""
    path, tensor = tmp_path / "w.safetensors", {"weight_ih": np.ones((3, 2)), "weight_hh": np.ones((3, 1))}
    for width in range(256):
        save_file(tensor, path, metadata={"note": "x" * width})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80 and load(path)[0] == rnnbp.stack("gru:bias=false", 2, 1)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    pytest.importorskip("onnx")
    assert "is no ONNX model that can be read" in refusal(lambda: load(write(tmp_path / "w.onnx", "text")))


def test_what_is_asked_for_must_fit(tmp_path):
    stack = rnnbp.stack("lstm", 2, 3)
    params, path = drawn(stack), tmp_path / "w.safetensors"
    save(path, stack, params)
    for call, message in [
        (lambda: load(path, "torch"), "is a file of rnnbp; got torch"),
        (lambda: load(path, "pytorch"), "unknown format 'pytorch'"),
        (lambda: load(path, cell="lstm"), "names its own cells; got cell lstm: leave it out"),
        (lambda: save(path, stack, params, "tf"), "unknown format 'tf'"),
        (lambda: save(tmp_path / "w.bin", stack, params), "ends in .safetensors, .weights.h5, .onnx; got w.bin"),
        (lambda: save(path, stack, params, dtype="float16"), "written in float32 or float64; got float16"),
        (lambda: save(path, stack, params, states=True), "unknown option of format rnnbp 'states'"),
        (lambda: save(path, stack, params, cells={"0.": "gru"}), "a file of weights names its cells; gru is not LSTM("),
        (lambda: save(path, stack, params | {"0.b": np.zeros(5)}), "0.b must have shape (12,); got (5,)"),
        (lambda: save(path, stack, {"0.W": params["0.W"]}), "parameters of the stack"),
        (
            lambda: save(path, stack, params | {"0.b": np.full(12, 1e300)}, dtype="float32"),
            "0.b holds numbers too large for float32",
        ),
        (
            lambda: save(path, rnnbp.Stack(rnnbp.stack("lstm", 3, 3).layers, (0,)), params),
            "a file of weights holds the cells of a stack alone",
        ),
    ]:
        assert message in refusal(call)


def test_a_file_tells_a_tensor_of_another_shape(tmp_path):
    stack, path = rnnbp.stack("lstm", 2, 3), tmp_path / "w.safetensors"
    save(path, stack, drawn(stack), "torch")
    save_file(load_file(path) | {"weight_ih_l0": np.zeros((12, 2, 1))}, path)
    assert "weight_ih_l0 must have shape (12, I); got (12, 2, 1)" in refusal(lambda: load(path))


def test_receivers_are_code():
    stack = rnnbp.stack("elman:activation=relu,bias=false", 2, 3, 2, bidirectional=True)
    assert receiver(stack, drawn(stack), "torch") == (
        "torch.nn.RNN(2, 3, num_layers=2, bidirectional=True, bias=False, nonlinearity='relu')"
    )
    assert receiver(stack, drawn(stack), "rnnbp") is None


def test_the_packages_of_others_are_loaded_where_they_are_used():
    code = "import sys, rnnbp.interop; print(*{'h5py', 'jax', 'keras', 'onnx', 'torch', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == ""


def test_a_dtype_that_numpy_lacks_is_refused(tmp_path):
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    safetensors.save_file(torch.nn.GRU(2, 3).bfloat16().state_dict(), path)
    assert "bfloat16" in refusal(lambda: load(path))  # in the words of whoever meets it first
