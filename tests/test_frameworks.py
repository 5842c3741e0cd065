"""The examples of docs/frameworks.md print what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "frameworks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\nimport (\w+)(.*?)```\n```output\n(.*?)```", PAGE, re.S)


def test_every_example_has_its_output():
    assert [library for library, _, _ in EXAMPLES] == ["torch", "jax"] and PAGE.count("```python") == 2


@pytest.mark.parametrize(("library", "code", "output"), EXAMPLES, ids=[library for library, *_ in EXAMPLES])
def test_the_example_prints_what_it_says(library, code, output):
    pytest.importorskip(library)
    done = subprocess.run([sys.executable, "-c", f"import {library}{code}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(line) for line in done.stdout.splitlines()[-3:]]
    assert done.stdout.splitlines()[:-3] == output.splitlines()[:-3]
    assert losses == pytest.approx([float(line) for line in output.splitlines()[-3:]], abs=1.1e-3)
    assert losses[-1] < 0.3 * losses[0]
