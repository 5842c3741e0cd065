"""`rnnbp gradcheck`: is the backward the derivative of the forward?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnbp_cli.options import BackendOption, DeviceOption, JsonOption, SeedOption, fail, print_json

if TYPE_CHECKING:
    from rnnbp.checking import Report

PATIENCE = 2.0  # seconds without a progress bar


def gradcheck(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL", help="NAME:option=value,… (default: every built-in cell)"),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every built-in cell and every plugin's.")] = False,
    task: Annotated[
        str | None, typer.Option(help="Check the model that learns this task, with its data and its loss: four-steps …")
    ] = None,
    backend: BackendOption = None,
    device: DeviceOption = None,
    dtype: Annotated[
        str, typer.Option(help="Of the backward, float64 or float32; the reference is always in double precision.")
    ] = "float64",
    method: Annotated[str, typer.Option(help="complex-step (exact to rounding) or central (differences).")] = (
        "complex-step"
    ),
    truncation: Annotated[str, typer.Option(help="full or tbptt:K1,K2: checked for what it claims.")] = "full",
    time_steps: Annotated[int | None, typer.Option(help="Steps T (default: 5, or the task's)")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences B (default: 3, or the task's)")] = None,
    input: Annotated[int | None, typer.Option(help="Input size I (default: 4, or the task's)")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size H (default: 6)")] = None,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> None:
    """Check every gradient that a cell's backward gives: parameters, inputs, initial states. Exit 0 pass, 1 fail."""
    from rnnbp.backends import backend as find_backend
    from rnnbp.checking import all_specs, builtin_specs, check_cells

    if all and cells:
        fail("--all checks every cell; got cells by name too: leave one of them out")
    sizes = {"time_steps": time_steps, "batch": batch, "input_size": input, "hidden_size": hidden}
    with progress_bar() as progress:
        report = check_cells(
            cells or (all_specs() if all else builtin_specs()),
            task=task,
            tolerant=all,
            backend=find_backend(backend, device),
            dtype=dtype,
            method=method,
            truncation=truncation,
            seed=seed or 0,
            progress=progress,
            **{name: size for name, size in sizes.items() if size is not None},
        )
    if json:
        print_json(report.to_json())
    else:
        show(report)
    raise typer.Exit(0 if report.passed else 1)


def show(report: Report) -> None:
    """The table, what failed beyond numbers, the verdict and the worst entry."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rnnbp.checking.report import HEAD

    table = Table(*HEAD, title=escape(report.title), title_justify="left")
    before = None
    for check in report.checks:
        *texts, verdict = map(escape, check.row)
        if before not in (None, check.cell):
            table.add_section()
        before = check.cell
        table.add_row(*texts, f"[{'green' if check.passed else 'bold red'}]{verdict}[/]")
    console = Console(emoji=False)  # a spec may look like :emoji: codes
    console.print(table)
    for line in [*report.notes, *report.summary.splitlines()]:
        console.print(escape(line), style=None if report.passed else "red", highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for what takes longer than `PATIENCE`, one for each cell."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True, emoji=False)
    bar = Progress(console=console, transient=True)
    tasks: dict[str, Any] = {}
    begin = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(escape(name), total=total)
        bar.update(tasks[name], completed=done, visible=done < total)
        if time.monotonic() - begin > PATIENCE and console.is_terminal and not bar.live.is_started:
            bar.start()

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
