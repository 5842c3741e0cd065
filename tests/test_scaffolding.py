"""A new plugin: what is written installs, passes and is clean; what cannot be written is refused in one line."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, version
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import rnnbp
from rnnbp.lowering import untraceable
from rnnbp.registry import CELLS
from rnnbp.scaffolding import FILES, KINDS, new_plugin, rendered

ROOT = Path(__file__).parent.parent


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    """A new plugin of each kind; its name takes all that a name may have."""
    return new_plugin(f"my-{request.param}-2", tmp_path, request.param)


def run(folder, *words):
    """A module of Python, run in the plugin's folder, which nobody has installed."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NUMBA_DISABLE_JIT"] = "1"  # compiling takes half a minute
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def load(monkeypatch):
    """A plugin's cell, by the entry point that is written: its name and its class, found by rnnbp as if installed."""
    loaded = set()

    def found(folder):
        monkeypatch.syspath_prepend(folder)
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        ((name, target),) = project["entry-points"]["rnnbp.cells"].items()
        entry = EntryPoint(name, target, CELLS.group)
        monkeypatch.setitem(CELLS.__dict__, "_winners", {**{n: CELLS[n] for n in CELLS}, name: entry})
        loaded.add(entry.module)
        return name, entry.load()

    yield found
    for module in loaded:  # or its name is taken for the next test
        sys.modules.pop(module)


def test_the_files(folder):
    package = folder.name.replace("-", "_")
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {path.replace("$package", package) for path in FILES}
    for path in written:
        text = (folder / path).read_text(encoding="utf-8")
        assert "$" not in text and (text.endswith("\n") or path.endswith("py.typed")), path


def test_its_own_tests_pass(folder):
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 70 and "failed" not in done.stdout


def test_when_installed_the_command_line_knows_it_and_its_last_test_passes_too(folder):
    """What an installer would write lies beside the package."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, target),) = project["entry-points"]["rnnbp.cells"].items()
    info = folder / f"{folder.name.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[rnnbp.cells]\n{name} = {target}\n", encoding="utf-8")
    done = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-k", "found_by_name")
    assert done.returncode == 0 and "1 passed" in done.stdout and "skipped" not in done.stdout, done.stdout
    done = run(folder, "rnnbp_cli", "gradcheck", name)
    assert done.returncode == 0 and "passed: " in done.stdout, done.stdout + done.stderr


def test_its_own_tests_find_a_wrong_forward_and_a_wrong_backward(folder):
    (source,) = folder.glob("rnnbp_*/__init__.py")
    right = source.read_text(encoding="utf-8")
    faults = {
        "pointwise": [("f * h + i * n", "f * h + n"), ("dan = dn * (1 - n * n)", "dan = dn * (1 + n * n)")],
        "plain": [("m = v * u ", "m = v + u "), ("da = dh1 * (1 - h1 * h1)", "da = dh1 * (1 - h1)")],
    }
    for fault in faults["pointwise" if "pointwise" in folder.name else "plain"]:
        assert right.count(fault[0]) == 1
        source.write_text(right.replace(*fault), encoding="utf-8")
        done = run(folder, "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/test_equations.py")
        assert done.returncode == 1, done.stdout + done.stderr


def test_it_is_found_by_name(folder, load):
    name, kind = load(folder)
    assert kind.__name__ == "".join(word.capitalize() for word in name.split("-"))
    cell = rnnbp.cell(f"{name}:bias=false", 3, 5)
    assert cell == kind(3, 5, bias=False) and cell.source and "b" not in cell.params
    assert (untraceable(cell) is None) == isinstance(cell, rnnbp.PointwiseCell) == ("pointwise" in name)


def test_the_option_of_the_pointwise_cell_matters(tmp_path, load):
    """With β = 0 as much is written as is let go: the update gate network, another hand's code, has the same step."""
    name, _ = load(new_plugin("leaky", tmp_path))
    rng = np.random.default_rng(0)
    cells = [rnnbp.cell(spec, 3, 5) for spec in (f"{name}:beta=0", "ugrnn", name)]
    p = {n: rng.standard_normal(spec.shape) for n, spec in cells[0].params.items()}
    x, h = rng.standard_normal((2, 3)), rng.standard_normal((2, 5))
    even, same, other = (cell.step(np, p, x, (h,), {})[0][0] for cell in cells)
    np.testing.assert_allclose(even, same, rtol=0, atol=4 * (3 + 5) * np.finfo(np.float64).eps)
    assert np.max(np.abs(even - other)) > 0.01


