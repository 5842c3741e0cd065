"""`rnnbp parity`: do the array libraries give the same numbers?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rnnbp_cli.options import JsonOption, SeedOption, fail, print_json
from rnnbp_cli.tables import progress_bar, say_all, show_verdicts

if TYPE_CHECKING:
    from rnnbp.checking import ParityReport


def parity(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL", help="NAME:option=value,… (default: every built-in cell)"),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every built-in cell and every plugin's.")] = False,
    backends: Annotated[
        str | None,
        typer.Option(help="NAME or NAME:DEVICE, with commas; the first is the reference (default: all that are here)"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float64, float32 or both, with a comma.")] = "float64,float32",
    seed: SeedOption = None,
    json: JsonOption = False,
) -> None:
    """Compare forward, loss and every gradient of cells between backends. Exit 0 all agree, 1 not."""
    from rnnbp.checking import all_specs, parity

    if all and cells:
        fail("--all compares every cell; got cells by name too: leave one of them out")
    with progress_bar() as progress:
        report = parity(
            all_specs() if all else cells or None,
            backends=None if backends is None else backends.split(","),
            dtypes=dtype.split(","),
            seed=seed or 0,
            tolerant=all,
            progress=progress,
        )
    if json:
        print_json(report.to_json())
    else:
        show(report)
    raise typer.Exit(0 if report.passed else 1)


def show(report: ParityReport) -> None:
    """A row for each cell, dtype and backend; what failed beyond numbers; the verdict and the worst entry."""
    from rnnbp.checking.parities.report import HEAD

    console = show_verdicts(report.title, HEAD, report.rows, sections=True, rigid=True)
    for line in [*report.notes, *report.summary.splitlines()]:
        say_all(console, line, good=report.passed)
