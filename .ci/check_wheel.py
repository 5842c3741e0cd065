"""Check a built wheel of rnnbp: every package of the project is in it, each with its py.typed, and the console script.

python .ci/check_wheel.py dist/rnnbp-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def missing(wheel: Path) -> list[str]:
    """What the wheel should hold and does not: all that lies in the packages of pyproject.toml, and the metadata."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted: set[str] = set()
    for folder in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        top = ROOT / folder
        wanted.add(f"{top.name}/py.typed")
        files = [path for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        wanted |= {path.relative_to(top.parent).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        scripts = archive.read(f"{info}/entry_points.txt").decode() if f"{info}/entry_points.txt" in names else ""
    problems = sorted(wanted - names)
    if f"{info}/licenses/LICENSE" not in names:
        problems.append("LICENSE")
    for script, target in project["project"]["scripts"].items():
        if f"{script} = {target}" not in scripts:
            problems.append(f"console script {script}")
    return problems


if __name__ == "__main__":
    lacking = missing(Path(sys.argv[1]))
    sys.exit(f"{sys.argv[1]} lacks {', '.join(lacking)}" if lacking else 0)