def test_the_project_is_a_distribution_of_its_own(folder):
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    written, package = tomllib.loads(text), folder.name.replace("-", "_")
    project = written["project"]
    assert project["name"] == folder.name and (folder / project["readme"]).is_file()
    assert project["dependencies"] == [f"rnnbp>={version('rnnbp')}"] and "license" not in project
    assert written["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package]
    assert (folder / package / "py.typed").is_file()
    (target,) = project["entry-points"]["rnnbp.cells"].values()
    assert target.startswith(f"{package}:") and f"class {target.partition(':')[2]}(" in rendered_cell(folder)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for wanted in ("pip install -e", "rnnbp gradcheck", "## Change", "yours to choose"):
        assert wanted in readme


def rendered_cell(folder):
    (source,) = folder.glob("rnnbp_*/__init__.py")
    return source.read_text(encoding="utf-8")


def test_it_imports_public_names_only(folder):
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("rnnbp"):
                assert node.module in ("rnnbp", "rnnbp.testing", folder.name.replace("-", "_"))


def test_the_example_of_the_readme_runs(folder, load, monkeypatch):
    load(folder)
    monkeypatch.setattr("rnnbp_numpy.COMPILED", False)  # compiling takes seconds
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    names = {}
    exec(code, names)
    assert names["dxs"].shape == (7, 2, 3) and set(names["dparams"]) == set(names["cell"].params)


@pytest.mark.parametrize("name", ["x", "a-cell-of-a-rather-long-name-as-no-one-would-call-it"])
@pytest.mark.parametrize("kind", KINDS)
def test_ruff_has_nothing_to_say(kind, name, tmp_path):
    pytest.importorskip("ruff")
    folder = new_plugin(name, tmp_path, kind)
    for words in (["check"], ["format", "--check"]):
        done = run(folder, "ruff", *words, "--no-cache")
        assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_has_nothing_to_say(tmp_path, request):
    """One test for both kinds: they share what mypy found out of rnnbp, a quarter of a minute when it is not kept."""
    pytest.importorskip("mypy")
    kept = getattr(request.config, "cache", None)
    cache = kept.mkdir("mypy-of-plugins") if kept else tmp_path / "cache"
    for kind in KINDS:
        folder = new_plugin(kind, tmp_path, kind)
        done = run(folder, "mypy", "--cache-dir", str(cache))
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / f"rnnbp_{kind}" / "wrong.py").write_text("n: int = 'one'\n", encoding="utf-8")
        assert run(folder, "mypy", "--cache-dir", str(cache)).returncode == 1


def test_nothing_is_replaced(tmp_path):
    folder = new_plugin("mine", tmp_path)
    (folder / "README.md").write_text("mine", encoding="utf-8")
    for taken in (folder, tmp_path / "rnnbp-empty", tmp_path / "rnnbp-file", tmp_path / "rnnbp-link"):
        if taken.name == "rnnbp-empty":
            taken.mkdir()
        elif taken.name == "rnnbp-file":
            taken.touch()
        elif taken.name == "rnnbp-link":
            taken.symlink_to(tmp_path / "nowhere")
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(rnnbp.UserError, match="replaces nothing; .* is there"):
            new_plugin(taken.name.removeprefix("rnnbp-"), tmp_path)
        assert sorted(tmp_path.rglob("*")) == before
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My_Cell", "got 'My_Cell': try my-cell"),
        ("2-gates", "a letter first.*: try gates"),
        ("../x", ": try x$"),
        ("a--b", ": try a-b$"),
        ("a-", ": try a$"),
        ("a\n", ": try a$"),
        ("é", "got 'é'$"),
        ("", "got ''$"),
        ("lstm", "rnnbp has a cell lstm: choose another"),
        ("lstm-1997", "rnnbp has a cell lstm-1997"),
        ("torch", "rnnbp_torch is there already"),
        ("cli", "rnnbp_cli is there already"),
        ("cell", "Cell means something already"),
        ("none", "None means something already"),
    ],
)
def test_a_name_that_will_not_do(tmp_path, name, message):
    with pytest.raises(rnnbp.UserError, match=message) as error:
        new_plugin(name, tmp_path)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_a_kind_that_there_is_not_and_a_folder_that_is_missing(tmp_path):
    with pytest.raises(rnnbp.UserError, match="unknown kind of plugin 'plane': did you mean plain"):
        new_plugin("mine", tmp_path, "plane")
    with pytest.raises(rnnbp.UserError, match="a folder that is there; got .*nowhere: make it"):
        new_plugin("mine", tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_the_templates_are_all_used_and_no_rule_keeps_them_from_the_wheel():
    """Hatchling packs what lies in a package, unless .gitignore names it."""
    templates = ROOT / "rnnbp" / "scaffolding" / "templates"
    there = {path.relative_to(templates).as_posix() for path in templates.rglob("*") if path.is_file()}
    used = {t.replace("$kind", kind) for t in FILES.values() if t for kind in KINDS}
    assert there == used
    assert files("rnnbp.scaffolding").joinpath("templates").is_dir()
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-c", "safe.directory=*", "check-ignore", *(str(templates / path) for path in there)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60).returncode == 1  # none is ignored


def test_the_page_shows_what_is_written():
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    texts = rendered("my-cell").values()
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.S)
    assert len(blocks) == 5
    for block in blocks:
        assert any(block in text for text in texts), block
