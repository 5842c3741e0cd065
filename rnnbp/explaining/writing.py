"""Answers as Markdown, for the docs, and as one page of HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from textwrap import fill

from rnnbp.explaining.answers import Answer, Formula, Part, Table
from rnnbp.pages import Section, document, table

TITLE = "Questions that people ask, answered by numbers"
WIDTH = 120  # of a line of Markdown
STYLE = """pre { overflow-x: auto; white-space: pre; } .short { font-weight: 600; }
.words td { text-align: left; } .words td:last-child { text-align: right; }
"""


def markdown(answers: Sequence[Answer]) -> str:
    """A section for each answer; pages are linked as from within docs/."""
    return "\n\n".join(map(_section, answers))


def html(answers: Sequence[Answer]) -> str:
    """A page that needs nothing else: no network, no script."""
    intro = (
        "<p>Every number here was computed when this page was written, by running the library on small examples.</p>"
    )
    return document(TITLE, intro, [Section(a.name, a.question, _body(a)) for a in answers], STYLE)


def _section(answer: Answer) -> str:
    commands = "\n".join(answer.commands)
    page = f"Read on: [docs/{answer.page}]({answer.page})."
    parts = [f"## {answer.question}", _wrapped(f"**{answer.short}**"), *map(_as_markdown, answer.parts)]
    return "\n\n".join([*parts, f"To go on with:\n\n```\n{commands}\n```", page])


def _as_markdown(part: Part) -> str:
    if isinstance(part, str):
        return _wrapped(part)
    if isinstance(part, Formula):
        return "\n".join(["```text", *part.lines, "```"])
    rules = tuple(":---" if k < part.words else "---:" for k in range(len(part.head)))
    rows = (" | ".join(text.replace("|", r"\|") for text in row) for row in (part.head, rules, *part.rows))
    return "\n".join(f"| {row} |" for row in rows)


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _body(answer: Answer) -> str:
    parts = "".join(_as_html(part, answer.question) for part in answer.parts)
    commands = escape("\n".join(answer.commands))
    return (
        f'<p class="short">{_inline(answer.short)}</p>\n{parts}<h3>To go on with</h3>\n{_pre(commands, "commands")}'
        f"<p>Read on: docs/{escape(answer.page)}</p>\n"
    )


def _as_html(part: Part, question: str) -> str:
    if isinstance(part, str):
        return f"<p>{_inline(part)}</p>\n"
    if isinstance(part, Formula):
        return _pre(escape("\n".join(part.lines)), "equations", "formula")
    made = table(part.head, part.rows, question)
    return f'<div class="words">{made}</div>\n' if isinstance(part, Table) and part.words > 1 else made


def _pre(text: str, label: str, kind: str = "") -> str:
    """Lines as they are; the arrow keys move them where they are wider than the page."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<pre{of_kind} tabindex="0" role="region" aria-label="{label}">{text}</pre>\n'


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
