"""Subjects of the gradient's flow from run folders: the weights that a run has learnt, on data of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnbp.around.clipping import unclipped
from rnnbp.around.masks import in_evaluation
from rnnbp.checking.verdicts import check_counts
from rnnbp.errors import UserError, unknown
from rnnbp.flow.fresh import BATCH, few
from rnnbp.flow.subjects import Subject
from rnnbp.model import Model
from rnnbp.registry import TASKS
from rnnbp.runs import read_checkpoint, read_flow_rows, read_rows
from rnnbp.sources import Batch, Source
from rnnbp.text import Text, coded, cut, read
from rnnbp.training.config import Config
from rnnbp.training.setup import build_model
from rnnbp.training.state import complete, load_params

CHECKPOINTS = ("best", "last")


def run_subject(
    folder: Path,
    checkpoint: str = "best",
    *,
    files: Sequence[str | Path] = (),
    time_steps: int | None = None,
    batch: int | None = None,
) -> Subject:
    """A run at one of its checkpoints, on the first validation batch of its own data, or on another text.

    Its weights go to float64. The flow is that of the loss alone, all the way back: penalties, the windows of
    --truncation and --clip-step are left out; what --truncation stops inside the cells is stopped. Nothing is
    dropped, and zoneout is at its mean. Sizes that are not given are T of the run and two sequences.
    """
    if checkpoint not in CHECKPOINTS:
        raise unknown("checkpoint of a run", checkpoint, CHECKPOINTS)
    check_counts(time_steps=time_steps, batch=batch)
    found = read_checkpoint(_file(folder, checkpoint))
    meta = complete(found)
    config, data = Config.from_dict(meta["config"]), meta["data"]
    model = bare(build_model(config, data["inputs"], data["input_size"], data["output_size"], data["loss"]))
    if files:
        one = _of_text(config, data["vocabulary"], files, time_steps, BATCH if batch is None else batch)
        said = f"text {', '.join(Path(name).name for name in files)}"
    else:
        one = _of_run(config, data["fingerprint"], time_steps, batch)
        said = f"task {config.task}, validation" if config.task else "text of the run, validation"
    params = {name: np.asarray(w, dtype=np.float64) for name, w in load_params(model, found).items()}
    if wild := [name for name, w in params.items() if not np.all(np.isfinite(w))]:
        raise UserError(f"a run's weights must be finite; {wild[0]} of {_file(folder, checkpoint)} is not: take others")
    return Subject(
        folder.resolve().name,
        model,
        params,
        one.xs,
        one.targets,
        f"{said}; step {meta['step']}",
        in_evaluation(model.stack, *one.xs.shape[:2]) or None,
        rows=tuple(read_rows(folder)),
        samples=tuple(read_flow_rows(folder)),
        config=config.to_dict(),
    )


def bare(model: Model) -> Model:
    """A run's model without what is no part of the loss or of its derivative: penalties, and clipping at every step."""
    return replace(model, stack=model.stack.of_cells(unclipped), penalty=None)


def _file(folder: Path, checkpoint: str) -> Path:
    """Where a checkpoint is; one that is not there, where another is, is a UserError."""
    paths = {name: folder / f"{name}.safetensors" for name in CHECKPOINTS}
    there = [name for name, path in paths.items() if path.is_file()]
    if there and checkpoint not in there:
        raise UserError(f"run {folder} has no {paths[checkpoint].name}: say --checkpoint {there[0]}")
    return paths[checkpoint]


def _of_run(config: Config, fingerprint: Any, time_steps: int | None, batch: int | None) -> Batch:
    """The first validation batch of the data that the run had."""
    source: Source = TASKS.make(config.task) if config.task else read(config.files)
    if source.fingerprint != fingerprint:
        raise UserError("the data have changed since the run began (their SHA-256 differs): name a text with --text")
    steps, rows = time_steps or config.time_steps or source.time_steps, few(source) if batch is None else batch
    one = next(iter(source.validation(rows, steps)), None)
    if one is None or one.xs.shape[:2] != (steps, rows):
        raise UserError(
            f"the validation data must hold {rows} sequences of {steps} steps, and are shorter: ask for less with "
            "--time-steps or --batch"
        )
    return one


def _of_text(
    config: Config, vocabulary: str | None, files: Sequence[str | Path], time_steps: int | None, batch: int
) -> Batch:
    """The beginning of so many parts of a text, by the run's own class numbers."""
    if vocabulary is None:
        raise UserError(f"a run on text takes another text; this one learnt task {config.task}: leave --text out")
    ids = coded(read(files).text, vocabulary)
    steps = time_steps or config.time_steps or Text.time_steps
    if len(ids) <= batch * steps:
        raise UserError(
            f"the text must hold {batch} sequences of {steps} steps and one character more, {batch * steps + 1}; got "
            f"{len(ids)}: take a longer one, or ask for less with --time-steps or --batch"
        )
    return cut(ids, batch, steps, 0)
