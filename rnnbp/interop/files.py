"""Weights in files: what a file is, reading one and writing one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from rnnbp.errors import UserError, unknown
from rnnbp.interop.description import cast
from rnnbp.interop.keras_files import read_keras, write_keras
from rnnbp.interop.keras_weights import keras_model
from rnnbp.interop.native import read_native, spec_of, write_native
from rnnbp.interop.onnx_reading import from_onnx, opened, other_weights
from rnnbp.interop.onnx_writing import to_onnx
from rnnbp.interop.recognising import recognised
from rnnbp.interop.torch_weights import from_torch, of_layers, to_torch, torch_module
from rnnbp.numerics import HostArray
from rnnbp.runs import replace_file
from rnnbp.stacking import Stack

ENDINGS = {"rnnbp": ".safetensors", "torch": ".safetensors", "keras": ".weights.h5", "onnx": ".onnx"}


@dataclass(frozen=True)
class Read:
    """What a file held: the stack and its parameters, in which format, the tensors that are none of them, and the specs
    of the cells by prefix.
    """

    stack: Stack
    params: dict[str, HostArray]
    source: str
    left_out: list[str]
    cells: dict[str, str]


def load(
    path: Path | str, format: str | None = None, cell: str | None = None, layers: Sequence[str] = ()
) -> tuple[Stack, dict[str, HostArray]]:
    """The stack and the parameters in a file of rnnbp (or a run's folder), torch, Keras or ONNX.

    format: rnnbp, torch, keras or onnx, if it must be that one. cell: NAME[:option=value,…] for what a file leaves
    open. layers: which part of a larger model, from the bottom up.
    """
    found = read(path, format, cell, layers)
    return found.stack, found.params


def read(path: Path | str, format: str | None = None, cell: str | None = None, layers: Sequence[str] = ()) -> Read:
    """As `load`, with what else there is to tell."""
    path = Path(path)
    source = recognised(path)
    if check_format(format) not in (None, source):
        raise UserError(f"{path} is a file of {source}; got {format}")
    if source == "rnnbp":
        if cell is not None:
            raise UserError(f"{path} names its own cells; got cell {cell}: leave it out")
        stack, params, left_out, cells = read_native(path, layers)
        return Read(stack, params, source, left_out, cells)
    if source == "keras":
        stack, params, left_out = read_keras(path, cell, layers)
    elif source == "onnx":
        model = opened(path)
        stack, params = from_onnx(model, cell, layers)
        left_out = other_weights(model, layers)
    else:
        weights = tensors(path)
        stack, params = from_torch(weights, cell, layers)
        left_out = sorted(set(weights) - of_layers(weights, layers))
    return Read(stack, params, source, left_out, {prefix: spec_of(one) for prefix, one in stack.cells})


def save(
    path: Path | str,
    stack: Stack,
    params: Mapping[str, Any],
    format: str | None = None,
    dtype: str | None = None,
    **more: Any,
) -> None:
    """Write weights for rnnbp, torch, Keras or ONNX; without `format` the ending says which (.safetensors: ours).

    more: for ONNX `states` and `lengths`, as in `to_onnx`; for our own format `cells`, specs by prefix.
    """
    path = Path(path)
    arrays = cast(params, dtype)
    target = format or by_ending(path)
    check_format(target)
    allowed = {"onnx": ("states", "lengths"), "rnnbp": ("cells",)}.get(target, ())
    for name in more:
        if name not in allowed:
            raise unknown(f"option of format {target}", name, allowed)
    if target == "rnnbp":
        write_native(path, stack, arrays, **more)
    elif target == "keras":
        write_keras(path, stack, arrays)
    elif target == "onnx":
        replace_file(path, to_onnx(stack, arrays, **more).SerializeToString())
    else:
        replace_file(path, to_safetensors(to_torch(stack, arrays), metadata={"format": "pt"}))


def receiver(stack: Stack, params: Mapping[str, Any], format: str) -> str | None:
    """The module or model that takes the weights in a format, as written in Python; None where a file is whole."""
    makers = {"torch": torch_module, "keras": keras_model}
    return makers[format](stack, params) if format in makers else None


def by_ending(path: Path) -> str:
    """The format that the ending of a file stands for."""
    for name, ending in ENDINGS.items():
        if path.name.endswith(ending):
            return name
    endings = ", ".join(dict.fromkeys(ENDINGS.values()))
    raise UserError(f"a file of weights ends in {endings}; got {path.name}: name another, or the format")


def check_format(name: str | None) -> str | None:
    """The name of a format, or None."""
    if name is not None and name not in ENDINGS:
        raise unknown("format", name, ENDINGS)
    return name


def tensors(path: Path) -> dict[str, HostArray]:
    """The tensors of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        found = {}
        for name in file.keys():  # noqa: SIM118 (not a Mapping)
            try:
                found[name] = file.get_tensor(name)
            except (TypeError, AttributeError, SafetensorError) as error:  # a dtype that NumPy lacks
                raise UserError(f"{path}: {name} cannot be read ({error}): save it as float32") from None
    return found
