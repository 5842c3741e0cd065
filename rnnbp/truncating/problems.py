"""What gradients are compared on: a model with freshly drawn weights, and one batch: noise, a task's or a text's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.verdicts import check_counts
from rnnbp.drawing import drawn
from rnnbp.errors import UserError
from rnnbp.model import Model
from rnnbp.numerics import HostArray
from rnnbp.registry import LOSSES, TASKS
from rnnbp.sources import Source
from rnnbp.stacking import stack
from rnnbp.text import read
from rnnbp.truncation import Truncation

NOISE = {"time_steps": 64, "batch": 16, "input_size": 32}


@dataclass(frozen=True)
class Problem:
    """A model on one batch: arrays of one backend, and where they come from."""

    model: Model
    backend: Backend
    params: dict[str, Any]
    xs: Any  # (T, B, I), or class numbers (T, B)
    targets: Any
    data: dict[str, Any]
    source: str

    @property
    def time_steps(self) -> int:
        return int(self.xs.shape[0])

    @property
    def batch(self) -> int:
        return int(self.xs.shape[1])

    @property
    def given(self) -> tuple[Any, ...]:
        """All arrays that the caller holds."""
        return (*self.params.values(), self.xs, self.targets, *self.data.values())

    def under(self, kind: Truncation) -> Problem:
        """The same with what the kind stops inside the cells."""
        return replace(self, model=replace(self.model, stack=self.model.stack.of_cells(kind.of)))

    def until(self, steps: int) -> Problem:
        """The first steps alone."""
        targets = self.targets[:steps, ...] if self.model.loss.steps == "every" else self.targets
        data = {name: d[:steps, ...] for name, d in self.data.items()}
        return replace(self, xs=self.xs[:steps, ...], targets=targets, data=data)

    def backward(self) -> Callable[..., Any]:
        """Run the forward: windows -> the gradients."""
        data = self.data or None
        return self.model(self.params, self.xs, self.targets, data=data, backend=self.backend)[2]

    def gradients(self, kind: Truncation) -> dict[str, HostArray]:
        """Of every parameter of the cells, truncated, as float64 host arrays."""
        found = self.under(kind).backward()(kind.windows(self.time_steps))[0]
        names = self.model.stack.params
        return {n: np.asarray(self.backend.to_numpy(found[n]), dtype=np.float64) for n in names}


def problem_of(
    cell: str,
    backend: Backend,
    dtype: str,
    *,
    task: str | None = None,
    files: tuple[str, ...] = (),
    time_steps: int | None = None,
    batch: int | None = None,
    input_size: int | None = None,
    hidden_size: int = 64,
    layers: int = 1,
    init: str | None = None,
    seed: int = 0,
) -> Problem:
    """The first batch of that seed, and weights that the seed draws, by a scheme of `rnnbp.schemes` if there is one.

    Sizes that are not given are those of the data.
    """
    check_counts(time_steps=time_steps, batch=batch, input_size=input_size, hidden_size=hidden_size, layers=layers)
    check_counts(0, seed=seed)
    backend.require_dtype(dtype)
    if task is not None and files:
        raise UserError(f"text files and task {task} exclude each other: name one of them")
    if (task is not None or files) and input_size is not None:
        raise UserError(f"input_size is that of the data; got {input_size}: leave it out")
    rng = np.random.default_rng(seed)
    if task is not None or files:
        source: Source = TASKS.make(task) if task is not None else read(files)
        sizes = (source.batch_size if batch is None else batch, source.time_steps if time_steps is None else time_steps)
        xs, targets, _ = source.batch(source.start(seed), *sizes)[0]
        inputs, n_in, n_out, loss = source.inputs, source.input_size, source.output_size, source.loss
    else:
        asked = {"time_steps": time_steps, "batch": batch, "input_size": input_size}
        steps, rows, n_in = (NOISE[name] if size is None else size for name, size in asked.items())
        xs, targets = (rng.standard_normal((steps, rows, n_in)) for _ in range(2))
        inputs, n_out, loss = "dense", n_in, "mse"
    cells = stack(cell, n_in, hidden_size, layers)
    model = Model(cells, n_out, LOSSES.make(loss), inputs, None if inputs == "dense" else n_in)

    def place(value: HostArray) -> Any:
        return backend.asarray(value, dtype if value.dtype.kind == "f" else None)

    shapes = {prefix + name: shape for prefix, one in cells.cells for name, shape in one.data.items()}
    data = {name: place(rng.uniform(0, 1, (*xs.shape[:2], *shape))) for name, shape in shapes.items()}
    weights = np.random.default_rng(seed)
    params = model.init(weights) if init is None else drawn(model, init, weights)
    said = f"task {task}" if task is not None else "text" if files else "noise"
    return Problem(model, backend, {n: place(w) for n, w in params.items()}, place(xs), place(targets), data, said)
