"""Every command and every piece of Python that a page shows is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import conftest
import numpy as np
import pytest
import typer.main
from docs_pages import PAGES, ROOT, Block, blocks, prose
from helpers import tolerance
from rnnbp_cli import main
from rnnbp_cli.app import app
from safetensors.numpy import save_file

import rnnbp
from rnnbp.interop import save, to_torch
from rnnbp.registry import BACKENDS, CELLS, Registry


def weights_of_others() -> None:
    """What docs/interop.md converts: a module of torch's, two layers of Keras's, and a run."""
    pytest.importorskip("h5py")
    stack = rnnbp.stack("lstm", 3, 4, layers=2)
    params = stack.init(np.random.default_rng(0))
    theirs = {f"encoder.{name}": np.ascontiguousarray(a) for name, a in to_torch(stack, params).items()}
    save_file(theirs, "model.safetensors")
    save("model.weights.h5", stack, params)
    run("train --task adding --hidden 4 --time-steps 4 --batch 2 --steps 1 --out runs/demo".split())


def plugin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of a plugin by name, as if it were installed."""
    text = (ROOT / "plugins" / name / "pyproject.toml").read_text(encoding="utf-8")
    installed(monkeypatch, CELLS, tomllib.loads(text)["project"]["entry-points"]["rnnbp.cells"])


def own_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend of docs/backends.md by its name, as if it were installed."""
    text = re.findall(r"```toml\n(.*?)```", PAGES["docs/backends.md"], re.S)[0]
    named = tomllib.loads(text)["project"]["entry-points"]["rnnbp.backends"]
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    installed(monkeypatch, BACKENDS, named)


def installed(monkeypatch: pytest.MonkeyPatch, registry: Registry, named: dict[str, str]) -> None:
    """A registry with entry points by name besides its own."""
    entries = {name: EntryPoint(name, target, registry.group) for name, target in named.items()}
    monkeypatch.setitem(registry.__dict__, "candidates", (*registry.candidates, *entries.values()))
    monkeypatch.setitem(registry.__dict__, "_winners", {name: registry[name] for name in registry} | entries)


def run(words: list[str]) -> int:
    """The exit code of a command: in this process, unless it would change the threads of the tests after it."""
    if "--threads" in words:
        done = subprocess.run([sys.executable, "-m", "rnnbp_cli", *words], capture_output=True, text=True, timeout=300)
        print(done.stderr, file=sys.stderr)
        return done.returncode
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Go to an empty folder, with the plugins installed that a page speaks of."""

    def prepare(page: str) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "docs").mkdir()
        if page == "docs/backends.md":
            own_backend(monkeypatch)
        if page.startswith("plugins/"):
            plugin(page.split("/")[1], monkeypatch)

    return prepare


def of_pages(wanted: Callable[[Block], object]) -> list[str]:
    """The pages that have such a block to run."""
    return [page for page in sorted(PAGES) if any(wanted(b) for b in blocks(page) if b.reason is None)]


@pytest.mark.parametrize("page", of_pages(lambda b: b.commands))
def test_every_command_runs_as_it_stands(page, ready, capsys):
    ready(page)
    if page == "docs/interop.md":
        weights_of_others()
    failed, missing = [], []
    for block in blocks(page):
        for words in block.commands if block.reason is None else ():
            code, (_, err) = run(words), capsys.readouterr()
            if code == 2 and "pip install" in err and not conftest.REQUIRED:
                missing.append(err.strip())
            elif code != int("FAILED" in block.text):  # 1 where the page shows a check that fails
                failed.append(f"rnnbp {' '.join(words)}: exit code {code}: {err.strip()}")
    assert not failed
    if missing:
        pytest.skip("; ".join(missing))


@pytest.mark.parametrize("page", of_pages(lambda b: b.kind == "python"))
@pytest.mark.usefixtures("one_thread")
def test_every_example_prints_what_the_page_says(page, ready, capsys):
    ready(page)
    missing = []
    for block in blocks(page):
        if block.kind == "python" and block.reason is None:
            try:
                exec(compile(block.text, page, "exec"), {"__name__": "__main__"})
            except ModuleNotFoundError as error:
                if conftest.REQUIRED:
                    raise
                missing.append(str(error))
                continue
            shown, printed = (block.output or "").split(), capsys.readouterr().out.split()
            assert len(shown) == len(printed), f"{printed} is not {shown}"
            assert all(map(same, shown, printed)), f"{printed} is not {shown}"
    if missing:
        pytest.skip("; ".join(missing))


def same(shown: str, printed: str) -> bool:
    """One word; numbers with a point may differ by rounding: by one in the last digit that is shown, or as sums do."""
    if shown == printed or not re.fullmatch(r"-?\d+\.\d+", shown):
        return shown == printed
    last = 10.0 ** -len(shown.partition(".")[2])
    return abs(float(shown) - float(printed)) <= max(1.01 * last, tolerance() * abs(float(shown)))


@pytest.mark.parametrize(
    ("shown", "printed", "wanted"),
    [
        ("True", "True", True),
        ("8", "9", False),
        ("0.631", "0.632", True),
        ("0.631", "0.633", False),
        ("1.5", "nan", False),
    ],
)
def test_numbers_agree_to_the_digits_shown(shown, printed, wanted):
    assert same(shown, printed) is wanted


def test_few_blocks_are_not_run_and_each_says_why():
    skipped = [b for page in PAGES for b in blocks(page) if b.reason is not None]
    assert all(len(b.reason.split()) > 2 for b in skipped)
    assert len([b for b in skipped if b.commands]) <= 6, [b.text for b in skipped if b.commands]
    marks = sum(text.count("<!-- not run:") for text in PAGES.values())
    assert marks == len(skipped)  # none stands where there is no block


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_command_and_option_that_is_named_exists(page):
    shown = re.findall(r"`rnnbp ([a-z][^`]*)`", " ".join(prose(page).split()))
    shown += [" ".join(words) for b in blocks(page) for words in b.commands]
    assert not [text for text in shown if not exists(text.split())]


def exists(words: list[str]) -> bool:
    """Whether rnnbp has this command, and the command every word that begins with two hyphens."""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands"):
        return False
    known = {"--help", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}
    return set(re.findall(r"--[a-z0-9-]+", " ".join(words))) <= known


@pytest.mark.parametrize(
    ("text", "wanted"), [("gradcheck rnn --lags", True), ("gradcheck --lag", False), ("grad", False)]
)
def test_a_command_that_is_not_there_is_seen(text, wanted):
    assert exists(text.split()) is wanted


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_script_and_target_of_make_that_is_named_exists(page):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"(?:`|^\$? ?)make ([a-z]+)", PAGES[page], re.M)) <= set(targets)
    scripts = re.findall(r"python ((?:docs|benchmarks)/[\w/]+\.py)", PAGES[page])
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def test_no_command_and_no_python_hides_in_a_block_of_another_kind():
    for page, text in PAGES.items():
        assert not re.search(r"^ {4,}(\$ )?rnnbp ", text, re.M), page
        plain = "\n".join(b.text for b in blocks(page) if b.kind == "")
        assert not re.search(r"^(def|class|from|import|print\() ?", plain, re.M), page
