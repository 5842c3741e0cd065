"""Progress on stderr: a bar in a terminal, a line for each validation elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import log
from typing import TYPE_CHECKING

from rnnbp_cli.options import say

if TYPE_CHECKING:
    from rnnbp.training import Progress


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """The bar of a training run: loss (bits per character for text), validation loss, tokens per second, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True)
    shown = bar.add_task("starting", total=None)
    losses: dict[str, float] = {}

    def report(now: Progress) -> None:
        text = now.setup.source.vocabulary is not None
        scale, unit = (1 / log(2), " bits/char") if text else (1.0, "")
        if now.loss is not None:
            loss = now.loss * scale
            losses["loss"] = 0.95 * losses.get("loss", loss) + 0.05 * loss
        if now.valid_loss is not None:
            losses["valid"] = now.valid_loss * scale
        words = [f"{name} {loss:.3f}{unit}" for name, loss in losses.items()]
        if console.is_terminal:
            bar.start()
            speed = bar.tasks[0].speed
            rate = [f"{speed * now.tokens:,.0f} tokens/s"] if speed and now.tokens else []
            bar.update(shown, completed=now.step, total=now.steps, description="  ".join(words + rate) or "resuming")
        elif now.valid_loss is not None:
            say(f"step {now.step}/{now.steps}  {'  '.join(words)}")

    try:
        yield report
    finally:
        if console.is_terminal:
            bar.stop()
