"""Tables that a run appends to, a row at a time: numbers by column, the step first, None where a field is empty."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rnnbp.errors import UserError

Row = dict[str, Any]


def written(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table as text: its columns, then the rows, with all digits of every number."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    lines.writerows(_fields(names, row) for row in rows)
    return text.getvalue()


def append(path: Path, names: Sequence[str], row: Mapping[str, Any]) -> None:
    """One row more of a table that is there, on the disk when this returns."""
    with open(path, "a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(_fields(names, row))
        file.flush()
        os.fsync(file.fileno())


def columns(path: Path) -> list[str]:
    """The columns of a table, by its first line alone; none where there is no table, or not a whole line of it."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        line = file.readline()
    return next(csv.reader([line])) if line.endswith("\n") else []


def read(path: Path) -> tuple[list[str], list[Row]]:
    """The columns of a table and its rows; neither where there is no table. A row cut short by a kill is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        if lines and not lines[-1].endswith("\n"):
            del lines[-1]
        if not lines:
            return [], []
        names, *rows = csv.reader(lines, strict=True)
        if names[:1] != ["step"]:
            raise ValueError("its first column is not step")
        return names, [_numbers(names, fields) for fields in rows]
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} must hold the numbers that the run wrote ({error}): move it away to go on") from None


def _numbers(names: Sequence[str], fields: Sequence[str]) -> Row:
    if len(fields) != len(names):
        raise ValueError(f"a row has {len(fields)} fields for {len(names)} columns")
    named = zip(names, fields, strict=True)
    return {c: int(f) if c == "step" else None if f == "" else float(f) for c, f in named}


def _fields(names: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    return ["" if row.get(c) is None else str(row[c]) for c in names]
