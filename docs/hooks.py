"""What mkdocs is told beyond mkdocs.yml: pages that lie outside of docs/, and the pages of the API reference.

Links in README and docs are those of the repository. The site has the same tree: docs/ and README.md lie at its root,
what they link to beside them, a file of code as a page that shows it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")  # the path of a link to a file; the part after # stays


def place(path: str) -> str:
    """Where a file or a folder of the repository lies in the site."""
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        return f"{path}/index.md"
    return path.removeprefix("docs/") + (".md" if path.endswith(".py") else "")


def text_of(path: str) -> str:
    """A page as Markdown: what it says, the code of a file, or the list of what is in a folder."""
    here = ROOT / path
    if here.is_dir():
        files = sorted(file.name for file in here.glob("*.py"))
        return "\n".join([f"# {path}", "", *(f"- [{name}]({name})" for name in files)])
    text = here.read_text(encoding="utf-8") if path.endswith((".md", ".py")) else ""
    return f"# {path}\n\n````python\n{text}````\n" if path.endswith(".py") else text


def targets(path: str) -> list[str]:
    """What of the repository a page links to."""
    if path.endswith(".py"):
        return []
    folder = path if (ROOT / path).is_dir() else posixpath.dirname(path)
    linked = [posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(text_of(path))]
    return [target for target in linked if (ROOT / target).exists()]


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
    """What does not lie in docs/, or is code."""
    if place(path).endswith(".md"):
        return File.generated(config, place(path), content=text_of(path))
    return File.generated(config, place(path), abs_src_path=str(ROOT / path))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links to files of the repository as they are in the site."""
    del config, files
    here = page.file.src_uri
    origin = "README.md" if here == "index.md" else here if page.file.generated_by else f"docs/{here}"

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), found[1]))
        return posixpath.relpath(place(target), posixpath.dirname(here) or ".")

    return markdown if origin.endswith(".py.md") else LINK.sub(moved, unescaped(markdown))


def unescaped(markdown: str) -> str:
    """The page as mkdocs wants it: in `code` of tables a bar without the backslash that GitHub needs there."""

    def bare(row: re.Match[str]) -> str:
        return re.sub(r"`[^`]+`", lambda code: code[0].replace(r"\|", "|"), row[0])

    return re.sub(r"^\|.*", bare, markdown, flags=re.M)


def reference(module: str) -> str:
    """The page of a module: what it re-exports as `X as X`, or else all that it defines and does not hide.

    Modules that it re-exports have pages of their own.
    """
    path = next(p for p in (ROOT, ROOT / "backends") if (p / module.partition(".")[0]).exists())
    source = path.joinpath(*module.split("."))
    text = (source / "__init__.py" if source.is_dir() else source.with_suffix(".py")).read_text(encoding="utf-8")
    found = re.findall(r"^ *from (\S+) import (\w+) as \2$", text, re.M)
    hidden = [
        f"{origin}.{name}" for origin, name in found if origin == f"{module}.{name}"
    ]  # behind its own file's name
    names = sorted((name for origin, name in found if origin not in (module, f"{module}.{name}")), key=str.lower)
    parts = [f"::: {module}\n    options:\n      members: [{', '.join(names)}]" if names else f"::: {module}"]
    parts += [f"::: {name}\n    options: {{show_root_heading: true, show_root_toc_entry: true}}" for name in hidden]
    return "\n\n".join([f"# {module}", *parts])


class Mended(griffe.Extension):
    """What griffe reads, as it is meant.

    Docstrings are plain text with `code` and indented formulas: what Markdown would take for more is escaped. A class
    is called with what its `__new__` takes or, a NamedTuple, with its fields; a dataclass not with what it takes over
    from those before it and marks with init=False.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Mend the docstring of whatever was read."""
        if obj.docstring:
            obj.docstring.value = escaped(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Mend the signatures of all classes; griffe has made those of dataclasses by then."""
        for made in classes(pkg):
            if "__init__" not in made.members and (parameters := called_with(made)):
                made.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters)))
            init = made.members.get("__init__")
            if not isinstance(init, griffe.Function):
                continue
            for name in [p.name for p in init.parameters]:
                if "init=False" in str(getattr(made.all_members.get(name), "value", "")):
                    del init.parameters[name]


def called_with(made: griffe.Class) -> list[griffe.Parameter]:
    """The parameters of `__new__`, or `cls` and the fields of a NamedTuple; else none."""
    new = made.members.get("__new__")
    if isinstance(new, griffe.Function):
        return list(new.parameters)
    fields = [m for m in made.members.values() if isinstance(m, griffe.Attribute) and m.annotation is not None]
    kind = griffe.ParameterKind.positional_or_keyword
    found = [griffe.Parameter(f.name, annotation=f.annotation, kind=kind, default=f.value) for f in fields]
    is_tuple = "NamedTuple" in map(str, made.bases)
    return [griffe.Parameter("cls", kind=kind), *(p for p in found if "property" not in made[p.name].labels)] * is_tuple


def classes(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    """All classes that are defined in a module, its parts included, or in a class."""
    for member in parent.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from classes(member)


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
