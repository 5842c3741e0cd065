"""`rnnbp convert`: weights on the command line."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_cli import call

import rnnbp
from rnnbp.interop import load, save


@pytest.fixture
def lstm(tmp_path):
    """A file of torch's, of two modules and a layer beside them."""
    stack = rnnbp.stack("lstm", 3, 4, 2)
    params = stack.init(np.random.default_rng(0))
    path = tmp_path / "torch.safetensors"
    save(path, stack, params, "torch")
    weights = load_file(path)
    other = {f"decoder.{name}": np.ones_like(a) for name, a in weights.items()}
    save_file({f"encoder.{name}": a for name, a in weights.items()} | other | {"head.weight": np.zeros((2, 4))}, path)
    return path, stack, params


def test_from_torch_to_us_and_back(capsys, tmp_path, lstm):
    path, stack, params = lstm
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    code, out, err = call(capsys, "convert", str(path), str(ours), "--layer", "encoder", "--from", "torch")
    assert (code, err) == (0, f"weights {ours}\n")
    assert out.splitlines()[:3] == [
        "torch to rnnbp, 272 parameters",
        "0: lstm, 3 inputs, 4 units",
        "1: lstm, 4 inputs, 4 units",
    ]
    assert "left out: decoder.bias_hh_l0" in out and out.strip().endswith("head.weight") and "encoder" not in out
    found, back = load(ours)
    assert found == stack and all(np.array_equal(back[name], a) for name, a in params.items())
    words = (str(ours), str(theirs), "--to", "torch", "--dtype", "float32", "--json")
    code, out, _ = call(capsys, "convert", *words)
    told = json.loads(out)
    assert code == 0 and (told["from"], told["to"], told["count"]) == ("rnnbp", "torch", 272)
    assert told["cells"][1] == {"cell": "1", "spec": "lstm", "input": 4, "hidden": 4}
    assert told["receiver"] == "torch.nn.LSTM(3, 4, num_layers=2)" and told["left_out"] == []
    assert load_file(theirs)["weight_ih_l0"].dtype == np.float32


def test_the_receiver_is_told(capsys, tmp_path, lstm):
    pytest.importorskip("h5py")
    code, out, _ = call(capsys, "convert", str(lstm[0]), str(tmp_path / "w.weights.h5"), "--layer", "encoder")
    model = "keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4, return_sequences=True), "
    assert code == 0 and f"load it into {model}" in out


def test_a_model_of_onnx_with_states_and_lengths(capsys, tmp_path, lstm):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "w.onnx"
    code, _, _ = call(capsys, "convert", str(lstm[0]), str(path), "--layer", "decoder", "--states", "--lengths")
    inputs = [each.name for each in onnx.load(path).graph.input]
    assert code == 0 and inputs[:2] == ["x", "lengths"] and "initial_c_1" in inputs


def test_nothing_is_overwritten_unasked(capsys, tmp_path, lstm):
    path = tmp_path / "w.safetensors"
    path.write_text("dear")
    words = ("convert", str(lstm[0]), str(path), "--layer", "encoder")
    code, out, err = call(capsys, *words)
    assert (code, out) == (2, "") and "w.safetensors is there: name another, or say --force" in err
    assert path.read_text() == "dear"
    assert call(capsys, *words, "--force")[0] == 0 and load(path)[0] == lstm[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("IN", "OUT"), "the state dict holds decoder, encoder: name one, or several from the bottom up, with --layer"),
        (("IN", "OUT", "--layer", "encodr"), "unknown layer 'encodr': did you mean encoder or decoder?"),
        (("IN", "OUT", "--layer", "encoder", "--cell", "gru"), "has a cell of kind lstm; got cell gru"),
        (("IN", "OUT", "--from", "keras"), "is a file of torch; got keras"),
        (("IN", "OUT", "--to", "keras"), "weights for keras are a file that ends in .weights.h5; got"),
        (("IN", "OUT", "--layer", "encoder", "--states"), "--states is about a model of ONNX; got OUT"),
        (("IN", "OUT.pt"), "a file of weights ends in .safetensors, .weights.h5, .onnx; got"),
        (("nowhere.safetensors", "OUT"), "No such file or directory: nowhere.safetensors"),
        (("IN", "OUT", "--layer", "encoder", "--dtype", "int8"), "float32 or float64; got int8"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(capsys, tmp_path, lstm, words, message):
    named = {"IN": str(lstm[0]), "OUT": str(tmp_path / "out.safetensors"), "OUT.pt": str(tmp_path / "out.pt")}
    before = set(tmp_path.iterdir())
    code, out, err = call(capsys, "convert", *(named.get(word, word) for word in words))
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_packages_that_are_not_there_are_named(capsys, tmp_path, lstm, monkeypatch):
    for package, ending in (("h5py", ".weights.h5"), ("onnx", ".onnx")):
        monkeypatch.setitem(__import__("sys").modules, package, None)
        code, _, err = call(capsys, "convert", str(lstm[0]), str(tmp_path / f"w{ending}"), "--layer", "encoder")
        extra = {"h5py": "keras"}.get(package, package)
        assert code == 2 and f"need {package}: pip install 'rnnbp[{extra}]'" in err
