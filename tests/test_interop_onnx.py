"""Models of ONNX from and to stacks: onnxruntime computes the same, and what went there comes back."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import refusal
from hypothesis import given
from hypothesis import strategies as st
from weights import FEW, HOST, cases, close, same_bits

import rnnbp
from rnnbp.interop import from_onnx, to_onnx
from rnnbp.interop.onnx_reading import other_weights

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from onnx.reference import ReferenceEvaluator  # noqa: E402

SPECS = (
    "lstm",
    "lstm:bias=false",
    "lstm:peepholes=true",
    "lstm:coupled=true",
    "lstm:coupled=true,peepholes=true,bias=false",
    "lstm:peepholes=true,clip=0.4",
    "lstm:input_activation=identity,output_activation=bipolar",
    "lstm:input_activation=bipolar2,output_activation=relu",
    "gru",
    "gru:bias=false",
    "gru:reset=before",
    "gru:clip=0.4",
    "gru:reset=before,clip=0.4",
    "elman",
    "elman:clip=0.4",
    "elman:activation=relu",
    "elman:activation=sigmoid,bias=false",
    "elman:activation=identity",
)
SINGLE = 1e-6  # relative, in float32, the one precision in which onnxruntime has these nodes
DOUBLE = 1e-12  # onnx's own evaluator, which knows one direction and no options


def ran(model, **inputs):
    """What onnxruntime gives for a model, by name."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([out.name for out in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data(), st.sampled_from((True, False)), st.sampled_from((True, False)))
def test_onnxruntime_gives_the_same(spec, data, states, lengths):
    """With initial states and lengths, or without; the last states too."""
    case = data.draw(cases(spec)).as_float32()
    model = to_onnx(case.stack, case.params, states=states, lengths=lengths)
    onnx.checker.check_model(model, full_check=True)
    assert other_weights(model) == []
    cells, b, inputs, s0 = list(case.stack.cells), len(case.lengths), {"x": case.xs}, None
    if states:
        s0 = tuple(
            tuple(case.rng.standard_normal((b, c.hidden_size)).astype("float32") for _ in c.states) for _, c in cells
        )
    inputs |= {"lengths": case.lengths.astype("int32")} if lengths else {}
    d = 1 + case.stack.bidirectional
    for k in range(len(case.stack.layers)):
        for j, name in enumerate(cells[k * d][1].states):
            inputs |= {f"initial_{name}_{k}": np.stack([s[j] for s in s0[k * d : (k + 1) * d]])} if states else {}
    found = ran(model, **inputs)
    ys, last = case.stack.run(case.params, case.xs, s0, mask=case.mask if lengths else None, backend=HOST)
    close(found["y"], ys, SINGLE)
    for k in range(len(case.stack.layers)):
        for j, name in enumerate(cells[k * d][1].states):
            close(found[f"last_{name}_{k}"], np.stack([s[j] for s in last[k * d : (k + 1) * d]]), SINGLE)


@pytest.mark.parametrize("spec", SPECS)
@FEW
@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_there_and_back_to_the_bit(spec, data, dtype):
    case = data.draw(cases(spec))
    params = case.weights(dtype)
    stack, back = from_onnx(to_onnx(case.stack, params))
    assert stack == case.stack
    same_bits(back, params)


