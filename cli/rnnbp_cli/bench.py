"""`rnnbp bench`: how fast is a cell on a backend, beside a peer?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnbp_cli.options import (
    DeviceOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    fail,
    keep_cores,
    print_json,
    refuse_path,
    set_threads,
    write_file,
)
from rnnbp_cli.tables import show_sections

if TYPE_CHECKING:
    from rnnbp.benching import Report


def bench(
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,…", help="One or several [default: $RNNBP_BACKEND, else numpy]"),
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(metavar="CELL,…", help="NAME:option=value,… one or several [default: lstm]")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIZE",
            help="T,B,I,H or small (100,32,64,128), medium (50,64,128,256), large (100,32,256,512); "
            "give it again for more [default: small]",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    device: DeviceOption = None,
    against: Annotated[
        str,
        typer.Option(
            help="The peer timed in turn: torch (torch.nn.LSTM, GRU, RNN), torch-loop (a module that loops in Python, "
            "for any cell), jax (jax.lax.scan under jit: lstm, gru, rnn) or none."
        ),
    ] = "none",
    path: Annotated[
        str | None,
        typer.Option(help="portable: the plain loop, where the backend has a faster path [default: what it takes]"),
    ] = None,
    threads: ThreadsOption = None,
    repeats: Annotated[int, typer.Option(help="Rounds; the minimum and the median of them are shown.")] = 10,
    memory: Annotated[bool, typer.Option(help="Measure peak memory, each in a process of its own.")] = True,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|.svg", help="Draw GFLOP/s over size, for each who was timed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --plot replace a file.")] = False,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> None:
    """Time forward and forward + backward of cells on backends, after checking that the peer computes the same.

    Each is timed in turn with the peer and with a large matrix product, which shows what the machine can do. GFLOP/s
    count products only: forward 2·T·B·(I+R)·G·H, backward twice that, with R units fed back and G gates.
    """
    typed = [name.strip() for words in backend or [] for name in words.split(",")]
    if "" in typed:
        fail(f"--backend takes names with commas between them; got {','.join(backend or [])!r}")
    names: list[str | None] = [*typed] or [None]
    if plot is not None:
        refuse_path("--plot", plot, {"PNG": (".png",), "SVG": (".svg",)}, force)
    elif force:
        fail("--force lets --plot replace a file; got no --plot: leave it out")
    count = set_threads(threads, *names)
    if against == "jax":
        keep_cores(count)
    from rnnbp.backends import backend as find_backend
    from rnnbp.benching import Mismatch, Plan, parse_sizes, split_specs
    from rnnbp.benching import bench as run_bench
    from rnnbp.benching.plotting import draw, panels_of, require_matplotlib, title_of

    if plot is not None:
        require_matplotlib()
    plan = Plan(
        cells=split_specs(cell or ["lstm"]),
        sizes=parse_sizes(size or ["small"]),
        backends=tuple(dict.fromkeys(find_backend(name, device) for name in names)),
        dtype=dtype,
        against=against,
        path=path,
        threads=count,
        repeats=repeats,
        memory=memory,
        seed=seed or 0,
    )
    try:
        with progress_bar() as progress:
            report = run_bench(plan, progress)
    except Mismatch as error:
        fail(str(error), code=1)
    if json:
        print_json(report.to_json())
    else:
        show(report)
    if plot is not None:
        write_file("plot", plot, lambda made: draw(made, title_of(report), panels_of(report)))


def show(report: Report) -> None:
    """The table, and what its reader must know."""
    from rnnbp.benching.reports import HEAD

    show_sections(report.title, HEAD, [case.rows() for case in report.cases], report.notes)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """One bar on stderr for all rounds of all cases."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, emoji=False)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def report(what: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=escape(what))

        yield report
