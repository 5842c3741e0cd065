"""The pages that people read, their blocks of code, and the commands in these.

A block that is not run has a comment before it, <!-- not run: reason -->, outside of the one of docs/refresh.py.
"""

from __future__ import annotations

import re
import shlex
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "plugins/*/README.md", "benchmarks/results/README.md")
    for path in ROOT.glob(pattern)
}
_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>.*?) -->\n(?:<!-- \w+ -->\n)?)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.S | re.M
)
_COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?rnnbp .*$", re.M)


class Block(NamedTuple):
    """A fenced block: its page, the language after the fence, its text, why it is not run, and what it prints."""

    page: str
    kind: str
    text: str
    reason: str | None
    output: str | None

    @property
    def commands(self) -> list[list[str]]:
        """The words after `rnnbp` of every command, without its comment."""
        if self.kind not in ("", "console"):
            return []
        lines = _COMMAND.findall(self.text) if self.kind == "" else re.findall(r"^\$ rnnbp .*$", self.text, re.M)
        return [shlex.split(line.partition("rnnbp ")[2], comments=True) for line in lines]


def blocks(page: str) -> list[Block]:
    """All blocks of a page, from top to bottom."""
    found = [Block(page, m["kind"], m["text"], m["reason"], None) for m in _BLOCK.finditer(PAGES[page])]
    after = [b.text if b.kind == "output" else None for b in found[1:]]
    return [b._replace(output=out) for b, out in zip_longest(found, after)]


def prose(page: str) -> str:
    """The page without its blocks."""
    return _BLOCK.sub("", PAGES[page])
