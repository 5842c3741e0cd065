"""`rnnbp explain`: the questions of people who ask, each answered by running the library on a small example."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated

import typer

from rnnbp_cli.options import JsonOption, fail, print_json, refuse_page, say, write_page
from rnnbp_cli.tables import PATIENCE, show_sections

if TYPE_CHECKING:
    from rnnbp.explaining import Answer

WIDTH = 100  # of a paragraph, at the most


def explain(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="One by its name; --list has them [default: all]")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Names and questions; nothing is computed.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the answers as one page instead of showing them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --report replace a file.")] = False,
    json: JsonOption = False,
) -> None:
    """A guided tour: what people ask of recurrent backpropagation, answered with numbers computed on the spot.

    In a terminal Enter leads from one answer to the next.
    """
    if listed and (question is not None or report is not None):
        fail(f"--list computes nothing; got {'--report' if question is None else question}: leave one of them out")
    if report is not None:
        refuse_page(report, force)
    elif force:
        fail("--force lets --report replace a file; got no --report: leave it out")

    from rnnbp.explaining import QUESTIONS, html
    from rnnbp.explaining import question as named

    chosen = QUESTIONS if question is None else {question: named(question)}
    if listed:
        show_list(json)
    elif report is None and not json:
        tour([*chosen])
    else:
        answers = [answered(name) for name in chosen]
        if json:
            print_json({"answers": [answer.to_json() for answer in answers]})
        if report is not None:
            write_page(report, html(answers))


def show_list(json: bool) -> None:
    """The questions by name."""
    from rnnbp.explaining import QUESTIONS

    if json:
        print_json({"questions": [{"name": name, "question": one.text} for name, one in QUESTIONS.items()]})
        return
    width = max(map(len, QUESTIONS))
    for name, one in QUESTIONS.items():
        print(f"{name:<{width}}  {one.text}")


def tour(names: Sequence[str]) -> None:
    """The answers one after the other; in a terminal Enter asks for the next."""
    if len(names) > 1:
        show_list(json=False)
    for k, name in enumerate(names):
        if k and sys.stdin.isatty() and sys.stdout.isatty():
            try:
                input("\nEnter: the next question (Ctrl-C: the end) ")
            except EOFError:
                return
        show(answered(name), following=len(names) > 1)


def answered(name: str) -> Answer:
    """The answer; a line on stderr says so where that takes long."""
    from rnnbp.explaining import question

    one = question(name)
    with patience(f"computing: {one.text}"):
        return one.answer()


@contextmanager
def patience(message: str) -> Iterator[None]:
    """A line for the person if what is done takes longer than `PATIENCE`."""
    timer = Timer(PATIENCE, say, (message,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def show(answer: Answer, following: bool) -> None:
    """An answer in the terminal; `following` others, it has a line above."""
    from rich.console import Console
    from rich.markup import escape

    from rnnbp.explaining import Formula, Table

    console = Console(emoji=False, highlight=False)
    console.width = min(console.width, WIDTH)
    if following:
        console.print()
        console.rule()
    console.print(f"[bold]{escape(answer.question)}[/]\n")
    console.print(escape(answer.short), style="bold green")
    for part in answer.parts:
        if isinstance(part, Table):
            show_sections("", part.head, [part.rows], (), names=part.words)
        elif isinstance(part, Formula):
            console.print("\n".join(["", *(f"  {escape(line)}" for line in part.lines)]), style="cyan", soft_wrap=True)
        else:
            console.print("\n" + escape(part))
    console.print("\nTo go on with:")
    for command in answer.commands:
        console.print("  " + escape(command), style="cyan", soft_wrap=True)
    console.print(f"Read on: docs/{escape(answer.page)}")
