"""`rnnbp plugins`: a plugin of your own, written for you to change."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rnnbp_cli.options import JsonOption, print_json

plugins = typer.Typer(
    help="Plugins: cells of your own, in distributions of their own.",
    rich_markup_mode=None,
)


@plugins.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the cell: small letters and digits, words joined by -.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder in which rnnbp-NAME is made.")] = Path("."),
    kind: Annotated[str, typer.Option(help="pointwise: a gated cell; plain: a cell with a step.")] = "pointwise",
    json: JsonOption = False,
) -> None:
    """Write a plugin: a cell and its backward, tests, pyproject.toml and README. It installs and passes at once."""
    from rnnbp.scaffolding import new_plugin

    folder = new_plugin(name, out, kind)
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if json:
        print_json({"name": name, "kind": kind, "folder": str(folder), "files": written})
        return
    print(f"{folder}: {', '.join(written)}")
    print("No license is given: add LICENSE, and name it in pyproject.toml.")
    print(f'Next: cd {shlex.quote(str(folder))} && pip install -e ".[test]" && pytest && rnnbp gradcheck {name}')
