"""Progress bars, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnbp.training import Progress


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """The bar of a training run: loss (bits per character for text), validation loss, tokens per second, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        smooth: list[float] = []
        valid: list[float] = []

        def report(now: Progress) -> None:
            text = now.setup.source.vocabulary is not None
            scale, unit = (1 / log(2), "bits/char") if text else (1.0, "loss")
            if now.valid_loss is not None:
                valid[:] = [now.valid_loss * scale]
            if now.loss is not None:
                smooth[:] = [0.95 * smooth[0] + 0.05 * now.loss * scale] if smooth else [now.loss * scale]
            parts = [f"{loss:.3f} {unit}" for loss in smooth] + [f"valid {loss:.3f}" for loss in valid]
            speed = bar.tasks[0].speed
            if speed and now.tokens:
                parts.append(f"{speed * now.tokens:,.0f} tokens/s")
            bar.update(task, completed=now.step, total=now.steps, description="  ".join(parts) or "starting")

        yield report
