"""The files that `rnnbp flow` writes: every picture, and the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbp_cli.options import fail, put_file, refuse_page, say, write_page

if TYPE_CHECKING:
    from rnnbp.flow.reports import Report

ENDINGS = (".png", ".svg")


def refuse_files(out: Path | None, report: Path | None, force: bool, names: Sequence[str]) -> None:
    """Where files go is known to be good before anything is computed."""
    if report is not None:
        refuse_page(report, force)
    if out is None:
        if force and report is None:
            fail("--force lets --out and --report replace files; got neither: leave it out")
        return
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        fail(f"--out needs a folder that can be written to; {there} is none: name another")
    from rnnbp.flow.measures import DEFAULT, DRAWN

    pictures = [picture for name in names or DEFAULT for picture in DRAWN.get(name, ())]  # that there may be
    taken = [path for picture in pictures for path in files_of(out, picture) if path.exists()]
    if taken and not force:
        fail(f"--out replaces no picture; {taken[0]} is there: name another folder, or say --force")


def files_of(out: Path, picture: str) -> list[Path]:
    """The files that a picture is written to."""
    return [out / f"{picture.replace(' ', '-')}{ending}" for ending in ENDINGS]


def write_files(found: Report, out: Path | None, report: Path | None) -> None:
    """The pictures and the page."""
    if out is not None:
        from rnnbp.flow.pictures.drawing import draw

        out.mkdir(parents=True, exist_ok=True)
        for name in found.pictures:
            for path in files_of(out, name):
                put_file(path, partial(draw, found, name))
        say(f"{len(found.pictures)} pictures, as PNG and SVG, in {out}")
    if report is not None:
        from rnnbp.flow.pictures.page import page

        write_page(report, page(found))
