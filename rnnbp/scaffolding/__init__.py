"""A new plugin: a distribution of its own with a cell, its tests and a README, that installs and passes at once.

`templates` holds what is written: every file is the one of that name, with the words of `words` for `$word`.
"""

from __future__ import annotations

import builtins
import re
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import rnnbp
from rnnbp.errors import UserError, unknown
from rnnbp.registry import CELLS, distribution

# kind -> what a README says of the cell that is written, and of what an author writes
KINDS = {
    "pointwise": {
        "what": "JANET, an LSTM of which only the forget gate is left (van der Westhuizen & Lasenby 2018)",
        "contract": "`gates` and `pointwise`",
    },
    "plain": {
        "what": "the multiplicative RNN (Sutskever, Martens & Hinton 2011)",
        "contract": "`params` and `step`",
    },
}
# file -> its template
FILES = {
    "pyproject.toml": "common/pyproject.toml.txt",
    "README.md": "common/README.md.txt",
    "$package/__init__.py": "$kind/cell.py.txt",
    "$package/py.typed": "",
    "tests/test_conformance.py": "common/test_conformance.py.txt",
    "tests/test_equations.py": "$kind/test_equations.py.txt",
}


def new_plugin(name: str, into: str | Path = ".", kind: str = "pointwise") -> Path:
    """Write the plugin rnnbp-NAME into a folder, and give the folder that it is now.

    kind: "pointwise", a cell of two gates, or "plain", a cell with a step of its own. A UserError: a name that is no
    word or is taken, a kind that there is not, a folder that is missing, or one that is there already.
    """
    found = rendered(name, kind)
    parent = Path(into)
    if not parent.is_dir():
        raise UserError(f"a plugin is written into a folder that is there; got {parent}: make it, or name another")
    folder = parent / f"rnnbp-{name}"
    try:
        folder.mkdir()
    except FileExistsError:
        raise UserError(f"a new plugin replaces nothing; {folder} is there: choose another name or folder") from None
    for path, text in found.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def rendered(name: str, kind: str = "pointwise") -> dict[str, str]:
    """Every file of the plugin by its path, as text."""
    if kind not in KINDS:
        raise unknown("kind of plugin", kind, KINDS)
    known, templates = words(name) | KINDS[kind] | {"kind": kind}, files(__name__) / "templates"

    def filled(text: str) -> str:
        return Template(text).substitute(known)

    def read(template: str) -> str:
        return (templates / filled(template)).read_text(encoding="utf-8") if template else ""

    return {filled(path): filled(read(template)) for path, template in FILES.items()}


def words(name: str) -> dict[str, str]:
    """What a name makes: `my-cell` has the package `rnnbp_my_cell` and the class `MyCell`; one taken is a UserError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789").rstrip("-")
        hint = f": try {near}" if near else ""
        raise UserError(
            f"a plugin's name is small letters and digits, a letter first, words joined by -; got {name!r}{hint}"
        )
    package, cls = f"rnnbp_{name.replace('-', '_')}", "".join(word.capitalize() for word in name.split("-"))
    if name in CELLS:
        raise UserError(f"a plugin brings a new name; {distribution(CELLS[name])} has a cell {name}: choose another")
    if find_spec(package):
        raise UserError(f"a plugin brings a package of its own; {package} is there already: choose another name")
    if hasattr(rnnbp, cls) or hasattr(builtins, cls):
        raise UserError(f"a plugin's class bears its name; {cls} means something already: choose another name")
    return {"name": name, "package": package, "cls": cls, "version": version("rnnbp")}
