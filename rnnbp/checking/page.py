"""A report as one page of HTML that needs nothing else: no network, no script."""

from __future__ import annotations

from html import escape

from rnnbp.checking.report import HEAD, Check, Report

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); }
pre { white-space: pre-wrap; padding: .6rem .8rem; border: 1px solid var(--line); line-height: 1.3; }
section > div, section { overflow-x: auto; } svg { max-width: 100%; height: auto; }
.pass { color: var(--good); } .fail { color: var(--bad); font-weight: 600; }
.banner { padding: .6rem .8rem; border-left: 5px solid currentColor; white-space: pre-wrap; }
"""
# the findings in the order in which a reader asks for them
ORDER: tuple[str, ...] = ("diagnosis", "cause", "by_step", "by_time", "lags", "truncation", "taylor", "hessian")
ORDER += ("remark", "kinks", "properties")


def page(report: Report) -> str:
    """The verdict, what is wrong, every table and picture, every tensor."""
    verdict = "pass" if report.passed else "fail"
    ranks = {kind: rank for rank, kind in enumerate(ORDER)}
    findings = sorted(report.findings, key=lambda finding: ranks.get(finding.kind, len(ORDER)))
    sections = []
    for kind in dict.fromkeys(finding.kind for finding in findings):
        pieces = "".join(f"<div>{finding.to_html()}</div>" for finding in findings if finding.kind == kind)
        sections.append(
            f'<section id="{escape(kind)}"><h2>{escape(kind.replace("_", " ").capitalize())}</h2>{pieces}</section>'
        )
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="banner {verdict}">{escape(report.summary)}</p>',
        notes,
        *sections,
        f'<section id="tensors"><h2>Tensors</h2>{_table(report.checks)}</section>',
    ]
    head = f'<meta charset="utf-8"><title>{escape(report.title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _table(checks: tuple[Check, ...]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in (*HEAD, "worst gate"))
    rows = []
    for check in checks:
        worst = max(check.blocks, key=lambda name: check.blocks[name], default="")
        gate = f"{worst} {check.blocks[worst]:.1e}" if worst else ""
        cells = "".join(f"<td>{escape(text)}</td>" for text in (*check.row, gate))
        rows.append(f'<tr class="{"" if check.passed else "fail"}">{cells}</tr>')
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"
