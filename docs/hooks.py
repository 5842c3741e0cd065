"""What mkdocs is told beyond mkdocs.yml: pages that lie outside of docs/, and the pages of the API reference.

Links in README and docs are those of the repository. The site has the same tree: docs/ and README.md lie at its root,
what they link to beside them, a file of code as a page that shows it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")  # the path of a link to a file; the part after # stays


def place(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") + (".md" if path.endswith(".py") else "")


def targets(path: str) -> list[str]:
    """The files of the repository that a page links to."""
    text = (ROOT / path).read_text(encoding="utf-8") if path.endswith(".md") else ""
    linked = (posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) for link in LINK.findall(text))
    return [target for target in linked if (ROOT / target).is_file()]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README, all that a page links to, and what they link to; then a page for each module of the reference."""
    waiting, seen = ["README.md", *(f"docs/{f.src_uri}" for f in files.documentation_pages())], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        waiting += targets(path)
        if files.get_file_from_path(place(path)) is None:
            files.append(outside(path, config))
    for uri in re.findall(r"reference/[\w.]+\.md", str(config.nav)):
        files.append(File.generated(config, uri, content=reference(PurePosixPath(uri).stem)))
    return files


def outside(path: str, config: MkDocsConfig) -> File:
    """A file that does not lie in docs/, or is code."""
    if not path.endswith(".py"):
        return File.generated(config, place(path), abs_src_path=str(ROOT / path))
    text = (ROOT / path).read_text(encoding="utf-8")
    return File.generated(config, place(path), content=f"# {path}\n\n````python\n{text}````\n")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links to files of the repository as they are in the site."""
    here = page.file.src_uri
    origin = "README.md" if here == "index.md" else here if page.file.generated_by else f"docs/{here}"

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), found[1]))
        return posixpath.relpath(place(target), posixpath.dirname(here) or ".")

    return markdown if origin.endswith(".py.md") else LINK.sub(moved, markdown)


def reference(module: str) -> str:
    """The page of a module: what it re-exports as `X as X`, or else all that it defines and does not hide."""
    path = next(p for p in (ROOT, ROOT / "backends") if (p / module.partition(".")[0]).exists())
    source = path.joinpath(*module.split("."))
    text = (source / "__init__.py" if source.is_dir() else source.with_suffix(".py")).read_text(encoding="utf-8")
    names = [b for a, b in re.findall(r"import (\w+) as (\w+)$", text, re.M) if a == b and not submodule(source / a)]
    members = f"\n    options:\n      members: [{', '.join(names)}]" if names else ""
    return f"# {module}\n\n::: {module}{members}\n"


def submodule(path: Path) -> bool:
    """Whether a name is a module, which has a page of its own."""
    return path.is_dir() or path.with_suffix(".py").exists()


class PlainText(griffe.Extension):
    """Docstrings are plain text with `code` and indented formulas: what Markdown would take for more is escaped."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of whatever was read."""
        if obj.docstring:
            obj.docstring.value = escaped(obj.docstring.value)


def escaped(text: str) -> str:
    """The text as Markdown; an indented block has an empty line before it."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("    "):
            line = re.sub(r"(`[^`]*`)|([*_[\]])|<", lambda m: m[1] or (f"\\{m[2]}" if m[2] else "&lt;"), line)
        elif lines and lines[-1].strip() and not lines[-1].startswith("    "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
