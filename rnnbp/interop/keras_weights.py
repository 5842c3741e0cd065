"""Weights of Keras 3's LSTM, GRU, SimpleRNN and Bidirectional: lists as `layer.get_weights()`.

    kernel (I, GH)   recurrent_kernel (H, GH)   bias (GH)   gates i, f, c, o or z, r, h

A GRU with reset_after=True has two biases, (2, GH): the second is that of the recurrent product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.interop.assembling import assembled, taken
from rnnbp.interop.description import Direction, fit, host
from rnnbp.interop.layouts import KERAS, OURS, added, arranged
from rnnbp.numerics import HostArray
from rnnbp.stacking import Stack

KINDS = {1: "rnn", 3: "gru", 4: "lstm"}  # by the number of gates
TAKES = {"rnn": ("bias", "activation"), "lstm": ("bias",), "gru": ("bias", "reset")}
LAYERS = {"rnn": ("SimpleRNN", "simple_rnn"), "lstm": ("LSTM", "lstm"), "gru": ("GRU", "gru")}
ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid", "identity": "linear"}
SIDES = ("forward_layer", "backward_layer")


def from_keras(weights: Sequence[Any], cell: str | None = None) -> tuple[Stack, dict[str, HostArray]]:
    """The stack and the parameters in `layer.get_weights()`, or in a list of such lists, one for each layer.

    A Bidirectional has twice the arrays, those of its forward layer first. `cell` says what the shapes do not:
    `elman:activation=tanh` for a SimpleRNN, `gru:reset=before` or `gru:reset=after` for a GRU without bias.
    """
    lists = weights if weights and isinstance(weights[0], list | tuple) else [weights]
    return assembled([keras_layer(f"layer {k}", _sides(arrays)) for k, arrays in enumerate(lists)], cell)


def to_keras(stack: Stack, params: Mapping[str, Any]) -> list[list[HostArray]]:
    """A list of arrays for each layer, for `layer.set_weights` of the layers in `keras_model`."""
    return [[a for one in layer for a in arrays_of(one)] for layer in keras_layers(stack, params)]


def _sides(arrays: Sequence[Any]) -> list[list[Any]]:
    """The arrays of a layer, parted where it is a Bidirectional."""
    if len(arrays) not in (2, 3, 4, 6):
        raise UserError(f"a layer has kernel, recurrent kernel, perhaps bias, or twice that; got {len(arrays)} arrays")
    half = len(arrays) // 2 if len(arrays) > 3 else len(arrays)
    return [list(arrays[:half]), list(arrays[half:])] if half < len(arrays) else [list(arrays)]


def keras_layer(where: str, sides: Sequence[Sequence[Any]]) -> list[Direction]:
    """A layer from the arrays of its directions, one or two."""
    names = [where] if len(sides) == 1 else [f"{where}/{side}" for side in SIDES]
    return [_direction(name, [host(a) for a in own]) for name, own in zip(names, sides, strict=True)]


def _direction(where: str, own: Sequence[HostArray]) -> Direction:
    """One layer in one direction, every array checked against the shape that the recurrent kernel tells."""
    u = fit(f"{where}/recurrent_kernel", own[1] if len(own) > 1 else None, "H", "G·H")
    n, columns = u.shape
    if columns % n or columns // n not in KINDS:
        raise UserError(f"{where}/recurrent_kernel must have 1, 3 or 4 times as many columns as rows; got {u.shape}")
    kind, unsaid = KINDS[columns // n], {}
    w = fit(f"{where}/kernel", own[0], "I", columns)
    source, target = KERAS.order(kind), OURS.order(kind)
    params = {"W": arranged(w, source, target), "U": arranged(u, source, target)}
    options: dict[str, Any] = {"bias": len(own) > 2}
    if kind == "rnn":
        unsaid = {"activation": tuple(ACTIVATIONS)}
    if kind == "gru" and len(own) < 3:
        unsaid = {"reset": ("after", "before")}
    elif kind == "gru":
        options |= {"reset": "after" if own[2].ndim == 2 else "before"}
    if len(own) > 2 and options.get("reset") == "after":
        first, second = fit(f"{where}/bias", own[2], 2, columns)
        second = arranged(second, source, target)  # r, z, n
        params["bu"] = second[2 * n :]
        of_gates = np.concatenate([second[: 2 * n], np.zeros_like(params["bu"])])
        params["b"] = added(arranged(first, source, target), of_gates)
    elif len(own) > 2:
        params["b"] = arranged(fit(f"{where}/bias", own[2], columns), source, target)
    return Direction(kind, w.shape[0], n, options, params, unsaid, where)


def arrays_of(one: Direction) -> list[HostArray]:
    """Kernel, recurrent kernel and bias of one direction."""
    source, target = OURS.order(one.kind), KERAS.order(one.kind)
    arrays = [arranged(one.params[name], source, target) for name in ("W", "U", "b") if name in one.params]
    if "bu" in one.params:
        second = np.concatenate([np.zeros(2 * one.hidden_size, one.params["bu"].dtype), one.params["bu"]])
        arrays[2] = np.stack([arrays[2], arranged(second, source, target)])
    return [np.ascontiguousarray(a) for a in arrays]


def keras_layers(stack: Stack, params: Mapping[str, Any]) -> list[tuple[Direction, ...]]:
    """The layers, if Keras has them."""
    layers = taken(stack, params, "keras", TAKES)
    for name in [one.options["activation"] for layer in layers for one in layer if one.kind == "rnn"]:
        if name not in ACTIVATIONS:
            raise UserError(f"keras has SimpleRNN with activation {', '.join(ACTIVATIONS)}; got {name}")
    return layers


def keras_model(stack: Stack, params: Mapping[str, Any]) -> str:
    """The model that takes these weights, as it is written in Python."""
    layers = keras_layers(stack, params)
    made = []
    for one, *other in layers:
        options = {"use_bias": one.options["bias"], "reset_after": one.options.get("reset") != "before"}
        said = "".join(f", {name}=False" for name, value in options.items() if not value)
        name = ACTIVATIONS[one.options.get("activation", "tanh")]
        said += f", activation={name!r}" * (name != "tanh")
        layer = f"keras.layers.{LAYERS[one.kind][0]}({one.hidden_size}, return_sequences=True{said})"
        made.append(f"keras.layers.Bidirectional({layer})" if other else layer)
    return f"keras.Sequential([{', '.join([f'keras.Input((None, {layers[0][0].input_size}))', *made])}])"
