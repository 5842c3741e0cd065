"""`rnnbp flow`: where does the gradient go, and where does it vanish?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnbp_cli.flow_files import refuse_files, write_files
from rnnbp_cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    fail,
    print_json,
    set_threads,
)
from rnnbp_cli.tables import progress_bar

if TYPE_CHECKING:
    from rnnbp.flow.reports import Report
    from rnnbp.flow.subjects import Subject

THREADS = 1  # two are a sixth faster on two idle cores, and several times slower where one of them is busy


def flow(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL|RUN", help="NAME:option=value,… or a run folder; several [default: lstm]"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Cells on a batch of a task: copy, adding … [default: noise]")
    ] = None,
    text: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="On a batch of this text, UTF-8.")] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCHEME", help="Draw cells so: orthogonal, irnn, chrono:T_MAX, U=orthogonal,b.f=1 …; or again"
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…",
            help="lags, gradient, memory, jacobians, bounds, terms, carousel, lyapunov, truncation, saturation, "
            "clipping, curvature, states, training; one, several, or again [default: all but states]",
        ),
    ] = None,
    time_steps: Annotated[int | None, typer.Option(help="Steps T [default: 64, or the data's, or the run's]")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences B [default: 2]")] = None,
    input: Annotated[int | None, typer.Option(help="Input size I of cells on noise [default: 32]")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size H of cells [default: 64]")] = None,
    layers: Annotated[int | None, typer.Option(help="Cells on top of each other [default: 1]")] = None,
    seed: SeedOption = None,
    checkpoint: Annotated[str | None, typer.Option(help="Of runs: best or last [default: best]")] = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="Of the gradient that the parts are held to: float64 or float32 [default: float64]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help=f"Threads of the CPU, for BLAS [default: {THREADS}]")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write every picture there, as PNG and SVG.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the report as one page that needs nothing else.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out and --report replace files.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the flow of the gradient: of cells with fresh weights, or of runs on their own data or another text.

    All is computed in float64 on the host, exact to rounding. The gradient of the same batch on --backend is compared
    with the sum of its parts (measure gradient).
    """
    words = what or ["lstm"]
    runs = [word for word in words if word and Path(word).is_dir()]
    cells = [word for word in words if word not in runs]
    of_cells = {"input": input, "hidden": hidden, "layers": layers, "init": init, "task": task, "seed": seed}
    of_gradient = {"backend": backend, "device": device, "dtype": dtype}
    names = [name.strip() for words in measure or [] for name in words.split(",")]
    refuse(runs, cells, of_cells, checkpoint, of_gradient, names)
    set_threads(threads, backend, before=THREADS)
    refuse_files(out, report, force, names)

    from rnnbp.backends import backend as find_backend
    from rnnbp.benching.plotting import require_matplotlib
    from rnnbp.flow.reports import measure as measured
    from rnnbp.registry import CELLS

    for word in cells:
        if Path(word).is_file():
            fail(f"{word} is a file: name a cell, or the folder of a run; a text goes to --text")
        if "/" in word and word.partition("/")[0].partition(":")[0] not in CELLS:
            fail(f"{word} is no folder, and no cell with others around it: name the folder of a run, or a cell")
    if out is not None or report is not None:
        require_matplotlib()
    on = find_backend(backend, device)
    sizes: dict[str, Any] = {"time_steps": time_steps, "batch": batch, "files": tuple(map(str, text or ()))}
    drawn = sizes | {"task": task, "input_size": input, "hidden_size": hidden, "layers": layers, "seed": seed}
    subjects: list[Subject] = []
    for word in words:
        subjects += [of_run(word, words, checkpoint, sizes)] if word in runs else of_cell(word, init, drawn)
    subjects = [replace(one, on=on, dtype=dtype or "float64") for one in subjects]
    with progress_bar() as progress:
        found = measured(subjects, names, "The flow of the gradient", progress)
    refuse_nothing(found)
    if json:
        print_json(found.to_json())
    else:
        from rnnbp_cli.flow_summary import show

        show(found)
    write_files(found, out, report)


def refuse(
    runs: Sequence[str],
    cells: Sequence[str],
    of_cells: dict[str, Any],
    checkpoint: str | None,
    of_gradient: dict[str, Any],
    names: Sequence[str],
) -> None:
    """What is given must be taken."""
    if not cells:
        for word, value in of_cells.items():
            if value is not None and value != []:
                fail(f"--{word} is for cells with fresh weights; got runs alone: leave it out")
    if checkpoint is not None and not runs:
        fail("--checkpoint is for runs; got cells alone: leave it out, or name the folder of a run")
    if names and "gradient" not in names:
        for word, value in of_gradient.items():
            if value is not None:
                fail(f"--{word} is for the measure gradient, which is not among {', '.join(names)}: add it")
    if of_gradient["dtype"] not in (None, "float32", "float64"):
        fail(f"--dtype must be float64 or float32; got {of_gradient['dtype']!r}")


def refuse_nothing(found: Report) -> None:
    """Where all was refused, a mistake was made."""
    whys = {m.refused: None for of_subject in found.found.values() for m in of_subject.values()}
    if all(whys):
        fail(f"nothing of it can be measured: {'; '.join(whys)}")


def of_run(run: str, words: Sequence[str], checkpoint: str | None, sizes: dict[str, Any]) -> Subject:
    """A run at a checkpoint; one whose name another run or a cell has, too, goes by its path."""
    from rnnbp.training.trained import run_subject

    found = run_subject(Path(run), checkpoint or "best", **sizes)
    names = [Path(other).resolve().name if Path(other).is_dir() else other for other in words]
    return found if names.count(found.label) == 1 else replace(found, label=run)


def of_cell(cell: str, init: Sequence[str] | None, drawn: dict[str, Any]) -> list[Subject]:
    """A cell with every initialisation; what is not given is left to the library."""
    from rnnbp.flow.fresh import fresh_subjects

    return fresh_subjects([cell], init or [None], **{name: value for name, value in drawn.items() if value is not None})
