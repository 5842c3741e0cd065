"""`rnnbp sample`: text from a trained run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rnnbp_cli.options import BackendOption, DeviceOption


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run on text.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with; it is printed first.")] = "",
    length: Annotated[int, typer.Option(help="How many characters to write.")] = 500,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest character, 1 samples as learnt.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random draws.")] = 0,
    backend: BackendOption = None,
    device: DeviceOption = None,
) -> None:
    """Write text with the best weights of a run, to stdout."""
    from rnnbp.training import sample as characters

    stream = characters(run, prompt, length, temperature, seed, backend, device)
    sys.stdout.write(prompt)
    for character in stream:
        sys.stdout.write(character)
        sys.stdout.flush()
    sys.stdout.write("\n")
