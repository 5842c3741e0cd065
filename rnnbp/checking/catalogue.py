"""Many cells in one report: the built-in ones, and those of plugins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rnnbp.cellbase import Cell
from rnnbp.checking.cells import SIZES, check_gradients
from rnnbp.checking.methods.registry import METHODS
from rnnbp.checking.models import check_task
from rnnbp.checking.report import Report, joined
from rnnbp.checking.verdicts import setting
from rnnbp.errors import UserError, described
from rnnbp.registry import CELLS, distribution
from rnnbp.registry import cell as make_cell
from rnnbp.truncation import Truncation

# the options under which a built-in cell has other equations
VARIANTS = {
    "elman": ("elman", "elman:activation=sigmoid", "elman:activation=relu", "elman:activation=identity"),
    "lstm": ("lstm", "lstm:peepholes=true,peephole_error=false", "lstm:peepholes=true,clip=0.8", "lstm:stopped=i+f"),
    "lstm-1997": ("lstm-1997", "lstm-1997:truncated=false"),
    "gru": ("gru", "gru:reset=before", "gru:clip=0.8"),
    "indrnn": ("indrnn", "indrnn:activation=tanh"),
    "rhn": ("rhn", "rhn:depth=3,coupled=false"),
    "lstm-projected": ("lstm-projected", "lstm-projected:peepholes=true"),
}
DEFAULTS: dict[str, Any] = {"backend": None, "dtype": "float64", "method": "complex-step", "truncation": "full"}


def builtin_specs() -> list[str]:
    """The cells that come with rnnbp, each with the options that change its equations."""
    names = [name for name, entry in CELLS.items() if distribution(entry) == "rnnbp"]
    return [spec for name in names for spec in VARIANTS.get(name, (name,))]


def all_specs() -> list[str]:
    """The built-in cells, then those of plugins."""
    return builtin_specs() + [name for name, entry in CELLS.items() if distribution(entry) != "rnnbp"]


def suited(specs: Iterable[str], method: str = "complex-step", truncation: str = "full") -> tuple[list[str], list[str]]:
    """Those of several cells that a truncation can cut and of which a method can say something; of the others, why not.

    A cell that cannot be made is among the first: its check says why. So is every cell where the method is not known.
    """
    kind = Truncation.parse(truncation)
    left_out: dict[str, str] = {}
    names = list(specs)
    for spec in names:
        try:
            made = make_cell(spec, **SIZES)
            left_out[spec] = _uncuttable(kind, made) or (METHODS[method].refuses(made) if method in METHODS else "")
        except Exception:  # whatever a plugin raises is told by the check itself
            left_out[spec] = ""
    return [spec for spec in names if not left_out[spec]], [f"{spec}: {why}" for spec, why in left_out.items() if why]


def _uncuttable(kind: Truncation, cell: Cell) -> str:
    """Why a truncation cannot stop what it stops in this cell; empty if it can."""
    try:
        kind.of(cell)
    except UserError as why:
        return str(why)
    return ""


def check_cells(
    specs: Iterable[str], *, task: str | None = None, tolerant: bool = False, seed: int = 0, **options: Any
) -> Report:
    """`gradcheck` of several cells by name, or `check_task` of each in the model of a task, in one report.

    With `tolerant` a plugin's cell that cannot be loaded or run is a check that failed, with the reason, and the others
    go on.
    """
    if task is not None and "path" in options:
        raise UserError(
            f"a model runs through the paths that its backend takes; got path {options['path']}: leave it out"
        )
    how = setting(**{word: options.get(word, default) for word, default in DEFAULTS.items()})
    reports, names = [], list(specs)
    if not names:
        raise UserError("check_cells takes the names of cells; got none: give one, or all_specs()")
    for spec in names:
        try:
            if task is None:
                reports.append(check_gradients(spec, seed=seed, **options))
            else:
                reports.append(check_task(task, spec, seed=seed, **options))
        except Exception as error:  # whatever a plugin raises is the plugin's fault
            if not tolerant or spec in builtin_specs():
                raise
            reports.append(Report((how.check(spec, "–", note=described(error)),), seed, task))
    return joined(reports)
