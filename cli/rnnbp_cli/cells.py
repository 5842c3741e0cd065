"""`rnnbp cells`: every cell that can be named, built in or from a plugin."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnbp_cli.options import JsonOption, print_json


def cells(
    input: Annotated[int, typer.Option(min=1, help="Input size I for the parameter count.")] = 65,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden size H for the parameter count.")] = 128,
    traceable: Annotated[
        bool, typer.Option("--traceable", help="Whether kernels can be generated from a cell: yes, or why not.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the cells: states, parameters and their number, where each was published, and which are broken."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rnnbp.registry import CELLS, WRAPPERS

    rows = [_row(entry, input, hidden, traceable) for entry in CELLS.candidates]
    if json:
        print_json(rows)
        return
    broken = any(row["error"] for row in rows)
    table = Table(title=f"count of parameters for I={input}, H={hidden}", title_justify="left")
    table.caption, table.caption_justify = f"around them, after slashes: {', '.join(WRAPPERS)}", "left"
    table.add_column("cell", no_wrap=True)
    words = ("traceable",) if traceable else ("states", "parameters", "source", "distribution")
    for word in (*words, *["error"] * broken):
        table.add_column({"distribution": "from", "error": "note"}.get(word, word))
    table.add_column("count", justify="right", no_wrap=True)
    for row in rows:
        told = [row.get(word) or "" for word in (*words, *["error"] * broken)]
        lines = [word if isinstance(word, str) else " ".join(word) for word in told]
        table.add_row(row["name"], *map(escape, lines), f"{row['count']:,}" if row["count"] else "–")
    Console(emoji=False).print(table)


def _row(entry: Any, input_size: int, hidden_size: int, traceable: bool) -> dict[str, Any]:
    from rnnbp.errors import UserError
    from rnnbp.lowering import untraceable
    from rnnbp.registry import CELLS, distribution

    row: dict[str, Any] = {"name": entry.name, "distribution": distribution(entry), "error": None}
    row |= {"source": "", "states": [], "parameters": {}, "count": 0} | ({"traceable": None} if traceable else {})
    if CELLS[entry.name] != entry:
        return row | {"error": f"hidden: the name belongs to {distribution(CELLS[entry.name])}"}
    try:
        cell = CELLS.make(entry.name, input_size, hidden_size)
        shapes = {name: list(spec.shape) for name, spec in cell.params.items()}
        counted: dict[str, Any] = {"parameters": shapes, "count": cell.count}
        counted |= {"traceable": untraceable(cell) or "yes"} if traceable else {}
        return row | {"source": cell.source, "states": list(cell.states), **counted}
    except Exception as error:  # a broken plugin is a line in the list, not the end of it
        return row | {"error": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"}
