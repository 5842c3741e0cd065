"""A cell or a stack as a `torch.nn.Module`: torch's autograd calls the backward that was derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from rnnbp.backends import Backend, backend
from rnnbp.cellbase import Cell
from rnnbp.errors import UserError, unknown
from rnnbp.numerics import Array
from rnnbp.recomputing import Remat
from rnnbp.registry import cell as cell_by_name
from rnnbp.stacking import Stack
from rnnbp.truncation import Window
from rnnbp_torch.calling import call
from rnnbp_torch.function import Scan
from rnnbp_torch.sharing import SharedMemory

BACKENDS: dict[str | None, Callable[[], Backend]] = {
    None: SharedMemory,
    "numpy": partial(SharedMemory, always=True),
    "torch": partial(backend, "torch"),
}


class Module(torch.nn.Module):  # type: ignore[misc]
    """A cell, or a stack of cells, inside a model of torch's.

        module = Module("lstm:peepholes=true", input_size, hidden_size)
        ys, last = module(xs, s0)

    cell: an `rnnbp.Cell`, an `rnnbp.Stack`, or NAME[:option=value,…] with the two sizes. Parameters have rnnbp's names
    and shapes, and start as the cell draws them from `seed`. Gradients go to parameters, xs and s0, once: a second
    derivative is refused. Where none is wanted nothing is kept for a backward.
    backend: by default float32 and float64 on the CPU run in the NumPy backend's loops, on the tensors' own memory,
    where these take the cell, and all else in torch's operations; "numpy" and "torch" insist on the one or the other.
    """

    def __init__(
        self,
        cell: Cell | Stack | str,
        input_size: int | None = None,
        hidden_size: int | None = None,
        *,
        backend: str | None = None,
        seed: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise unknown("backend of a Module", backend, filter(None, BACKENDS))
        self.cell, self.backend = _made(cell, input_size, hidden_size), backend
        dtype = torch.get_default_dtype() if dtype is None else dtype
        for name, value in self.cell.init(np.random.default_rng(seed)).items():
            holder, _, last = name.rpartition(".")
            weight = torch.tensor(value, device=device, dtype=dtype)
            _submodule(self, holder).register_parameter(last, torch.nn.Parameter(weight))

    def extra_repr(self) -> str:
        return f"{self.cell}, backend={self.backend!r}"

    def forward(
        self,
        xs: Array,
        s0: Any = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: dict[str, Array] | None = None,
        reverse: bool = False,
        truncation: str | Sequence[Window] = "full",
        remat: Remat = None,
    ) -> tuple[Array, Any]:
        """Xs (T, B, I) -> ys (T, B, O), the last state.

        s0 and the last state: a tuple with one tensor (B, *shape) per state; of a stack, one such tuple per cell.
        mask, resets, data, reverse, remat: as in `rnnbp.scan`. data have no gradient.
        truncation: one of `rnnbp.truncation.KINDS`, or a list of windows. The gradient is the sum over the windows,
        each taken through all layers; s0 gets what reaches step 0.
        """
        params = {name: attrgetter(name)(self) for name in self.cell.params}
        options = {"mask": mask, "resets": resets, "data": data, "backend": BACKENDS[self.backend]()}
        asked = call(self.cell, xs, s0, reverse, truncation, remat, options)
        tensors = [xs, *asked.flat(s0), *params.values()]
        if strangers := [type(t).__name__ for t in tensors if not isinstance(t, torch.Tensor)]:
            raise UserError(f"xs and s0 must be tensors of torch; got {strangers[0]}: torch.as_tensor makes one")
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            ys, *last = Scan.apply(asked, *tensors)
        else:
            ys, last = asked.run(tensors)
        return ys, asked.nested(last)

    forward = torch.compiler.disable(forward)  # torch.compile has nothing to see here, and stumbles


def _made(cell: Cell | Stack | str, input_size: int | None, hidden_size: int | None) -> Cell | Stack:
    """The cell itself, or the one that is named."""
    sizes = (input_size, hidden_size)
    if isinstance(cell, Cell | Stack):
        if sizes != (None, None):
            raise UserError(f"a cell or a stack has its sizes; got input_size and hidden_size {sizes}: leave them out")
        return cell
    if not isinstance(cell, str):
        raise UserError(f"cell must be an rnnbp.Cell, an rnnbp.Stack or a name; got {type(cell).__name__}")
    if input_size is None or hidden_size is None:
        raise UserError(f"cell {cell!r} needs input_size and hidden_size; got {sizes}")
    found: Cell = cell_by_name(cell, input_size, hidden_size)
    return found


def _submodule(module: Any, path: str) -> Any:
    """The module at a path such as 0.reverse, made where there is none: a parameter's own name has no dots."""
    for name in filter(None, path.split(".")):
        if name not in dict(module.named_children()):
            module.add_module(name, torch.nn.Module())
        module = module.get_submodule(name)
    return module
