"""Where a run stands, and its way into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rnnbp.errors import UserError
from rnnbp.model import Model
from rnnbp.numerics import Array, HostArray
from rnnbp.optim import Moments
from rnnbp.runs import Checkpoint
from rnnbp.sources import Cursor
from rnnbp.stacking import States
from rnnbp.training.setup import Setup, initial_params
from rnnbp.training.tally import Tally


@dataclass(frozen=True)
class State:
    """A run after `step` updates."""

    step: int
    params: dict[str, Array]
    moments: Moments
    carried: States | None
    cursor: Cursor
    best: float = float("inf")
    tally: Tally = field(default_factory=Tally)


def begin(setup: Setup) -> State:
    """Before the first update."""
    params = initial_params(setup)
    return State(0, params, setup.optimizer.init(params), None, setup.source.start(setup.config.seed))


def to_checkpoint(setup: Setup, state: State) -> Checkpoint:
    """Everything that going on needs."""
    host = setup.backend.to_numpy
    arrays = {f"params/{name}": host(w) for name, w in state.params.items()}
    arrays |= {f"moments/{n}": np.asarray(m) if n == "step" else host(m) for n, m in state.moments.items()}
    for k, cell_state in enumerate(state.carried or ()):
        arrays |= {f"state/{k}/{j}": host(z) for j, z in enumerate(cell_state)}
    meta = {
        "config": setup.config.to_dict(),
        "data": setup.data,
        "step": state.step,
        "cursor": state.cursor,
        "best": state.best,
        "tally": asdict(state.tally),
        "path": setup.backend.path,
    }
    return Checkpoint(arrays, meta)


def from_checkpoint(setup: Setup, checkpoint: Checkpoint) -> State:
    """The state in a checkpoint, on the backend; a checkpoint of another model or other data is a UserError."""
    meta = complete(checkpoint)
    if meta["data"]["fingerprint"] != setup.source.fingerprint:
        raise UserError("the data have changed since the run began (their SHA-256 differs): resume with the same data")
    if meta["format"] == 1 and setup.optimizer.weight_decay:
        raise UserError("the run decayed biases, which this version does not: start it anew")
    if meta["path"] != setup.backend.path:
        raise UserError(
            f"the run went through the {meta['path']} path, which is not {setup.backend.path}: start it anew"
        )

    def placed(name: str, shape: tuple[int, ...]) -> Array:
        return setup.backend.asarray(_fitting(checkpoint, name, shape), setup.config.dtype)

    weights = load_params(setup.model, checkpoint)
    params = {name: setup.backend.asarray(w, setup.config.dtype) for name, w in weights.items()}
    moments: Moments = {"step": int(_fitting(checkpoint, "moments/step", ()))}
    for name, like in setup.optimizer.init(params).items():
        if name != "step":
            moments[name] = placed(f"moments/{name}", tuple(like.shape))
    carried = None
    if "state/0/0" in checkpoint.arrays:
        shapes = [[(setup.batch, *shape) for shape in cell.states.values()] for _, cell in setup.model.stack.cells]
        carried = tuple(tuple(placed(f"state/{k}/{j}", z) for j, z in enumerate(s)) for k, s in enumerate(shapes))
    tally = Tally.of(meta["tally"])
    return State(meta["step"], params, moments, carried, meta["cursor"], meta["best"], tally)


def complete(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The metadata of a checkpoint, with all that a run needs of it."""
    meta = checkpoint.meta
    missing = [name for name in ("config", "data", "step", "cursor", "best", "tally", "path") if name not in meta]
    if missing:
        raise UserError(f"the checkpoint lacks {missing[0]}, which every run writes: use another one")
    return meta


def load_params(model: Model, checkpoint: Checkpoint) -> dict[str, HostArray]:
    """The weights in a checkpoint, each with the shape that the model expects."""
    cell = checkpoint.meta["config"]["cell"]
    names = {name.removeprefix("params/") for name in checkpoint.arrays if name.startswith("params/")}
    extra = sorted(names - set(model.params))
    if extra:
        raise UserError(f"the checkpoint holds parameter {extra[0]}, which cell {cell} does not have")
    return {name: _fitting(checkpoint, f"params/{name}", spec.shape) for name, spec in model.params.items()}


def _fitting(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> HostArray:
    """An array of a checkpoint, if it is there and has that shape."""
    cell, found = checkpoint.meta["config"]["cell"], checkpoint.arrays.get(name)
    if found is None:
        raise UserError(f"the checkpoint lacks {name}, which cell {cell} needs")
    if found.shape != shape:
        raise UserError(f"{name} of the checkpoint must have shape {shape} for cell {cell}; got {found.shape}")
    return found
