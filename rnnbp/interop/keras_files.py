"""The `.weights.h5` of Keras 3, through h5py.

A file has a group for each layer: `layers/lstm_1/cell/vars` with the datasets 0, 1, 2 (kernel, recurrent kernel, bias),
or `layers/bidirectional/forward_layer/cell/vars` and the same under backward_layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.interop.assembling import assembled, chosen
from rnnbp.interop.description import Layers
from rnnbp.interop.keras_weights import LAYERS, SIDES, arrays_of, keras_layer, keras_layers
from rnnbp.interop.recognising import damaged
from rnnbp.numerics import HostArray
from rnnbp.stacking import Stack

TOP = "layers/"  # the group that holds the layers of a model


def read_keras(
    path: Path, cell: str | None = None, layers: Sequence[str] = ()
) -> tuple[Stack, dict[str, HostArray], list[str]]:
    """The stack and the parameters in a `.weights.h5`, and the datasets that are none of it; `layers` are groups."""
    names: list[str] = []
    try:
        with _h5py().File(path) as file:
            if "layer_names" in file.attrs or "model_weights" in file:
                raise UserError(
                    f"{path} was not written by Keras 3's save_weights: load it there, and save_weights anew"
                )
            found = {name: keras_layer(name, sides) for name, sides in _recurrent(file)}
            file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    except (OSError, RuntimeError, KeyError) as error:  # whichever HDF5 comes to
        if isinstance(error, UserError):
            raise
        raise damaged(path, error) from None
    paths = {name.removeprefix(TOP): name for name in found}
    parts: dict[str, Layers] = {short: [found[name]] for short, name in paths.items()}
    wanted = [name.removeprefix(TOP) for name in layers]
    picked = chosen(parts, wanted, str(path))
    inside = tuple(f"{paths[name]}/" for name in wanted or paths)
    return *assembled(picked, cell), [name for name in names if not name.startswith(inside)]


def write_keras(path: Path, stack: Stack, params: Mapping[str, Any]) -> None:
    """A `.weights.h5` that `keras_model` loads with `load_weights`."""
    counts: dict[str, int] = {}
    with _h5py().File(path, "w") as file:
        for layer in keras_layers(stack, params):
            name = "bidirectional" if len(layer) > 1 else LAYERS[layer[0].kind][1]
            counts[name] = counts.get(name, -1) + 1
            group = f"{TOP}{name}" + f"_{counts[name]}" * bool(counts[name])
            for one, side in zip(layer, SIDES, strict=False):
                inside = f"{group}/{side}" if len(layer) > 1 else group
                for k, array in enumerate(arrays_of(one)):
                    file[f"{inside}/cell/vars/{k}"] = array


def _recurrent(file: Any) -> Iterator[tuple[str, list[list[HostArray]]]]:
    """Every recurrent layer of a file with the arrays of its directions."""
    groups: list[str] = []
    file.visit(lambda name: groups.append(name) if name.endswith("/cell/vars") else None)
    seen = []
    for name in groups:
        inside = name.removesuffix("/cell/vars")
        path, _, side = inside.rpartition("/")
        path, ends = (path, SIDES) if side in SIDES else (inside, ("",))
        if path not in seen and len(file[name]):
            seen.append(path)
            yield path, [_variables(file, "/".join(filter(None, (path, end)))) for end in ends]


def _variables(file: Any, inside: str) -> list[HostArray]:
    group = file[f"{inside}/cell/vars"]
    return [np.asarray(group[key]) for key in sorted(group, key=int)]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise UserError("weights of Keras need h5py: pip install 'rnnbp[keras]'") from None
    return h5py
