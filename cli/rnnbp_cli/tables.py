"""What checks found, as tables in a terminal, and a bar while they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from rnnbp.checking import Report

PATIENCE = 2.0  # seconds without a progress bar
WORD = 6  # characters of a word in a head that are never broken


def show_report(report: Report, *, brief: bool) -> None:
    """The table, what was found beside it, the verdict and the worst entry. `brief`: one line for each cell."""
    from rnnbp.checking.report import BRIEF_HEAD, HEAD

    rows = report.brief_rows if brief else [check.row for check in report.checks]
    console = show_verdicts(report.title, BRIEF_HEAD if brief else HEAD, rows, sections=not brief)
    for finding in report.findings:
        if not brief or not finding.passed or finding.kind == "diagnosis":
            say_all(console, str(finding), good=finding.passed)
    for line in [*report.notes, *report.summary.splitlines()]:
        say_all(console, line, good=report.passed)


def show_verdicts(
    title: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, sections: bool, rigid: bool = False
) -> Console:
    """A table whose rows begin with a cell and end with a verdict; `sections` part the cells.

    `rigid`: no column but that of the cell breaks its lines.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for name in head:
        table.add_column(name, no_wrap=rigid and name != "cell", overflow="fold")
    before = None
    for row in rows:
        *texts, verdict = map(escape, row)
        if sections and before not in (None, row[0]):
            table.add_section()
        before = row[0]
        table.add_row(*texts, f"[{'green' if verdict == 'pass' else 'bold red'}]{verdict}[/]")
    console = Console(emoji=False)  # a spec may look like :emoji: codes
    console.print(table)
    return console


def show_sections(
    title: str,
    head: Sequence[str],
    sections: Iterable[Iterable[Sequence[str]]],
    notes: Iterable[str],
    names: int = 1,
) -> None:
    """A table of numbers in sections, `names` columns of words before them, and notes for its reader below.

    Where there is little room heads are broken, and no number ever: rather than that, lines are longer than the room.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = [list(section) for section in sections]
    console = Console(emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a file or a pipe has no edge to break lines at
    edges = 3 * len(head) - 1  # between columns, and around them
    widths = column_widths(head, [row for section in rows for row in section], console.width - edges)
    console.width = max(console.width, sum(widths) + edges)
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, (name, width) in enumerate(zip(head, widths, strict=True)):
        table.add_column(escape(name), justify="left" if k < names else "right", width=width, overflow="fold")
    for section in rows:
        for row in section:
            table.add_row(*map(escape, row))
        table.add_section()
    console.print(table)
    for line in notes:
        console.print(escape(line), highlight=False, soft_wrap=True)


def column_widths(head: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Wide enough for all that is in a column; beyond `room` heads get less, the widest first, and rows never do."""
    words = [max(map(len, name.split()), default=0) for name in head]
    least = [max([min(word, WORD), *(len(row[k]) for row in rows)]) for k, word in enumerate(words)]
    widths = [max(len(name), least[k]) for k, name in enumerate(head)]
    while sum(widths) > room and widths != least:
        k = max((k for k in range(len(head)) if widths[k] > least[k]), key=lambda k: widths[k])
        widths[k] -= 1
    return widths


def say_all(console: Console, text: str, *, good: bool) -> None:
    """Lines as they are, red where they tell of a failure."""
    from rich.markup import escape

    console.print(escape(text), style=None if good else "red", highlight=False, soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for what takes longer than `PATIENCE`, one for each cell."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True, emoji=False)
    bar = Progress(console=console, transient=True)
    tasks: dict[str, Any] = {}
    begin = time.monotonic()

    def report(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(escape(name), total=total)
        bar.update(tasks[name], completed=done, visible=done < total)
        if time.monotonic() - begin > PATIENCE and console.is_terminal and not bar.live.is_started:
            bar.start()

    try:
        yield report
    finally:
        if bar.live.is_started:
            bar.stop()
