"""RNN, LSTM and GRU nodes of ONNX, read: attributes to options, W, R, B and P to our layout.

    W (D, GH, I)   R (D, GH, H)   B (D, 2GH), two biases   P (D, 3H), peepholes i, o, f   gates i, o, f, c or z, r, h

with D = 1 or 2 directions. initial_h, initial_c and sequence_lens are no weights: a scan gets them as s0 and mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.interop.description import Direction, defaults, fit
from rnnbp.interop.layouts import ONNX, ONNX_PEEPHOLES, OURS, added, arranged
from rnnbp.interop.onnx_operators import KINDS, activations_of, import_onnx
from rnnbp.numerics import HostArray

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
KNOWN = ("activations", "activation_alpha", "activation_beta", "clip", "direction", "hidden_size")
KNOWN_TOO = {"rnn": (), "lstm": ("input_forget",), "gru": ("linear_before_reset",)}
# the activations of a node in their order, by the names of our options (`gates` and `candidate` are none), as they are
# by default
FUNCTIONS = {
    "rnn": {"activation": "tanh"},
    "lstm": {"gates": "sigmoid", "input_activation": "tanh", "output_activation": "tanh"},
    "gru": {"gates": "sigmoid", "candidate": "tanh"},
}


def onnx_layer(name: str, node: Any, constants: Mapping[str, HostArray]) -> list[Direction]:
    """A node as one layer."""
    kind, value = KINDS[node.op_type], import_onnx().helper.get_attribute_value
    attributes = {a.name: value(a) for a in node.attribute}
    strange = set(attributes) - {*KNOWN, *KNOWN_TOO[kind], "layout"}
    if strange:
        raise UserError(f"node {name} has {', '.join(sorted(strange))}, which is not known here")
    direction = attributes.get("direction", b"forward").decode()
    if direction == "reverse":
        raise UserError(f"node {name} has direction=reverse alone: a stack has forward layers, or both directions")
    given = {role: each for role, each in zip(INPUTS, node.input, strict=False) if each}

    def constant(role: str, *shape: int | str) -> HostArray:
        if given.get(role, "") not in constants:
            raise UserError(f"node {name}: {role} must be stored in the model, not computed: fold constants first")
        return fit(f"node {name}: {role}", constants[given[role]], *shape)

    for role in ("initial_h", "initial_c"):
        if np.any(constants.get(given.get(role, ""), np.zeros(1))):
            raise UserError(f"node {name}: {role} must be zero or an input; a stack has no place for what is stored")
    g, both = GATES[kind], 1 + (direction == "bidirectional")
    n = constant("R", both, f"{g}·H" if g > 1 else "H", "H").shape[-1]
    if attributes.get("hidden_size", n) != n:
        raise UserError(f"node {name} must have the hidden_size of R, {n}; got {attributes['hidden_size']}")
    r, w = constant("R", both, g * n, n), constant("W", both, g * n, "I")
    b = constant("B", both, 2 * g * n) if "B" in given else None
    p = constant("P", both, 3 * n) if "P" in given else None
    layer = []
    for d in range(both):
        options = _options(name, kind, attributes, d, both) | {"bias": b is not None}
        options |= {"peepholes": p is not None} if kind == "lstm" else {}
        of_d = [None if a is None else a[d] for a in (b, p)]
        params = _params(kind, options, w[d], r[d], *of_d)
        layer.append(Direction(kind, w.shape[-1], n, options, params, where=f"node {name}"))
    return layer


def _options(name: str, kind: str, attributes: Mapping[str, Any], d: int, both: int) -> dict[str, Any]:
    """The options of direction d; what no cell has is left as it is called here, to be refused by name."""
    options: dict[str, Any] = {}
    if "clip" in attributes:
        options["clip"] = float(str(np.float32(attributes["clip"])))  # stored in float32: its shortest decimal
    if kind == "lstm":
        options["coupled"] = bool(attributes.get("input_forget", 0))
    if kind == "gru":
        options["reset"] = "after" if attributes.get("linear_before_reset", 0) else "before"
    usual = FUNCTIONS[kind]
    found = activations_of(attributes, list(usual.values()) * both)
    if len(found) != len(usual) * both:
        raise UserError(f"node {name} must have {len(usual) * both} activations; got {len(found)}")
    own = dict(zip(usual, found[d * len(usual) :], strict=False))
    return options | {role: f for role, f in own.items() if role in defaults(kind) or f != usual[role]}


def _params(
    kind: str, options: Mapping[str, Any], w: HostArray, r: HostArray, b: HostArray | None, p: HostArray | None
) -> dict[str, HostArray]:
    """One direction's tensors in our layout; coupled gates have no f, whose rows in ONNX are idle."""
    source, target = ONNX.order(kind), OURS.order(kind)
    if options.get("coupled"):
        target = target.replace("f", "")
    params = {"W": arranged(w.T, source, target), "U": arranged(r.T, source, target)}
    if b is not None:
        first, second = (arranged(half, source, target) for half in np.split(b, 2))
        if options.get("reset") == "after":
            rest, params["bu"] = np.split(second, [2 * r.shape[-1]])  # r, z and n
            second = np.concatenate([rest, np.zeros_like(params["bu"])])
        params["b"] = added(first, second)
    if p is not None:
        of_gate = dict(zip(ONNX_PEEPHOLES, np.split(p, 3), strict=True))
        params |= {f"p{gate}": of_gate[gate] for gate in target if gate in of_gate}
    return params
