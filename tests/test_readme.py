"""The README's example prints what the README says, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/checking-gradients.md"])
def test_the_example_prints_what_it_says(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    (expected,) = re.findall(r"```output\n(.*?)```", text, re.S)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for ours, line in zip(done.stdout.splitlines(), expected.splitlines(), strict=True):
        assert ours == line or float(ours) == pytest.approx(float(line), rel=1e-12)


def test_the_catalogue_of_faults_is_shown_as_it_is():
    from rnnbp.checking.bugs import BUGS

    page = (ROOT / "docs" / "checking-gradients.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {what} |" in page for name, what in BUGS.items())


PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/contracts.md",
    "docs/checking-gradients.md",
    "docs/speed.md",
    "docs/truncation.md",
    "benchmarks/results/README.md",
]


@pytest.mark.parametrize("page", [*PAGES, "plugins/rnnbp-mgu/README.md", "plugins/rnnbp-recent/README.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_command_shown_exists():
    from rnnbp_cli.app import app

    known = {command.callback.__name__ for command in app.registered_commands}
    shown = set(re.findall(r"rnnbp ([a-z]+)", " ".join(re.findall(r"`rnnbp [a-z]+|^\$ rnnbp [a-z]+", README, re.M))))
    assert shown and shown <= known


def test_the_public_names_are_the_documented_ones():
    """And each is re-exported explicitly, `X as X`, so that a type checker sees it."""
    page = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8").partition("## Public names")[2]
    source = (ROOT / "rnnbp" / "__init__.py").read_text(encoding="utf-8")
    assert re.findall(r"`(\w+)`", page.partition("rely on:")[2]) == sorted(re.findall(r" as (\w+)$", source, re.M))


def test_every_console_block_shows_a_command_and_its_output():
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        assert block.startswith("$ ") and block.count("\n") > 3
