"""A report as one page of HTML that needs nothing else, for a reader who knows the chain rule and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from rnnbp.colours import LIGHT
from rnnbp.flow.measures import PICTURES
from rnnbp.flow.measures.found import Panel, Picture
from rnnbp.flow.pictures import inlining
from rnnbp.flow.pictures.glossary import GLOSSARY, LEAD
from rnnbp.flow.pictures.numbers import image_table, lines_table, summary
from rnnbp.flow.pictures.points import left_out
from rnnbp.flow.reports import Report, owner
from rnnbp.pages import Section, document

STYLE = (
    inlining.STYLE
    + """.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em;
  print-color-adjust: exact; }
.seen { padding-left: 0; list-style: none; } figure { margin: 1rem 0; } .note { font-size: .9rem; }
"""
)


def page(report: Report) -> str:
    """What to look at first, every picture with what is seen on it, all numbers, and what could not be measured.

    UserError where matplotlib is missing.
    """
    sections = [Section("reading", "How to read this page", _glossary())]
    for name in report.pictures:
        sections.append(
            Section(inlining.anchor(name), PICTURES[name].title, _picture(report, name) + _notes(report, name))
        )
    if numbers := summary(report):
        sections.append(Section("numbers", "All numbers", numbers))
    if rest := _without_pictures(report):
        sections.append(Section("rest", "Not shown, and why", rest))
    subjects = "".join(f"<li>{_named(report, subject)}{_about(report, subject)}</li>" for subject in report.found)
    intro = f'<p>{LEAD}</p>\n<ul class="seen">{subjects}</ul>'
    return document(report.title or "Where the gradient goes", intro, sections, STYLE)


def _glossary() -> str:
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>\n" for term, meaning in GLOSSARY)
    return f"<dl>\n{terms}</dl>"


def _named(report: Report, subject: str) -> str:
    """A subject's name beside its colour."""
    k = list(report.found).index(owner(subject, report.found)) % len(LIGHT)
    return f'<span class="swatch" style="background: var(--s{k + 1})"></span><strong>{escape(subject)}</strong>'


def _about(report: Report, subject: str) -> str:
    """Where its batch comes from, and its sizes, if the report says so."""
    return f": {escape(report.about[subject])}" if subject in report.about else ""


def _picture(report: Report, name: str) -> str:
    """What is seen, the picture, its formula, and its numbers."""
    what, panels = PICTURES[name], report.panels(name)
    several = len(report.found) > 1 or len(panels) > 1
    seen = "".join(
        f"<li>{_named(report, subject) + ': ' if several else ''}{escape(panel.seen)}</li>\n"
        for subject, panel in panels.items()
    )
    said = " ".join(f"{subject}: {panel.seen}" if several else panel.seen for subject, panel in panels.items())
    missing = left_out(panels.values(), what)
    return (
        f'<ul class="seen">{seen}</ul>\n'
        f"<figure>{inlining.svg(report, name, what.title, said)}"
        + (f"<figcaption>{escape(missing)}</figcaption>" if missing else "")
        + f'</figure>\n<p class="formula"><code>{escape(what.formula)}</code></p>\n'
        f"<details><summary>The numbers of this picture</summary>\n{_tables(panels, what)}</details>\n"
    )


def _tables(panels: Mapping[str, Panel], what: Picture) -> str:
    lined = {subject: panel for subject, panel in panels.items() if panel.lines}
    images = {subject: panel.image for subject, panel in panels.items() if panel.image is not None}
    curves = lines_table(lined, what) if lined else ""
    return curves + "".join(image_table(image, what, subject) for subject, image in images.items())


def _notes(report: Report, picture: str) -> str:
    """What a reader must know of a measurement, under the first of its pictures."""
    said: dict[str, list[str]] = {}
    for subject, one in report.found.items():
        for m in one.values():
            own = {panel.picture for panel in m.panels}
            if next((name for name in report.pictures if name in own), None) == picture:
                for note in m.notes:
                    said.setdefault(note, []).append(subject)
    return "".join(f'<p class="note">{escape(_of(report, who) + note)}</p>\n' for note, who in said.items())


def _of(report: Report, subjects: Sequence[str]) -> str:
    """Whom a sentence is about, if not all."""
    return "" if len(subjects) == len(report.found) else f"{', '.join(subjects)}: "


def _without_pictures(report: Report) -> str:
    """The measurements that a subject has none of, and notes of those that have no picture."""
    said: dict[tuple[str, str], list[str]] = {}
    for subject, one in report.found.items():
        for name, m in one.items():
            for text in [m.refused] if m.refused else [] if m.panels else m.notes:
                said.setdefault((name, text), []).append(subject)
    rows = (
        f"<li><strong>{escape(name)}</strong>: {escape(_of(report, who) + text)}</li>\n"
        for (name, text), who in said.items()
    )
    return f"<ul>{''.join(rows)}</ul>" if said else ""
