"""`rnnbp convert`: weights from and to torch, Keras, ONNX and our own files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rnnbp_cli.options import JsonOption, fail, print_json, refuse_path, write_file


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file of weights, or the folder of a run.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    from_: Annotated[str | None, typer.Option("--from", help="What IN must be: rnnbp, torch, keras or onnx.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="The same of OUT [default: by its ending; .safetensors is ours]")
    ] = None,
    cell: Annotated[str | None, typer.Option(help="NAME:option=value,… for what IN does not say.")] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="A part of IN, by its path; several from the bottom up.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Of OUT: float32 or float64 [default: as in IN]")] = None,
    states: Annotated[bool, typer.Option("--states", help="A model of ONNX takes initial states.")] = False,
    lengths: Annotated[bool, typer.Option("--lengths", help="A model of ONNX takes the lengths of sequences.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Read the weights of a stack of recurrent layers from one library, and write them for another."""
    from rnnbp.interop.files import ENDINGS, by_ending, check_format, read, receiver, save

    check_format(from_)
    kind = check_format(to) or by_ending(target)
    if not target.name.endswith(ENDINGS[kind]):
        fail(f"weights for {kind} are a file that ends in {ENDINGS[kind]}; got {target}: name another OUT, or --to")
    for option, said in (("--states", states), ("--lengths", lengths)):
        if said and kind != "onnx":
            fail(f"{option} is about a model of ONNX; got OUT {target}: leave it out, or name one that ends in .onnx")
    refuse_path("OUT", target, {f"weights for {kind}": (target.suffix,)}, force)
    found = read(source, from_, cell, layer or [])
    more: dict[str, Any] = {name: True for name, said in (("states", states), ("lengths", lengths)) if said}
    more |= {"cells": found.cells} if kind == "rnnbp" else {}
    told = _told(found, kind) | {
        "in": str(source),
        "out": str(target),
        "receiver": receiver(found.stack, found.params, kind),
    }
    write_file("weights", target, lambda path: save(path, found.stack, found.params, kind, dtype, **more))
    if json:
        print_json(told)
        return
    for line in _lines(told):
        print(line)


def _told(found: Any, kind: str) -> dict[str, Any]:
    """What was converted, in plain values."""
    cells = [
        {"cell": prefix[:-1], "spec": found.cells[prefix], "input": cell.input_size, "hidden": cell.hidden_size}
        for prefix, cell in found.stack.cells
    ]
    count = sum(a.size for a in found.params.values())
    return {"from": found.source, "to": kind, "cells": cells, "count": count, "left_out": found.left_out}


def _lines(told: dict[str, Any]) -> list[str]:
    """The same for a person."""
    cells = [f"{c['cell']}: {c['spec']}, {c['input']} inputs, {c['hidden']} units" for c in told["cells"]]
    lines = [f"{told['from']} to {told['to']}, {told['count']:,} parameters", *cells]
    lines += [f"left out: {', '.join(told['left_out'])}"] if told["left_out"] else []
    return lines + ([f"load it into {told['receiver']}"] if told["receiver"] else [])
