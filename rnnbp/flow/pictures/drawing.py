"""Pictures as files."""

from __future__ import annotations

from pathlib import Path

from rnnbp.benching.plotting import require_matplotlib
from rnnbp.errors import UserError, unknown
from rnnbp.flow.pictures.figures import figure_of, settings
from rnnbp.flow.pictures.looks import PRINT
from rnnbp.flow.reports import Report

ENDINGS = (".png", ".svg")


def draw(report: Report, picture: str, path: Path) -> None:
    """Write a picture of the report at the width of a printed page; PNG or SVG, by the ending of the path.

    The same report gives the same file. UserError for a picture that the report does not have, for another ending, and
    where matplotlib is missing.
    """
    if picture not in report.pictures:
        raise unknown("picture of this report", picture, report.pictures)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"a picture is written as PNG or SVG; got {path.name}: end its name in .png or .svg")
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context(settings(PRINT)):
        figure = figure_of(report, picture, PRINT)
        figure.savefig(path, dpi=200, metadata={"Date": None} if ending == ".svg" else None)
