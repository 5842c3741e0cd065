"""A stack as a valid ONNX model: one RNN, LSTM or GRU node for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.interop.assembling import taken
from rnnbp.interop.description import Direction
from rnnbp.interop.layouts import ONNX, ONNX_PEEPHOLES, OURS, arranged
from rnnbp.interop.onnx_operators import ACTIVATIONS, KINDS, import_onnx
from rnnbp.numerics import HostArray
from rnnbp.stacking import Stack

TAKES = {
    "rnn": ("bias", "activation", "clip"),
    "lstm": ("bias", "peepholes", "coupled", "input_activation", "output_activation", "clip"),
    "gru": ("bias", "reset", "clip"),
}
OPSET, IR = 17, 8  # 2022: what every runtime of today reads


def to_onnx(stack: Stack, params: Mapping[str, Any], *, states: bool = False, lengths: bool = False) -> Any:
    """The ModelProto: x (T, B, I) -> y (T, B, O), and the last states of layer k, last_h_k and last_c_k (D, B, H).

    states: it also takes initial_h_k and initial_c_k, of the same shape; lengths: it also takes `lengths` (B), int32,
    the number of steps of every sequence: beyond it outputs are zero and states frozen, as under a mask.
    """
    onnx = import_onnx()
    helper, layers = onnx.helper, taken(stack, params, "ONNX", TAKES)
    kind = helper.np_dtype_to_tensor_dtype(_dtype(layers))

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    rows = onnx.numpy_helper.from_array(np.asarray([0, 0, -1]), "rows")  # T and B as they are, the rest in one row
    inputs, outputs, nodes, constants = [value("x", "T", "B", stack.input_size)], [], [], [rows]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"]))
    for k, layer in enumerate(layers):
        tensors = _tensors(layer)
        constants += [onnx.numpy_helper.from_array(a, f"{k}.{role}") for role, a in tensors.items()]
        shape = (len(layer), "B", layer[0].hidden_size)
        inputs += [value(f"initial_{s}_{k}", *shape) for s in _states(layer) if states]
        outputs += [value(f"last_{s}_{k}", *shape) for s in _states(layer)]
        nodes += _nodes(k, layer, {*tensors, *["lengths"] * lengths, *["initial"] * states}, k == len(layers) - 1)
    graph = helper.make_graph(nodes, "rnnbp", inputs, [value("y", "T", "B", stack.output_size), *outputs], constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="rnnbp", opset_imports=opsets, ir_version=IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def _dtype(layers: Sequence[Sequence[Direction]]) -> Any:
    """The dtype of all tensors."""
    dtypes = {a.dtype for layer in layers for one in layer for a in one.params.values()}
    if len(dtypes) > 1:
        names = ", ".join(sorted(map(str, dtypes)))
        raise UserError(f"the tensors of a model must have one dtype; got {names}: cast them to one")
    return dtypes.pop()


def _states(layer: Sequence[Direction]) -> str:
    """The letters of the states of a layer."""
    return "hc" if layer[0].kind == "lstm" else "h"


def _nodes(k: int, layer: Sequence[Direction], given: set[str], last: bool) -> list[Any]:
    """The node of layer k, which has the inputs that are given, and those that put its directions side by side."""
    make = import_onnx().helper.make_node
    states = _states(layer)
    names = ["x" if k == 0 else f"x_{k}", f"{k}.W", f"{k}.R", f"{k}.B" if "B" in given else ""]
    names += ["lengths" if "lengths" in given else ""]
    names += [f"initial_{s}_{k}" if "initial" in given else "" for s in states]
    names += [f"{k}.P"] if "P" in given else []
    while not names[-1]:  # what is left out at the end is not written
        names.pop()
    operator = next(theirs for theirs, ours in KINDS.items() if ours == layer[0].kind)
    made = [f"y_{k}", *(f"last_{s}_{k}" for s in states)]
    return [
        make(operator, names, made, f"layer_{k}", **_attributes(layer)),
        make("Transpose", [f"y_{k}"], [f"beside_{k}"], perm=[0, 2, 1, 3]),  # (T, D, B, H) -> (T, B, D, H)
        make("Reshape", [f"beside_{k}", "rows"], ["y" if last else f"x_{k + 1}"]),  # (T, B, DH)
    ]


def _attributes(layer: Sequence[Direction]) -> dict[str, Any]:
    """The attributes of a node that are not what they are by default."""
    one, options = layer[0], layer[0].options
    found: dict[str, Any] = {"hidden_size": one.hidden_size, "direction": ("forward", "bidirectional")[len(layer) - 1]}
    if options.get("clip") is not None:
        if float(str(np.float32(options["clip"]))) != options["clip"]:
            raise UserError(f"ONNX stores clip in float32, which {options['clip']} is not: round it to 6 digits")
        found["clip"] = float(options["clip"])
    found |= {"input_forget": 1} if options.get("coupled") else {}
    found |= {"linear_before_reset": 1} if options.get("reset") == "after" else {}
    names = {"rnn": ("activation",), "lstm": ("input_activation", "output_activation"), "gru": ()}[one.kind]
    functions = [options[name] for name in names]
    if any(f != "tanh" for f in functions):
        strange = [f for f in functions if f not in ACTIVATIONS]
        if strange:
            raise UserError(f"ONNX has no activation {strange[0]} as it is here: cell {one.where} cannot go there")
        said = [ACTIVATIONS[f] for f in (["sigmoid"] if one.kind == "lstm" else []) + functions] * len(layer)
        found["activations"] = [operator for operator, *_ in said]
        for which, place in (("alpha", 1), ("beta", 2)):
            if values := [f[place] for f in said if len(f) > 1]:
                found[f"activation_{which}"] = values
    return found


def _tensors(layer: Sequence[Direction]) -> dict[str, HostArray]:
    """W, R, B and P of a node, both directions on the first axis."""
    sides = [_side(one) for one in layer]
    return {role: np.ascontiguousarray(np.stack([side[role] for side in sides])) for role in sides[0]}


def _side(one: Direction) -> dict[str, HostArray]:
    """The tensors of one direction; rows of a gate that we do not have are zero."""
    p, n = one.params, one.hidden_size
    source, target = OURS.order(one.kind), ONNX.order(one.kind)
    if one.options.get("coupled"):
        source = source.replace("f", "")
    found = {"W": arranged(p["W"], source, target).T, "R": arranged(p["U"], source, target).T}
    if "b" in p:
        second = np.zeros_like(p["b"])
        if "bu" in p:
            second = np.concatenate([second[: 2 * n], p["bu"]])
        found["B"] = np.concatenate([arranged(b, source, target) for b in (p["b"], second)])
    if one.options.get("peepholes"):
        found["P"] = np.concatenate([p.get(f"p{gate}", np.zeros_like(p["po"])) for gate in ONNX_PEEPHOLES])
    return found
