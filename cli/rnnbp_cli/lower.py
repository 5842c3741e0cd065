"""`rnnbp lower`: the code that a backend generates from a cell, or a drawing of the cell's graphs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rnnbp_cli.options import fail

SIZES = (4, 6)  # of the cell that is made: generated code takes sizes as arguments


def lower(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="NAME:option=value,…")],
    target: Annotated[str, typer.Option(help="numba or cuda: the kernels' source; dot: the graphs, for Graphviz.")],
    dtype: Annotated[str | None, typer.Option(help="Of the kernels: float32 or float64 [default: float32]")] = None,
) -> None:
    """Print what is generated from the one definition of a cell: forward and backward, in the cell's own names."""
    from rnnbp.lowering import dot, trace
    from rnnbp.lowering.nodes import Untraceable
    from rnnbp.registry import cell as make_cell

    known = _targets()
    if target not in (*known, "dot"):
        fail(f"--target must be one of {', '.join((*known, 'dot'))}; got {target}")
    if target == "dot" and dtype is not None:
        fail("--target dot draws graphs, which have no dtype: leave --dtype out")
    if dtype not in (None, "float32", "float64"):
        fail(f"--dtype must be float32 or float64; got {dtype}")
    made = make_cell(cell, *SIZES)
    try:
        found = trace(made)
    except Untraceable as reason:
        fail(f"{cell} cannot be traced: {reason}; it takes the portable path")
    print(dot(found) if target == "dot" else known[target].generated(made, dtype or "float32"))


def _targets() -> dict[str, Any]:
    """The backends that generate code, by the language; one that cannot be loaded generates none."""
    from rnnbp.errors import UserError
    from rnnbp.registry import BACKENDS

    found: dict[str, Any] = {}
    for name in BACKENDS:
        try:
            kind = BACKENDS.load(name)
        except UserError:  # a broken plugin: `rnnbp backends` tells of it
            continue
        if getattr(kind, "target", None):
            found.setdefault(kind.target, kind)
    return found
