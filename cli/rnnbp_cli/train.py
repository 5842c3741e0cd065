"""`rnnbp train`: learn a text or a task, into a run folder that can be resumed."""

from __future__ import annotations

import json as jsons
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rnnbp_cli import train_options as given_as
from rnnbp_cli.interrupting import Interrupt
from rnnbp_cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    fail,
    print_json,
    say,
    set_threads,
)
from rnnbp_cli.progress import progress_bar

if TYPE_CHECKING:
    from rnnbp.training.state import State


def train(
    files: given_as.Files = None,
    task: given_as.Task = None,
    cell: given_as.Cell = None,
    layers: given_as.Layers = None,
    residual: given_as.Residual = None,
    hidden: given_as.Hidden = None,
    init: given_as.Init = None,
    time_steps: given_as.TimeSteps = None,
    batch: given_as.Batch = None,
    steps: given_as.Steps = None,
    optimizer: given_as.Optimizer = None,
    lr: given_as.Lr = None,
    dropout: given_as.Dropout = None,
    variational: given_as.Variational = None,
    l2: given_as.L2 = None,
    weight_decay: given_as.WeightDecay = None,
    ar: given_as.Ar = None,
    tar: given_as.Tar = None,
    clip_step: given_as.ClipStep = None,
    clip_value: given_as.ClipValue = None,
    clip_tensor: given_as.ClipTensor = None,
    clip_norm: given_as.ClipNorm = None,
    truncation: given_as.Truncation = None,
    remat: given_as.Remat = None,
    loss: given_as.Loss = None,
    dtype: given_as.Dtype = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    save_every: given_as.SaveEvery = None,
    flow: given_as.Flow = None,
    out: given_as.Out = None,
    resume: given_as.Resume = None,
    force: given_as.Force = False,
    json: JsonOption = False,
) -> None:
    """Train a model on text (default: the Python standard library's source files) or on a generated task."""
    # all that was typed: None means "not given", so that --resume can tell
    given: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}
    for name in ("files", "out", "resume", "force", "json"):
        given.pop(name, None)
    if remat is not None and remat.isdecimal():
        given["remat"] = int(remat)
    if files:
        given["files"] = tuple(str(path.resolve()) for path in files)
    if resume is not None and (out is not None or force):
        fail("--resume goes on in its own folder: leave out --out and --force")
    before, run_backend = (None, backend) if resume is None else started_with(resume)
    count = set_threads(threads, run_backend, before=before)

    from rnnbp import training
    from rnnbp.backends import default_name

    stop = Interrupt()
    with progress_bar() as report, stop:
        try:
            if resume is not None:
                folder = resume
                state = training.resume(folder, given, report=report, stop=stop.asked)
            else:
                config = training.Config(**{"backend": default_name(), **given, "threads": count})
                folder = out or Path("runs") / (config.task or "text").partition(":")[0]
                state = training.train(config, folder, force=force, report=report, stop=stop.asked)
        except training.Diverged as error:
            fail(str(error), code=1)
    _sum_up(folder, state, json)
    _picture(folder)
    if stop.asked():
        say(f"interrupted and saved: rnnbp train --resume {folder} goes on")
        raise typer.Exit(130)


def _sum_up(folder: Path, state: State, json: bool) -> None:
    """Where the run stands, and what clipping did since the row before the last."""
    from rnnbp.checking.report import finite
    from rnnbp.runs import COLUMNS, read_checkpoint, read_flow_rows, read_rows

    rows, flow = read_rows(folder), read_flow_rows(folder)
    row = rows[-1] if rows else dict.fromkeys(COLUMNS)
    text = read_checkpoint(folder / "last.safetensors").meta["data"]["vocabulary"] is not None
    best = f"{state.best / log(2):.4f} bits per character" if text else f"{state.best:.6g}"
    say(f"step {state.step}, best validation loss {best}, run folder {folder}")
    fired = [f"{n} {row[f'clip_{n}']:.0%}" for n in ("value", "tensor", "norm") if row[f"clip_{n}"] is not None]
    if fired:
        left = "" if row["norm_ratio"] is None else f"{row['norm_ratio']:.1%} of the norm left; "
        turned = f"cosine to the gradient before {row['cosine']:.4f}, least {row['cosine_min']:.4f}"
        say(f"clipped, in the last row's steps: {', '.join(fired)}; {left}{turned}")
    if row["clip_step"] is not None:
        left = "" if row["norm_ratio_step"] is None else f"{row['norm_ratio_step']:.1%} of the norm left; "
        turned = "which is not finite" if row["cosine_step"] is None else f"{row['cosine_step']:.4f}"
        say(f"clipped at every step: {left}cosine to the gradient without {turned}, at the last row's step")
    if flow:
        rows_said = f"{len(flow)} row{'s' if len(flow) > 1 else ''}"
        say(f"flow of the gradient, {rows_said} in {folder / 'flow.csv'}: rnnbp flow {folder} shows it")
    if json:
        said = {"run": str(folder), "step": state.step, "best_valid_loss": state.best, "last_row": row}
        print_json(said | ({"last_flow_row": finite(flow[-1])} if flow else {}))


def _picture(folder: Path) -> None:
    from rnnbp.errors import UserError
    from rnnbp.training.curve import draw_curve

    try:
        say(f"learning curve {draw_curve(folder)}")
    except UserError as error:  # no matplotlib: the run itself is whole
        say(str(error))


def started_with(run: Path) -> tuple[int | None, str]:
    """The threads and the backend that a run was started with, from the head of its checkpoint, without NumPy."""
    try:
        with open(run / "last.safetensors", "rb") as file:
            header = jsons.loads(file.read(int.from_bytes(file.read(8), "little")))
        config = jsons.loads(header["__metadata__"]["rnnbp"])["config"]
        threads, backend = config["threads"], config["backend"]
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return None, "numpy"  # whatever is wrong with the checkpoint, reading it in earnest says so
    return (threads if isinstance(threads, int) and threads > 0 else None), str(backend)
