"""What is shipped: the packages, their types, the console script; and nothing that only this machine knows."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
PLUGINS = sorted((ROOT / "plugins").glob("*/pyproject.toml"))


def folders_of(pattern):
    return {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}


def test_the_wheel_has_every_package():
    found = folders_of("rnnbp/__init__.py") | folders_of("backends/*/__init__.py") | folders_of("cli/*/__init__.py")
    assert set(PACKAGES) == found
    assert len(PACKAGES) == len(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_code_is_a_package(package):
    holding_code = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in holding_code if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    "package", PACKAGES + [f"plugins/{p.parent.name}/{p.parent.name.replace('-', '_')}" for p in PLUGINS]
)
def test_types_are_shipped_and_checked(package):
    assert (ROOT / package / "py.typed").is_file()
    assert Path(package).name in PROJECT["tool"]["mypy"]["packages"]


def test_the_installed_version_is_the_one_in_pyproject():
    assert version("rnnbp") == PROJECT["project"]["version"]


def test_the_console_script_runs():
    (script,) = entry_points(group="console_scripts", name="rnnbp")
    assert script.value == PROJECT["project"]["scripts"]["rnnbp"]
    assert callable(script.load())
    command = shutil.which("rnnbp", path=str(Path(sys.executable).parent))
    assert command, "no rnnbp beside the Python that runs these tests"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "gradcheck" in done.stdout


def test_there_are_plugins():
    assert [path.parent.name for path in PLUGINS] == ["rnnbp-mgu", "rnnbp-recent"]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.parent.name)
def test_a_plugin_is_a_distribution_of_its_own(path):
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    assert project["name"] == path.parent.name
    assert any(re.match(r"rnnbp\b", needed) for needed in project["dependencies"])
    assert set(project["entry-points"]) <= {"rnnbp.cells", "rnnbp.backends", "rnnbp.losses", "rnnbp.tasks"}
    assert (path.parent / project["readme"]).is_file()
    assert (path.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert list((path.parent / "tests").glob("test_*.py"))


def test_no_file_names_a_path_of_this_machine():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout, or no git: there is no list of the project's own files")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]  # the checkout may belong to another user
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    own = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 2]  # /root alone would match too much
    patterns = [r"/(home|Users)/\w", r"/root\b/", r"[A-Z]:\\Users\\", *map(re.escape, own)]
    machine = re.compile("|".join(patterns))
    files = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(files) > 30
    text = {path: path.read_bytes().decode(errors="replace") for path in files}
    assert {str(path.relative_to(ROOT)): hit[0] for path, s in text.items() if (hit := machine.search(s))} == {}


def imports(path, modules):
    """The modules of the package that a file imports as it is loaded."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in modules else node.module


def test_modules_import_each_other_in_no_circle():
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "rnnbp").rglob("*.py")}
    modules = {".".join(parts).removesuffix(".__init__"): path for path, parts in paths.items()}
    graph = {name: {m for m in imports(path, modules) if m in modules} for name, path in modules.items()}
    order = TopologicalSorter({name: needs - {name} for name, needs in graph.items()})
    assert len(list(order.static_order())) == len(modules)  # a circle raises, and says which
