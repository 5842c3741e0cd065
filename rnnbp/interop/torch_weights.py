"""State dicts of torch.nn.RNN, LSTM and GRU (and of their cells): names, transposes and the two biases.

    weight_ih_l0 (GH, I)   weight_hh_l0 (GH, H)   bias_ih_l0, bias_hh_l0 (GH)   gates i, f, g, o or r, z, n

With proj_size=P an LSTM has weight_hr_l0 (P, H), our V transposed, and weight_hh_l0 (GH, P).
torch adds two biases where we have one; only in the GRU's candidate n the second is multiplied by r: our `bu`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.interop.assembling import assembled, chosen, taken
from rnnbp.interop.description import Direction, Layers, fit, host, words
from rnnbp.interop.layouts import OURS, TORCH, added, arranged, turned
from rnnbp.numerics import HostArray
from rnnbp.stacking import Stack

KINDS = {1: "rnn", 3: "gru", 4: "lstm"}  # by the number of gates
TAKES = {"rnn": ("bias", "activation"), "lstm": ("bias",), "lstm-projected": ("bias", "projection"), "gru": ("bias",)}
MODULES = {"rnn": "RNN", "lstm": "LSTM", "lstm-projected": "LSTM", "gru": "GRU"}
ACTIVATIONS = ("tanh", "relu")
TENSOR = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh)|weight_hr)(?:_l(\d+)(_reverse)?)?")


def from_torch(
    weights: Mapping[str, Any], cell: str | None = None, layers: Sequence[str] = ()
) -> tuple[Stack, dict[str, HostArray]]:
    """The stack and the parameters in a state dict, of one module or of a model that has one.

    `layers`: which modules, by the path in front of their names, from the bottom up. `cell` says what the shapes do
    not: `elman:activation=relu`.
    """
    return assembled(chosen(torch_modules(weights), layers, "the state dict"), cell)


def torch_modules(weights: Mapping[str, Any]) -> dict[str, Layers]:
    """Every recurrent module in a state dict, by its path, "" for the dict of one module."""
    found: dict[str, dict[tuple[int, bool], dict[str, HostArray]]] = {}
    for name, value in weights.items():
        if match := TENSOR.fullmatch(name):
            path, what, layer, reverse = match.groups()
            module = found.setdefault(path or "", {})
            module.setdefault((int(layer or 0), bool(reverse)), {})[what] = host(value)
    return {path: _layers(path, module) for path, module in found.items()}


def of_layers(weights: Mapping[str, Any], layers: Sequence[str] = ()) -> set[str]:
    """The names in a state dict that belong to those modules, or to any."""
    matches = [match for match in map(TENSOR.fullmatch, weights) if match]
    return {match.group() for match in matches if not layers or (match.group(1) or "") in layers}


def _layers(path: str, module: Mapping[tuple[int, bool], Mapping[str, HostArray]]) -> Layers:
    both, depth = any(reverse for _, reverse in module), 1 + max(layer for layer, _ in module)
    front = path + "." * bool(path)
    return [
        [
            _direction(front, f"_l{k}" + "_reverse" * reverse, module.get((k, bool(reverse)), {}))
            for reverse in range(1 + both)
        ]
        for k in range(depth)
    ]


def _direction(front: str, end: str, own: Mapping[str, HostArray]) -> Direction:
    """One direction of one layer, every tensor checked against the shape that weight_hh tells."""

    def tensor(what: str, *shape: int | str) -> HostArray:
        return fit(front + what + end, own.get(what), *shape)

    u = tensor("weight_hh", "G·H", "H")
    v = tensor("weight_hr", u.shape[1], "H") if "weight_hr" in own else None
    rows, n = u.shape[0], u.shape[1] if v is None else v.shape[1]
    if v is not None and rows != 4 * n:
        raise UserError(f"{front}weight_hh{end} must have 4 rows for each of {n} units; got {u.shape}")
    if rows % n or rows // n not in KINDS:
        raise UserError(f"{front}weight_hh{end} must have 1, 3 or 4 times as many rows as columns; got {u.shape}")
    kind = KINDS[rows // n]
    w = tensor("weight_ih", rows, "I")
    source, target = TORCH.order(kind), OURS.order(kind)
    params = {"W": arranged(w.T, source, target), "U": arranged(u.T, source, target)}
    options: dict[str, Any] = {"bias": "bias_ih" in own or "bias_hh" in own}
    if options["bias"]:
        first, second = tensor("bias_ih", rows), tensor("bias_hh", rows)
        if kind == "gru":
            params["bu"] = second[2 * n :]
            second = np.concatenate([second[: 2 * n], np.zeros_like(params["bu"])])
        params["b"] = arranged(added(first, second), source, target)
    options |= {"reset": "after"} if kind == "gru" else {}
    if v is not None:
        kind, options["projection"], params["V"] = "lstm-projected", v.shape[0], turned(v)
    unsaid = {"activation": ACTIVATIONS} if kind == "rnn" else {}
    return Direction(kind, w.shape[1], n, options, params, unsaid, f"{front}weight_hh{end}")


def to_torch(stack: Stack, params: Mapping[str, Any]) -> dict[str, HostArray]:
    """The state dict that `torch_module` takes: our one bias in bias_ih, zeros (and `bu`) in bias_hh."""
    weights: dict[str, HostArray] = {}
    for k, layer in enumerate(_taken(stack, params)):
        for one, end in zip(layer, (f"_l{k}", f"_l{k}_reverse"), strict=False):
            source, target = OURS.order(one.kind), TORCH.order(one.kind)
            weights["weight_ih" + end] = turned(arranged(one.params["W"], source, target))
            weights["weight_hh" + end] = turned(arranged(one.params["U"], source, target))
            if "V" in one.params:
                weights["weight_hr" + end] = turned(one.params["V"])
            if one.options["bias"]:
                b = weights["bias_ih" + end] = arranged(one.params["b"], source, target)
                bu = one.params.get("bu", np.zeros(one.hidden_size, b.dtype))
                weights["bias_hh" + end] = np.concatenate([np.zeros_like(b[: -one.hidden_size]), bu])
    return weights


def torch_module(stack: Stack, params: Mapping[str, Any]) -> str:
    """The module that takes the weights of `to_torch`, as it is written in Python."""
    layers = _taken(stack, params)
    one, options = layers[0][0], {"num_layers": len(layers), "bidirectional": stack.bidirectional}
    options |= {"bias": one.options["bias"], "nonlinearity": one.options.get("activation", "tanh")}
    options |= {"proj_size": one.options.get("projection", 0)}
    usual = {"num_layers": 1, "bidirectional": False, "bias": True, "nonlinearity": "tanh", "proj_size": 0}
    said = "".join(f", {name}={value!r}" for name, value in options.items() if value != usual[name])
    return f"torch.nn.{MODULES[one.kind]}({one.input_size}, {one.hidden_size}{said})"


def _taken(stack: Stack, params: Mapping[str, Any]) -> list[tuple[Direction, ...]]:
    """The layers, if one module of torch has them: all of one kind, of one width, in the same directions."""
    layers = taken(stack, params, "torch", TAKES)
    alike = [[(one.kind, one.hidden_size, words(one.options)) for one in layer] for layer in layers]
    for k, layer in enumerate(alike):
        if layer != alike[0]:
            raise UserError(
                f"a module of torch has equal layers; layer {k} is not like layer 0: convert them one by one"
            )
    one = layers[0][0]
    if one.options.get("activation", "tanh") not in ACTIVATIONS:
        raise UserError(f"torch.nn.RNN has activation tanh or relu; got {one.options['activation']}")
    if one.options.get("projection", 0) >= one.hidden_size:
        width = one.options["projection"]
        raise UserError(f"torch.nn.LSTM projects to fewer numbers than its {one.hidden_size} units; got {width}")
    return layers
