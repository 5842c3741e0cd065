"""torch tensors in the CPU's memory, seen as NumPy arrays of the same: scans run in the NumPy backend's loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnnbp.backends import backend
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray
from rnnbp.scanning import reference
from rnnbp.truncation import Window
from rnnbp_torch import TorchBackend

DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class SharedMemory(TorchBackend):
    """torch's backend, but a scan that NumPy's generated loops take runs in these, on the tensors' own memory.

    What they do not take runs in torch's portable path, or with `always` in NumPy's; there what a backward gives is
    copied, since a cell may hand on what it was given, and torch writes to gradients.
    """

    always: bool = False

    def scan(self, cell: Any, params: Any, xs: Array, s0: Any, **options: Any) -> Any:
        reason = unfit(xs, *params.values(), *s0, *(options["data"] or {}).values())
        if reason and self.always:
            raise UserError(f"backend numpy takes tensors on the CPU, of float32 or float64; got {reason}")
        if reason:
            return super().scan(cell, params, xs, s0, **options)
        numpy, given, rest = backend("numpy"), host((cell, params, xs, s0)), host(options)
        result, copy = numpy.scan(*given, **rest), False
        if result is NotImplemented and not self.always:
            return super().scan(cell, params, xs, s0, **options)
        if result is NotImplemented:
            result, copy = reference(numpy.xp, *given, **rest), True
        ys, last, back = result

        def backward(dys: Array | None = None, ds_T: Any = None, window: Window | None = None) -> Any:
            return tensors(back(host(dys), host(ds_T), window), copy)

        return tensors(ys), tensors(last), backward if options["keep"] else None


def unfit(*given: Array) -> str:
    """Why tensors cannot be seen as NumPy arrays that a loop takes; "" where they can."""
    odd = next((t for t in given if t.device.type != "cpu" or t.dtype not in DTYPES), None)
    return "" if odd is None else f"{odd.dtype} on {odd.device}"


def host(x: Any) -> Any:
    """Every tensor in x as an array of the same memory."""
    if isinstance(x, torch.Tensor):
        return x.detach().numpy()
    return _within(host, x)


def tensors(x: Any, copy: bool = False) -> Any:
    """Every array in x as a tensor of the same memory, or of a copy.

    An array may be read-only, because a scan's backward reads it, too: of what is written to torch keeps count itself.
    """
    if not isinstance(x, np.ndarray):
        return _within(lambda part: tensors(part, copy), x)
    array: HostArray = x.copy() if copy else x.view()
    array.flags.writeable = True
    return torch.from_numpy(array)


def _within(change: Any, x: Any) -> Any:
    if isinstance(x, Mapping):
        return {name: change(part) for name, part in x.items()}
    return tuple(change(part) for part in x) if type(x) in (tuple, list) else x
