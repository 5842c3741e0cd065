"""What a benchmark leaves behind: its numbers as JSON, and a page that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, numbers: Any, page: str) -> None:
    """`path`.json and `path`.md, whatever stood there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page, encoding="utf-8")
