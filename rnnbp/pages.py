"""A page of HTML that needs nothing else: no network, no script, no mouse; light and dark, on a screen or on paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from rnnbp.colours import DARK, FAINT, INK, LIGHT, LINK, PAPER

# what a browser may load and run for the page: nothing but what is in it
ALONE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


class Section(NamedTuple):
    """A part of a page that the contents lead to; `name` is its id, `body` its HTML."""

    name: str
    heading: str
    body: str


def document(title: str, intro: str, sections: Sequence[Section], style: str = "") -> str:
    """The whole page: the title, what stands above the contents (HTML), the contents, the sections in order.

    style: rules of CSS that this page adds; they may use the variables --ink, --faint, --paper and --s1 … --s7.
    """
    links = "".join(f'<li><a href="#{escape(s.name)}">{escape(s.heading)}</a></li>' for s in sections)
    parts = "".join(
        f'<section id="{escape(s.name)}"><h2>{escape(s.heading)}</h2>\n{s.body}</section>\n' for s in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>\n'
        f"<style>{_variables()}{STYLE}{style}</style></head>\n<body>"
        '<a class="skip" href="#main">Skip to the results</a>\n'
        f"<header><h1>{escape(title)}</h1>\n{intro}</header>\n"
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{links}</ol></nav>\n'
        f'<main id="main">\n{parts}</main></body></html>\n'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], label: str, classes: Sequence[str] = ()) -> str:
    """A table whose first column heads its rows; the arrow keys move it where it is wider than the page.

    classes: one of CSS for each row.
    """
    first = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    kinds = (f' class="{escape(kind)}"' if kind else "" for kind in classes or [""] * len(rows))
    lines = (
        f'<tr{kind}><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(text)}</td>" for text in row[1:])}</tr>'
        for row, kind in zip(rows, kinds, strict=True)
    )
    box = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">'
    return f"{box}<table><thead><tr>{first}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>\n"


def _variables() -> str:
    """The colours as variables of CSS, with those of a dark screen where the reader asks for one."""

    def rules(theme: str, subjects: Sequence[str]) -> str:
        named = {"ink": INK, "faint": FAINT, "paper": PAPER, "link": LINK}
        found = {name: colours[theme] for name, colours in named.items()}
        found |= {f"s{k + 1}": colour for k, colour in enumerate(subjects)}
        return ":root {" + "".join(f"--{name}:{colour};" for name, colour in found.items()) + "}"

    dark = f"@media screen and (prefers-color-scheme: dark) {{{rules('dark', DARK)}}}"
    return f"\n:root {{ color-scheme: light dark; }}\n{rules('light', LIGHT)}\n{dark}\n"


STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.5rem; line-height: 1.3; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
a { color: var(--link); } nav li { margin: .15rem 0; } nav h2 { font-size: 1rem; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
code { overflow-wrap: anywhere; } pre { white-space: pre-wrap; }
.formula { border-left: 3px solid var(--faint); padding-left: .7rem; margin: .6rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .2rem 0 .2rem 1rem; border-bottom: 1px solid var(--faint); vertical-align: top; }
th { font-weight: 600; } th:first-child { text-align: left; padding-left: 0; } td { white-space: nowrap; }
summary { cursor: pointer; } dt { font-weight: 600; margin-top: .6rem; } dd { margin-left: 1rem; }
svg, img { max-width: 100%; height: auto; }
@media print { :root { color-scheme: light; } body { max-width: none; margin: 0; font-size: 10pt; }
  nav, .skip { display: none; } figure, tr, .whole { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""
