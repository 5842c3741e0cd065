"""A model of ONNX as a stack: which nodes it has, and how they feed each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rnnbp.errors import UserError, described
from rnnbp.interop.assembling import assembled, chosen
from rnnbp.interop.description import Layers
from rnnbp.interop.onnx_nodes import onnx_layer
from rnnbp.interop.onnx_operators import KINDS, import_onnx
from rnnbp.numerics import HostArray
from rnnbp.stacking import Stack

# what may stand between the layers of a stack
PASSING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast")


def from_onnx(model: Any, cell: str | None = None, layers: Sequence[str] = ()) -> tuple[Stack, dict[str, HostArray]]:
    """The stack and the parameters of a model (a ModelProto, or its path); `layers` are names of nodes.

    Without names all the nodes are taken if each is fed by the one before.
    """
    graph = opened(model).graph
    nodes = _nodes(graph)
    constants = _constants(graph)
    asked = _asked(nodes, layers)
    parts: dict[str, Layers] = {name: [onnx_layer(name, node, constants)] for name, node in asked.items()}
    wanted = layers or (list(nodes) if _is_chain(graph, list(nodes.values())) else [])
    return assembled(chosen(parts, wanted, "the model"), cell)


def opened(model: Any) -> Any:
    """The ModelProto of a file, or the one that was passed."""
    onnx = import_onnx()
    if not isinstance(model, str | PathLike):
        return model
    try:
        return onnx.load(model)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, of no public class
        why = " ".join(described(error).split())
        raise UserError(f"{model} is no ONNX model that can be read ({why}): name another file") from None


def other_weights(model: Any, layers: Sequence[str] = ()) -> list[str]:
    """The initializers of a model that hold real numbers and belong to none of the nodes that are read."""
    graph, types = opened(model).graph, import_onnx().TensorProto
    used = {name for node in _asked(_nodes(graph), layers).values() for name in node.input}
    real = (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16)
    return [tensor.name for tensor in graph.initializer if tensor.name not in used and tensor.data_type in real]


def _nodes(graph: Any) -> dict[str, Any]:
    """The recurrent nodes of a graph by name; one without a name is called by its operator and its place."""
    return {node.name or f"{node.op_type}_{k}": node for k, node in enumerate(graph.node) if node.op_type in KINDS}


def _asked(nodes: Mapping[str, Any], layers: Sequence[str]) -> Mapping[str, Any]:
    """The nodes that were named, so that another one that does not fit is in nobody's way; all if none was."""
    return {name: nodes[name] for name in layers} if layers and set(layers) <= set(nodes) else nodes


def _constants(graph: Any) -> dict[str, HostArray]:
    """Every tensor whose values the file holds."""
    found = {tensor.name: _to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        held = [a.t for a in node.attribute if a.name == "value" and node.op_type == "Constant"]
        if held:
            found[node.output[0]] = _to_array(held[0])
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _to_array(tensor: Any) -> HostArray:
    try:
        found: HostArray = import_onnx().numpy_helper.to_array(tensor)
    except (ValueError, KeyError, TypeError) as error:  # as onnx meets a size or a type that cannot be
        raise UserError(f"tensor {tensor.name} of the model cannot be read ({error}): use another one") from None
    return found


def _is_chain(graph: Any, nodes: Sequence[Any]) -> bool:
    """Whether every node but the first is fed by the one before, through operators that only move numbers."""
    made_by = {name: node for node in graph.node for name in node.output if name}

    def source(name: str) -> str:
        node = made_by.get(name)
        while node is not None and node.op_type in PASSING:
            name, node = node.input[0], made_by.get(node.input[0])
        return name

    return all(source(above.input[0]) == below.output[0] for below, above in zip(nodes, nodes[1:], strict=False))
