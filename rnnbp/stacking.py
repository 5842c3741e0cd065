"""Cells on top of each other, in one direction or both, with the contract of `scan`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace

from rnnbp.around.connections import dropped, plus, seen
from rnnbp.backends import Backend
from rnnbp.cellbase import Cell, Param, Params, State
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace, broadcast
from rnnbp.recomputing import Remat
from rnnbp.registry import cell as make_cell
from rnnbp.scanning import run, scan
from rnnbp.truncation import Window
from rnnbp.validation import check_names, check_window

States: TypeAlias = tuple[State, ...]  # one state per layer and direction: 0, 0.reverse, 1, 1.reverse, …
StackBackward: TypeAlias = Callable[..., tuple[dict[str, Array], Array, States]]


@dataclass(frozen=True)
class Stack:
    """Layers of cells, each layer a forward cell or a forward and a reverse one whose outputs stand side by side.

    Parameters are named `<layer>.<name>`, those of a reverse cell `<layer>.reverse.<name>`.
    residual: layers that give x + h, h being what their cells give for x (He et al. 2016; Prakash et al. 2016, arXiv
    1610.03098): dx = dy + the error that comes through the cells.
    """

    layers: tuple[tuple[Cell, ...], ...]
    residual: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for k in self.residual:
            if not 0 <= k < len(self.layers):
                raise UserError(f"residual names layers, 0 to {len(self.layers) - 1}; got {k}")
            n_in, n_out = self.layers[k][0].input_size, sum(cell.output_size for cell in self.layers[k])
            if n_in != n_out:
                raise UserError(f"a residual layer is as wide as its input; layer {k} gives {n_out} for {n_in}")
        for _, cell in self.cells:
            if "dropout" in cell.data:
                raise UserError(f"dropout is a layer's own data in a stack; {cell} has some, too: give it another name")

    @property
    def cells(self) -> Iterator[tuple[str, Cell]]:
        """Every cell with its prefix, from the bottom up."""
        for k, layer in enumerate(self.layers):
            yield from zip((f"{k}.", f"{k}.reverse."), layer, strict=False)

    @property
    def params(self) -> dict[str, Param]:
        """Every parameter by name."""
        return {prefix + name: spec for prefix, cell in self.cells for name, spec in cell.params.items()}

    def of_cells(self, change: Callable[[Cell], Cell]) -> Stack:
        """The same stack with each of its cells changed."""
        return replace(self, layers=tuple(tuple(map(change, layer)) for layer in self.layers))

    @property
    def dropouts(self) -> list[str]:
        """The data that may be given, `<k>.dropout`, for what each layer reads and what the stack gives."""
        return [f"{k}.dropout" for k in range(len(self.layers) + 1)]

    @property
    def input_size(self) -> int:
        """I, the width of the bottom layer's input."""
        return self.layers[0][0].input_size

    @property
    def output_size(self) -> int:
        """O, the width of the top layer's output, both directions together."""
        return sum(cell.output_size for cell in self.layers[-1])

    @property
    def bidirectional(self) -> bool:
        """Whether a layer has a reverse cell."""
        return any(len(layer) > 1 for layer in self.layers)

    def init(self, rng: np.random.Generator) -> dict[str, HostArray]:
        """Freshly drawn parameters, as host arrays in float64."""
        return {name: spec.init(rng, spec.shape) for name, spec in self.params.items()}

    def initial_state(self, xp: Namespace, batch: int, like: Array) -> States:
        """The state of every cell before the first step."""
        return tuple(cell.initial_state(xp, batch, like) for _, cell in self.cells)

    def scan(
        self,
        params: Params,
        xs: Array,
        s0: States | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: Params | None = None,
        remat: Remat = None,
        backend: Backend | None = None,
    ) -> tuple[Array, States, StackBackward]:
        """Run the stack over xs (..., T, B, I): ys (..., T, B, O), the last states, and the backward.

        backward(dys, ds_T=None, window=None) -> (dparams, dxs, ds_start), as in `rnnbp.scan`, with one state per cell.
        A window is cut at the same step in every layer; a layer below gets errors at all of its steps.
        remat is each cell's: what a layer gives is kept for the one above. data are named like parameters,
        `<layer>.<name>`. There is no `record`: it is for single cells, in `rnnbp.scan`.
        Where data hold `<k>.dropout` (..., T, B, N), it multiplies what layer k reads (Zaremba et al. 2014, arXiv
        1409.2329), for k = the number of layers what the stack gives. A residual layer adds its input as it was before.
        """
        ys, last, backs = self._forward(partial(scan, remat=remat), params, xs, s0, mask, resets, data, backend)
        drops = [(data or {}).get(name) for name in self.dropouts]

        def backward(
            dys: Array | None = None, ds_T: States | None = None, window: Window | None = None
        ) -> tuple[dict[str, Array], Array, States]:
            if ds_T is not None and len(ds_T) != len(last):
                raise UserError(f"ds_T must hold one state per cell, {len(last)}; got {len(ds_T)}")
            if window is not None:
                window = check_window(window, ys.shape[-3], self.bidirectional)
            dparams: dict[str, Array] = {}
            errors: list[State] = []
            index, dxs = len(last), dropped(dys, drops[-1], self.dropouts[-1])
            for k, layer in reversed(list(enumerate(self.layers))):
                below: Array = None
                beside_cells = seen(dxs, mask, window) if k in self.residual else None
                at = sum(cell.output_size for cell in layer)
                for prefix, cell in reversed(list(zip((f"{k}.", f"{k}.reverse."), layer, strict=False))):
                    index -= 1
                    at -= cell.output_size
                    dy = None if dxs is None else dxs[..., at : at + cell.output_size]
                    dp, dx, ds = backs[index](dy, ds_T[index] if ds_T is not None else None, window)
                    dparams |= {prefix + name: d for name, d in dp.items()}
                    errors.insert(0, ds)
                    below = dx if below is None else below + dx
                dxs = plus(dropped(below, drops[k], self.dropouts[k]), beside_cells)
                if window is not None:
                    window = Window(window.start, window.start, window.stop, window.decay)
            return {name: dparams[name] for name in self.params}, dxs, tuple(errors)

        return ys, last, backward

    def run(
        self,
        params: Params,
        xs: Array,
        s0: States | None = None,
        *,
        mask: Array | None = None,
        resets: Array | None = None,
        data: Params | None = None,
        backend: Backend | None = None,
    ) -> tuple[Array, States]:
        """The forward of `scan` alone, keeping nothing."""
        return self._forward(run, params, xs, s0, mask, resets, data, backend)[:2]

    def _forward(
        self,
        way: Callable[..., Any],
        params: Params,
        xs: Array,
        s0: States | None,
        mask: Array | None,
        resets: Array | None,
        data: Params | None,
        backend: Backend | None,
    ) -> tuple[Array, States, list[Any]]:
        """All layers by one way, `scan` or `run`: outputs, last states, and what else that way gives, per cell."""
        cells = list(self.cells)
        given = data or {}
        check_names("parameters of the stack", params, self.params)
        needed = [prefix + name for prefix, cell in cells for name in cell.data]
        check_names("data of the stack", given, needed + [name for name in self.dropouts if name in given])
        if s0 is not None and len(s0) != len(cells):
            raise UserError(f"s0 must hold one state per cell, {len(cells)}; got {len(s0)}")
        last: list[State] = []
        backs: list[Any] = []
        for k, layer in enumerate(self.layers):
            outputs, below = [], xs
            xs = dropped(xs, given.get(self.dropouts[k]), self.dropouts[k])
            for reverse, cell in enumerate(layer):
                prefix = f"{k}.reverse." if reverse else f"{k}."
                own = {name: params[prefix + name] for name in cell.params}
                extra = {name: given[prefix + name] for name in cell.data}
                state = s0[len(last)] if s0 is not None else None
                options: dict[str, Any] = {"mask": mask, "resets": resets, "data": extra or None, "backend": backend}
                y, s, *back = way(cell, own, xs, state, reverse=bool(reverse), **options)
                outputs.append(y)
                last.append(s)
                backs += back
            xs = beside(outputs)
            if k in self.residual:
                xs = xs + seen(below, mask)
        return dropped(xs, given.get(self.dropouts[-1]), self.dropouts[-1]), tuple(last), backs


def beside(outputs: list[Array]) -> Array:
    """The outputs of the directions side by side, (..., T, B, O) each, copies spread over both."""
    if len(outputs) == 1:
        return outputs[0]
    xp = array_namespace(*outputs)
    lead = np.broadcast_shapes(*(y.shape[:-3] for y in outputs))
    return xp.concat([broadcast(xp, y, lead, 3) for y in outputs], axis=-1)


def stack(
    spec: str,
    input_size: int,
    hidden_size: int,
    layers: int = 1,
    bidirectional: bool = False,
    residual: bool = False,
) -> Stack:
    """`layers` cells NAME[:option=value,…] of one width on top of each other; residual: all but the first are."""
    if layers < 1:
        raise UserError(f"layers must be at least 1; got {layers}")
    made: list[tuple[Cell, ...]] = []
    width = input_size
    for _ in range(layers):
        made.append(tuple(make_cell(spec, width, hidden_size) for _ in range(1 + bidirectional)))
        width = sum(cell.output_size for cell in made[-1])
    if residual and layers == 1:
        raise UserError("residual layers are those above the first; got one layer: add another, or leave it out")
    return Stack(tuple(made), tuple(range(1, layers)) if residual else ())
