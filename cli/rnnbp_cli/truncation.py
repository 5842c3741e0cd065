"""`rnnbp truncation`: what does cutting errors make of the gradient, and what does it save?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnbp_cli.bench import progress_bar
from rnnbp_cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    fail,
    print_json,
    refuse_path,
    set_threads,
    write_file,
)
from rnnbp_cli.tables import show_sections

if TYPE_CHECKING:
    from rnnbp.truncating import Comparison


def truncation(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="NAME:option=value,…")] = "lstm",
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="K,…", help="Windows tbptt:k,k, or full [default: 1,2,4,8,16,full]"),
    ] = None,
    k1: Annotated[int | None, typer.Option("--k1", help="Windows tbptt:K1,k instead [default: k itself]")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND,…",
            help="Others: tbptt:K1,K2, steps:K, decay:L, 1997, gates:NAME+NAME, peepholes; one, several, or again",
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="On a batch of a task: copy, adding … [default: noise]")] = None,
    text: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="On a batch of text, UTF-8.")] = None,
    time_steps: Annotated[int | None, typer.Option(help="Steps T [default: 64, or the data's]")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences B [default: 16, or the data's]")] = None,
    input: Annotated[int | None, typer.Option(help="Input size I [default: 32, or the data's]")] = None,
    hidden: Annotated[int, typer.Option(help="Hidden size H")] = 64,
    layers: Annotated[int, typer.Option(help="Cells on top of each other")] = 1,
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    backend: BackendOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    repeats: Annotated[int, typer.Option(help="Rounds of timing; the minimum is shown.")] = 5,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png|.svg", help="Draw norm ratio and cosine over k.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace a file.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare truncated gradients with the full one, tensor by tensor: norm ratio, cosine, time and memory.

    The weights are freshly drawn. Time is that of a forward and its backward through all windows; memory is what the
    forward of the longest window leaves for its backward, counted.
    """
    if out is not None:
        refuse_path("--out", out, {"PNG": (".png",), "SVG": (".svg",)}, force)
    elif force:
        fail("--force lets --out replace a file; got no --out: leave it out")
    set_threads(threads, backend)
    from rnnbp.backends import backend as find_backend
    from rnnbp.benching.plotting import require_matplotlib
    from rnnbp.truncating import compare_truncations, kinds_of
    from rnnbp.truncating.kinds import split_kinds
    from rnnbp.truncating.plotting import draw

    if out is not None:
        require_matplotlib()
    if k is not None and not k.strip():
        fail("--k takes numbers of steps, or full, with commas between them; got nothing")
    ks = k or ("" if kinds else "1,2,4,8,16,full")
    if k1 is not None and not ks:
        fail("--k1 is of the windows of --k; got no --k: leave it out")
    others = [kind for words in kinds or [] for kind in split_kinds(words)]
    asked = kinds_of([word.strip() for word in ks.split(",")] if ks else [], others, k1)
    with progress_bar() as progress:
        found = compare_truncations(
            cell,
            asked,
            backend=find_backend(backend, device),
            dtype=dtype,
            repeats=repeats,
            progress=progress,
            task=task,
            files=tuple(map(str, text or ())),
            time_steps=time_steps,
            batch=batch,
            input_size=input,
            hidden_size=hidden,
            layers=layers,
            seed=seed or 0,
        )
    if json:
        print_json(found.to_json())
    else:
        show(found)
    if out is not None:
        write_file("plot", out, lambda made: draw(made, found))


def show(found: Comparison) -> None:
    """The table, one section for each kind."""
    from rnnbp.truncating.reports import HEAD

    show_sections(found.title, HEAD, found.table(), found.notes, names=2)
