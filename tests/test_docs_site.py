"""The site of docs/: it builds without a warning, needs no network, and has all pages, figures and public names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest
from docs_pages import PAGES, ROOT

MODULES = re.findall(r"reference/([\w.]+)\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, str]:
    """The pages of the site by their address; of several workers the first one builds it for all."""
    for needed in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(needed)
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    out, told = shared / "pages", shared / "told"
    try:
        shared.mkdir()
    except FileExistsError:
        wait_for(told)
    else:
        build(out, told)
    assert (done := told.read_text(encoding="utf-8")) == "0", done
    assert (out / "truncation.png").stat().st_size and (out / "search" / "search_index.json").stat().st_size
    return {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.html")}


def build(out: Path, told: Path) -> None:
    """Build the site; then `told` says 0, or what was wrong."""
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    half = told.with_suffix(".half")
    half.write_text(f"{done.returncode}\n{done.stderr}" if done.returncode else "0", encoding="utf-8")
    half.rename(told)  # whole, or not there


def wait_for(told: Path) -> None:
    """Wait until another worker has built the site."""
    for _ in range(3000):
        if told.exists():
            return
        time.sleep(0.1)
    pytest.fail("the site was not built within five minutes")


class Fetched(HTMLParser):
    """What a browser fetches for a page: the addresses of scripts, styles, pictures and fonts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]


def test_nothing_is_fetched_from_elsewhere(site):
    for address, text in site.items():
        reader = Fetched()
        reader.feed(text)
        assert reader.addresses, address
        assert not [found for found in reader.addresses if re.match(r"(https?:)?//", found)], address


def test_what_pages_link_to_outside_of_docs_is_there(site):
    for there in ("benchmarks/results/index.html", "plugins/rnnbp-mgu/index.html", "CHANGELOG/index.html"):
        assert there in site
    assert "class LSTM" in re.sub("<[^>]+>", "", site["rnnbp/cells/lstm.py/index.html"])


def test_every_page_of_docs_is_in_the_navigation(site):
    for page in PAGES:
        if page.startswith("docs/"):
            assert f'href="{Path(page).stem}/"' in site["index.html"], page


def test_lists_and_tables_are_ones(site):
    """GitHub takes a list right after a paragraph, this renderer does not: it stands in the text with its hyphens."""
    for address, text in site.items():
        paragraphs = re.findall(r"<p>(.*?)</p>", text, re.S)
        assert not [p for p in paragraphs if re.search(r"^(- |\d+\. |\|.*\|$)", p, re.M)], address
    assert "<code>|c| with f = 1</code>" in site["flow/index.html"]  # a table's bar in `code`, without its backslash


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(site, module):
    here = site[f"reference/{module}/index.html"]
    names = public(importlib.import_module(module))
    assert names
    for name in names:
        assert re.search(rf'id="{module}(\.{name})?\.{name}"', here), name


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_says_what_each_is_and_how_it_is_called(site, module):
    here, inside = site[f"reference/{module}/index.html"], importlib.import_module(module)
    entries = re.split(r'<h\d id="([\w.]+)" class="doc doc-heading">', here)[1:]
    for path, entry in zip(entries[::2], entries[1::2], strict=True):
        told = entry.partition('class="doc doc-contents')[2].partition("<details")[0]
        assert re.search(r"<p>(?!\s*Bases:)", told), path
        thing = vars(inside).get(path.removeprefix(f"{module}."))
        if called(thing):
            assert parameters(entry) == list(inspect.signature(thing).parameters), path


def called(thing: object) -> bool:
    """Whether it is a function of rnnbp's, or a class of values that takes something."""
    if not getattr(thing, "__module__", "").startswith("rnnbp") or not inspect.isclass(thing):
        return inspect.isfunction(thing)
    takes = thing.__init__ is not object.__init__ or thing.__new__ is not object.__new__
    return takes and not issubclass(thing, Exception | Protocol)


def parameters(entry: str) -> list[str]:
    """The names in the signature of an entry, its first block of code."""
    code = unescape(re.sub("<[^>]+>", "", re.search(r"<pre>(.*?)</pre>", entry, re.S)[1]))
    spec = ast.parse(f"def {code.strip()}: ...").body[0].args
    return [a.arg for a in (*spec.posonlyargs, *spec.args, spec.vararg, *spec.kwonlyargs, spec.kwarg) if a]


def public(module: ModuleType) -> list[str]:
    """What a module re-exports as `X as X`, or else the functions and classes that it defines; not its submodules."""
    text = Path(module.__file__ or "").read_text(encoding="utf-8")
    again = [b for a, b in re.findall(r"import (\w+) as (\w+)$", text, re.M) if a == b]
    if again:
        return [name for name in again if not isinstance(getattr(module, name), ModuleType)]
    return re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", text, re.M)


def test_the_packages_that_speak_for_themselves_have_a_page():
    """A package below rnnbp that re-exports names is in the reference; what its parts are for is told elsewhere."""
    found = {
        f"rnnbp.{path.parent.name}"
        for path in ROOT.glob("rnnbp/*/__init__.py")
        if re.search(r"import (\w+) as \1$", path.read_text(encoding="utf-8"), re.M)
    }
    assert found - set(MODULES) == set()


def refresh() -> ModuleType:
    """docs/refresh.py."""
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["refresh"] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def test_one_command_makes_every_figure_and_every_piece():
    pieces = refresh().PIECES
    shown = {name for text in PAGES.values() for name in re.findall(r"^<!-- (\w+) -->$", text, re.M)}
    assert shown == set(pieces)
    for figure in (path for end in ("png", "svg", "html") for path in (ROOT / "docs").rglob(f"*.{end}")):
        where = figure.relative_to(ROOT)
        assert any(hasattr(piece, "makes") and piece.makes(where) for piece in pieces.values()), where


@pytest.mark.parametrize(
    ("figure", "wanted"), [("docs/truncation.png", True), ("docs/truncation.svg", False), ("truncation.png", False)]
)
def test_a_command_makes_what_stands_after_out(figure, wanted):
    assert refresh().PIECES["compared"].makes(Path(figure)) is wanted


def test_links_of_the_repository_become_those_of_the_site():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert hooks.place("README.md") == "index.md" and hooks.place("docs/cells.md") == "cells.md"
    assert hooks.place("docs/examples/numpy_lstm.py") == "examples/numpy_lstm.py.md"
    assert "plugins/rnnbp-mgu/README.md" in hooks.targets("docs/plugins.md")
    assert hooks.escaped("s* < t\n    a = b * c") == "s\\* &lt; t\n\n    a = b * c"
    assert hooks.escaped("`a_b` [n]") == "`a_b` \\[n\\]"


def test_the_page_of_gradient_flow_names_every_function():
    from rnnbp import flow

    named = set(re.findall(r"`(\w+)`", PAGES["docs/flow.md"].partition("| function |")[2]))
    functions = {name for name, f in vars(flow).items() if callable(f) and name[0].islower()}
    assert functions - named == set() and named - set(dir(flow)) == set()
