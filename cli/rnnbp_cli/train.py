"""`rnnbp train`: learn a text or a task, into a run folder that can be resumed."""

from __future__ import annotations

import json
import signal
from math import log
from pathlib import Path
from typing import Annotated, Any

import typer

from rnnbp_cli.options import BackendOption, DeviceOption, SeedOption, ThreadsOption, fail, say, set_threads
from rnnbp_cli.progress import progress_bar

# The defaults are the library's (rnnbp.training.Config); here None means "not given", so that --resume can tell.


def train(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Text to learn, UTF-8 [default: Python's standard library]")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="A generated task in place of text: four-steps, adding, copy, temporal-order.")
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(help="NAME[:option=value,…], and after slashes what goes around it [default: lstm]"),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Cells on top of each other [default: 1]")] = None,
    residual: Annotated[
        bool | None, typer.Option("--residual", help="Every layer but the first adds its input to what it gives.")
    ] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size H [default: 128]")] = None,
    time_steps: Annotated[
        int | None, typer.Option(help="Steps T of a window [default: 50 for text, else the task's]")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences B side by side [default: 32, or the task's]")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; may grow with --resume [default: 1000]")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="sgd, rmsprop or adamw, with [:option=value,…] [default: adamw]")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate [default: 0.003]")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Rate between layers and before the readout; in training only [default: 0]")
    ] = None,
    variational: Annotated[
        bool | None, typer.Option("--variational", help="One dropout mask for all steps of a sequence.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Limit of the gradient's global norm [default: none]")] = None,
    clip_value: Annotated[float | None, typer.Option(help="Limit of each gradient entry [default: none]")] = None,
    truncation: Annotated[
        str | None,
        typer.Option(
            help="Within a window: full, tbptt:K1,K2, steps:K, decay:L, 1997, gates:NAME+NAME or peepholes "
            "[default: full]"
        ),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="mse or cross-entropy, with [:option=value,…]")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64 [default: float32]")] = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    save_every: Annotated[
        int | None,
        typer.Option(help="Steps from one validation, metrics row and checkpoint to the next [default: 100]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run folder [default: runs/NAME]")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run, to the bit.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Start anew in a run folder that exists.")] = False,
) -> None:
    """Train a model on text (default: the Python standard library's source files) or on a generated task."""
    given: dict[str, Any] = {
        "task": task,
        "cell": cell,
        "layers": layers,
        "residual": residual,
        "dropout": dropout,
        "variational": variational,
        "hidden": hidden,
        "time_steps": time_steps,
        "batch": batch,
        "steps": steps,
        "optimizer": optimizer,
        "lr": lr,
        "clip_norm": clip_norm,
        "clip_value": clip_value,
        "truncation": truncation,
        "loss": loss,
        "dtype": dtype,
        "backend": backend,
        "device": device,
        "seed": seed,
        "threads": threads,
        "save_every": save_every,
        "files": tuple(str(path.resolve()) for path in files or ()) or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None and (out is not None or force):
        fail("--resume goes on in its own folder: leave out --out and --force")
    before, run_backend = (None, backend) if resume is None else started_with(resume)
    count = set_threads(threads, run_backend, before=before)

    from rnnbp import training
    from rnnbp.backends import default_name
    from rnnbp.runs import read_checkpoint

    stop = _Interrupt()
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
    text = read_checkpoint(folder / "last.safetensors").meta["data"]["vocabulary"] is not None
    best = f"{state.best / log(2):.4f} bits per character" if text else f"{state.best:.6g}"
    say(f"step {state.step}, best validation loss {best}, run folder {folder}")
    _picture(folder)
    if stop.asked():
        say(f"interrupted and saved: rnnbp train --resume {folder} goes on")
        raise typer.Exit(130)


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
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        config = json.loads(header["__metadata__"]["rnnbp"])["config"]
        threads, backend = config["threads"], config["backend"]
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError):
        return None, "numpy"  # whatever is wrong with the checkpoint, reading it in earnest says so
    return (threads if isinstance(threads, int) and threads > 0 else None), str(backend)


class _Interrupt:
    """Ctrl-C asks the run to save and stop after the step in hand; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        return self._asked

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        say("saving; once more to stop at once")
