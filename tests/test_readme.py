"""Links of README and docs lead somewhere, and what the pages list is all that there is."""

import re
from pathlib import Path

import numpy as np
import pytest

import rnnbp
from rnnbp.checking import builtin_specs
from rnnbp.registry import CELLS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_catalogue_of_faults_is_shown_as_it_is():
    from rnnbp.checking.bugs import BUGS

    page = (ROOT / "docs" / "checking-gradients.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {what} |" in page for name, what in BUGS.items())


PAGES = [
    page for found in ("*.md", "docs/*.md", "benchmarks/results/*.md", "plugins/*/*.md") for page in ROOT.glob(found)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_page_of_cells_has_every_cell_and_all_that_is_recorded():
    page = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")
    headings = {name for line in re.findall(r"^### (.*)$", page, re.M) for name in line.split(", ")}
    assert {name for name, entry in CELLS.items() if entry.dist is None} <= headings
    assert {"mgu", "slstm", "mingru", "minlstm"} <= headings
    assert page.count("| forward") > 15
    rows = dict(re.findall(r"^\| `(\S+)` \| (`.*) \|$", page, re.M))
    for spec in builtin_specs():
        *_, backward = rnnbp.scan(
            cell := rnnbp.cell(spec, 2, 3), cell.init(np.random.default_rng(0)), np.ones((2, 2, 2)), record=True
        )
        backward(None, tuple(np.ones((2, *shape)) for shape in cell.states.values()))
        assert set(re.findall(r"`(\S+)`", rows[spec])) == set(backward.record), spec


def test_the_public_names_are_the_documented_ones():
    """And each is re-exported explicitly, `X as X`, so that a type checker sees it."""
    page = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8").partition("## Public names")[2]
    source = (ROOT / "rnnbp" / "__init__.py").read_text(encoding="utf-8")
    assert re.findall(r"`(\w+)`", page.partition("rely on:")[2]) == sorted(re.findall(r" as (\w+)$", source, re.M))


def test_every_console_block_shows_a_command_and_its_output():
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        assert block.startswith("$ ") and block.count("\n") > 3