def single(kind, inputs, d=1, **attributes):
    """A model of one node with random weights in float32: all that an exporter may have written."""
    rng, (t, b, n, n_in) = np.random.default_rng(5), (4, 3, 5, 2)
    g = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    shapes = {"W": (d, g * n, n_in), "R": (d, g * n, n), "B": (d, 2 * g * n), "P": (d, 3 * n)}
    arrays = {name: rng.standard_normal(shapes[name]).astype("float32") for name in inputs if name in shapes}
    float32, helper = onnx.TensorProto.FLOAT, onnx.helper
    node = helper.make_node(kind, inputs, ["y"], hidden_size=n, **attributes)
    value = helper.make_tensor_value_info
    initial = [value(name, float32, [d, b, n]) for name in inputs if name.startswith("initial")]
    constants = [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()]
    graph = helper.make_graph(
        [node], "one", [value("x", float32, [t, b, n_in]), *initial], [value("y", float32, [t, d, b, n])], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": rng.standard_normal((t, b, n_in)), **{v.name: 3 * rng.standard_normal((d, b, n)) for v in initial}}
    return model, {name: a.astype("float32") for name, a in feeds.items()}


AFFINE = {"activation_alpha": [1.0], "activation_beta": [0.0]}
P, STATES = ("x", "W", "R", "B", "", "", "", "P"), ("x", "W", "R", "B", "", "initial_h", "initial_c")


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("LSTM", ("x", "W", "R"), {}),
        ("LSTM", P, {"clip": 0.75}),
        ("LSTM", P, {"input_forget": 1}),
        ("LSTM", P, {"input_forget": 1, "clip": 0.3}),
        ("LSTM", STATES, {"clip": 0.5}),  # the initial c lies beyond it
        (
            "LSTM",
            P,
            {"activations": ["Sigmoid", "Relu", "Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]},
        ),
        ("GRU", ("x", "W", "R", "B"), {}),
        ("GRU", ("x", "W", "R", "B"), {"linear_before_reset": 1}),
        ("RNN", ("x", "W", "R", "B"), {"activations": ["Relu"]}),
        ("RNN", ("x", "W", "R", "B"), {"activations": ["Sigmoid"]}),
    ],
)
def test_their_nodes_here(kind, inputs, attributes, d):
    """Two random biases, gates that ONNX leaves idle, options and activations."""
    repeated = {name: v * d if isinstance(v, list) else v for name, v in attributes.items()}
    model, feeds = single(kind, inputs, d, direction=["forward", "bidirectional"][d - 1], **repeated)
    stack, params = from_onnx(model)
    s0 = tuple(tuple(feeds[f"initial_{s}"][k] for s in "hc") for k in range(d)) if "initial_h" in feeds else None
    ys = stack.run(params, feeds["x"], s0, backend=HOST)[0]
    close(ran(model, **feeds)["y"].transpose(0, 2, 1, 3).reshape(ys.shape), ys, SINGLE)


def test_each_direction_has_its_own_activations():
    """Alpha and beta go to those that take some, in their order."""
    names = ["Sigmoid", "Affine", "ScaledTanh", "Sigmoid", "ScaledTanh", "Relu"]
    numbers = {"activation_alpha": [1.0, 1.0, 2.0], "activation_beta": [0.0, 0.5, 0.5]}
    model, feeds = single("LSTM", P, 2, direction="bidirectional", activations=names, **numbers)
    stack, params = from_onnx(model)
    forward, reverse = stack.layers[0]
    assert (forward.input_activation, forward.output_activation) == ("identity", "bipolar")
    assert (reverse.input_activation, reverse.output_activation) == ("bipolar2", "relu")
    ys = stack.run(params, feeds["x"], backend=HOST)[0]
    close(ran(model, **feeds)["y"].transpose(0, 2, 1, 3).reshape(ys.shape), ys, SINGLE)
    assert "ONNX has the same cell in both directions of a layer" in refusal(lambda: to_onnx(stack, params))


@pytest.mark.parametrize("spec", ["lstm:peepholes=true", "gru", "gru:reset=before", "elman"])
def test_onnx_itself_gives_the_same_in_double_precision(spec):
    """Its evaluator in Python, for one layer."""
    stack, rng = rnnbp.stack(spec, 3, 4), np.random.default_rng(0)
    params = {name: rng.standard_normal(p.shape) for name, p in stack.params.items()}
    xs = rng.standard_normal((5, 2, 3))
    evaluator = ReferenceEvaluator(to_onnx(stack, params))
    close(evaluator.run(["y"], {"x": xs})[0], stack.run(params, xs, backend=HOST)[0], DOUBLE)


def test_the_exporter_of_torch(tmp_path):
    """Two layers in both directions, whose nodes feed each other."""
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    xs = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an exporter that will go
        torch.onnx.export(module, (xs,), path, dynamo=False)
    stack, params = from_onnx(path)
    assert len(stack.layers) == 2 and stack.bidirectional
    close(stack.run(params, xs.numpy(), backend=HOST)[0], module(xs)[0].detach().numpy(), SINGLE)


def named(model, **attributes):
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.graph.node[0].attribute.extend([onnx.helper.make_attribute(n, v) for n, v in attributes.items()])
    return model


def test_two_nodes_that_do_not_feed_each_other_are_asked_for_by_name():
    one, other = (single(kind, ("x", "W", "R"))[0] for kind in ("LSTM", "GRU"))
    node = one.graph.node.add()
    node.CopyFrom(other.graph.node[0])
    node.name, node.output[0], node.input[1], node.input[2] = "second", "z", "V", "S"
    for tensor, name in zip(other.graph.initializer, "VS", strict=True):
        tensor.name = name
        one.graph.initializer.append(tensor)
    assert "the model holds LSTM_0, second: name one" in refusal(lambda: from_onnx(one))
    stack, _ = from_onnx(one, layers=["second"])
    assert other_weights(one, ["second"]) == ["W", "R"] and other_weights(one) == []
    assert isinstance(stack.layers[0][0], type(rnnbp.cell("gru:reset=before", 1, 1)))
    assert "unknown layer 'third'" in refusal(lambda: from_onnx(one, layers=["third"]))


LSTM = single("LSTM", ("x", "W", "R", "B"))[0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (named(LSTM, direction="reverse"), "node LSTM_0 has direction=reverse alone"),
        (named(LSTM, activations=["HardSigmoid", "Tanh", "Tanh"]), "has gates=hardsigmoid, which no lstm here has"),
        (named(LSTM, activations=["Tanh"]), "node LSTM_0 must have 3 activations; got 1"),
        (named(LSTM, activations=["Sigmoid", "Softsign", "Tanh"]), "unknown activation 'softsign'"),
        (named(LSTM, hidden_size=4), "node LSTM_0 must have the hidden_size of R, 5; got 4"),
        (named(LSTM, output_sequence=1), "node LSTM_0 has output_sequence, which is not known here"),
        (single("LSTM", ("x", "W", "x"))[0], "node LSTM_0: R must be stored in the model"),
        (onnx.ModelProto(), "the model holds no RNN, LSTM or GRU"),
    ],
)
def test_what_does_not_fit_is_refused(model, message):
    assert message in refusal(lambda: from_onnx(model))


