"""How a lag table is shown: in a terminal, as JSON, on a page."""

from __future__ import annotations

from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbp.checking.drawing import heatmap
from rnnbp.checking.drawing.pictures import picture
from rnnbp.checking.report import finite

if TYPE_CHECKING:
    from rnnbp.checking.lags.table import LagTable


def title(table: LagTable) -> str:
    """What the table holds, in one line."""
    how = f"{table.method}, {table.truncation}" + (f", {table.directions} directions" if table.directions else "")
    v = table.tensor if table.role == "state" else f"{table.tensor}_s"
    used = "" if table.role == "state" else ", used at s"
    return f"dL_t/d{v} of {table.cell}: error met at t{used} ({how})"


def verdict(table: LagTable) -> str:
    """Whether the blocks are right, or what is wrong where, in a few lines."""
    if table.passed:
        return f"every block is right; they add up to the gradient to {table.sum_error:.0e}"
    said = []
    if table.wrong.any():
        gates = f", gates {', '.join(table.wrong_gates)}" if table.wrong_gates else ""
        worst = table.worst
        entry = f"{'direction' if table.directions else 'entry'} {worst['index']}"
        values = f"analytic {worst['analytic']:.6g}, numeric {worst['numeric']:.6g}"
        said += [f"wrong: {table.where}{gates}", f"worst: t = {worst['t']}, s = {worst['s']}, {entry}: {values}"]
    if not table.sum_error <= table.tolerance:
        off = f"the blocks add up to the gradient only to {table.sum_error:.1e}"
        said.append(f"{off}: the backward is not linear in the error")
    return "\n".join(said)


def lines(table: LagTable) -> str:
    """The heat map of the numeric blocks, wrong ones marked, between title and verdict."""
    shown = heatmap.text(table.norms(table.numeric), table.rows, table.columns, table.wrong, axes=axes(table))
    head = fill(title(table), 80, subsequent_indent="  ", break_long_words=False)
    return "\n".join([head, *shown, verdict(table)])


def axes(table: LagTable) -> tuple[str, str]:
    """What rows and columns are."""
    return "t", "" if table.role == "state" else "s"


def plain(table: LagTable) -> dict[str, Any]:
    """What `json.dumps` takes."""
    words = {"cell": table.cell, "tensor": table.tensor, "role": table.role}
    words |= {"method": table.method, "truncation": table.truncation}
    found = {"passed": table.passed, "where": table.where, "gates": list(table.wrong_gates)}
    found |= {"tolerance": table.tolerance, "sum_error": table.sum_error, "directions": table.directions}
    found |= {"worst": table.worst if table.wrong.any() else None}
    maps = {"numeric": table.norms(table.numeric), "analytic": table.norms(table.analytic), "errors": table.errors}
    lists = {"rows": table.rows, "columns": table.columns} | {name: values.tolist() for name, values in maps.items()}
    whole: dict[str, Any] = finite(words | found | lists)
    return whole


def html(table: LagTable) -> str:
    """A piece of a page: the maps of both sides, the values of a block where the pointer rests."""
    sides = {"numeric": table.norms(table.numeric), "analytic": table.norms(table.analytic)}

    def note(t: int, s: int) -> str:
        values = ", ".join(f"{side} {norms[t, s]:.3g}" for side, norms in sides.items())
        return f"t = {table.rows[t]}, s = {table.columns[s]}: {values}, error {table.errors[t, s]:.1e}"

    both = np.stack(list(sides.values()))
    notes = [[note(t, s) for s in range(len(table.columns))] for t in range(len(table.rows))]
    maps = [
        picture(norms, table.rows, table.columns, table.wrong, axes=axes(table), title=side, notes=notes, scale=both)
        for side, norms in sides.items()
    ]
    below = escape(verdict(table)).replace("\n", "<br>")
    return f'<div class="lags"><p>{escape(title(table))}</p>{"".join(maps)}<p>{below}</p></div>'
