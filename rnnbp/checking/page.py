"""A report as one page of HTML that needs nothing else: no network, no script."""

from __future__ import annotations

from html import escape

from rnnbp.checking.report import HEAD, Check, Report
from rnnbp.pages import Section, document, table

STYLE = """
:root { --good: #1a7f37; --bad: #cf222e; }
@media screen and (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; } }
body { max-width: 62rem; } section { overflow-x: auto; } pre { line-height: 1.3; }
th, td { text-align: left; }
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
        sections.append(Section(kind, kind.replace("_", " ").capitalize(), pieces))
    sections.append(Section("tensors", "Tensors", _table(report.checks)))
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    intro = f'<p class="banner {verdict}">{escape(report.summary)}</p>{notes}'
    return document(report.title, intro, sections, STYLE)


def _table(checks: tuple[Check, ...]) -> str:
    rows = []
    for check in checks:
        worst = max(check.blocks, key=lambda name: check.blocks[name], default="")
        rows.append((*check.row, f"{worst} {check.blocks[worst]:.1e}" if worst else ""))
    classes = ["" if check.passed else "fail" for check in checks]
    return table((*HEAD, "worst gate"), rows, "Every tensor", classes)