def test_tensors_of_another_shape_are_refused_by_name():
    for which, shape, message in [
        (1, (1, 20, 5), "node LSTM_0: R must have shape (1, 20, 5); got (1, 19, 5)"),
        (0, (1, 20, 2), "node LSTM_0: W must have shape (1, 20, I); got (1, 19, 2)"),
        (2, (1, 40), "node LSTM_0: B must have shape (1, 40); got (1, 39)"),
    ]:
        model = onnx.ModelProto.FromString(LSTM.SerializeToString())
        cut = np.zeros(shape, "float32")[:, :-1]
        model.graph.initializer[which].CopyFrom(onnx.numpy_helper.from_array(cut, model.graph.initializer[which].name))
        found = refusal(lambda model=model: from_onnx(model))
        assert message in found


def test_a_damaged_tensor_is_refused_by_name():
    model = onnx.ModelProto.FromString(LSTM.SerializeToString())
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    assert refusal(lambda: from_onnx(model)).startswith("tensor W of the model cannot be read (")


def test_a_stored_initial_state_is_refused_unless_it_is_zero():
    model, _ = single("LSTM", STATES)
    for value, message in ((0.0, ""), (0.5, "node LSTM_0: initial_h must be zero or an input")):
        held = onnx.ModelProto.FromString(model.SerializeToString())
        state = np.full((1, 3, 5), value, "float32")
        held.graph.initializer.append(onnx.numpy_helper.from_array(state, "initial_h"))
        if message:
            assert message in refusal(lambda held=held: from_onnx(held))
        else:
            from_onnx(held)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lstm:without=f", "ONNX has no lstm with without=f"),
        ("lstm:gate_recurrence=true", "ONNX has no lstm with gate_recurrence=true"),
        ("lstm:clip=0.12345678901", "ONNX stores clip in float32"),
    ],
)
def test_what_onnx_does_not_have_is_refused(spec, message):
    stack = rnnbp.stack(spec, 2, 3)
    assert message in refusal(lambda: to_onnx(stack, stack.init(np.random.default_rng(0))))


def test_a_model_has_one_dtype():
    stack = rnnbp.stack("lstm", 2, 3)
    params = stack.init(np.random.default_rng(0))
    params["0.b"] = params["0.b"].astype("float32")
    assert "the tensors of a model must have one dtype; got float32, float64" in refusal(lambda: to_onnx(stack, params))
