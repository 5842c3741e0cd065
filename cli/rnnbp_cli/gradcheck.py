"""`rnnbp gradcheck`: is the backward the derivative of the forward?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rnnbp_cli.options import (
    BackendOption,
    DeviceOption,
    JsonOption,
    SeedOption,
    fail,
    print_json,
    refuse_page,
    say,
    write_page,
)
from rnnbp_cli.tables import progress_bar, show_report

# what is checked -> the words that it takes beside --backend, --device, --seed and --json
SCOPE = {"method", "dtype", "truncation", "extent", "directions", "memory", "time-steps", "batch", "input", "hidden"}
SCOPE |= {"against", "details", "report", "force"}
TAKES = {
    "cells": SCOPE | {"cells", "all", "cotangents", "lags", "path"},
    "--task": SCOPE | {"cells", "all", "task", "layers"},
    "--procedure": {"cells", "task", "procedure", "method", "hidden"},
    "--self-test": {"self-test"},
}


def gradcheck(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="CELL", help="NAME:option=value,… (default: every built-in cell)"),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Every built-in cell and every plugin's.")] = False,
    task: Annotated[
        str | None, typer.Option(help="Check the model that learns this task, with its data and its loss: four-steps …")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Cells on top of each other, with --task [default: 1]")] = None,
    procedure: Annotated[
        str | None,
        typer.Option(help="With --task: how people perturb weights over time: scalar, per-step, one-step or all."),
    ] = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Check the checker: planted faults must be found and named.")
    ] = False,
    backend: BackendOption = None,
    device: DeviceOption = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of the backward: float64 or float32; the reference is in double precision [default: float64]"
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="complex-step or tangent (exact to rounding), directional, five-point or central (differences), "
            "autodiff (torch's or JAX's), symbolic (of the traced forward), rtrl, taylor or hessian "
            "[default: complex-step]"
        ),
    ] = None,
    extent: Annotated[
        str | None,
        typer.Option(help="exhaustive, directional, or auto: directional beyond 2000 scalars [default: auto]"),
    ] = None,
    directions: Annotated[int | None, typer.Option(help="Random directions for each gate block [default: 3]")] = None,
    cotangents: Annotated[
        str | None,
        typer.Option(
            help="Where errors come in: all, last (output), state (last states), every in turn [default: all]"
        ),
    ] = None,
    truncation: Annotated[
        str | None,
        typer.Option(
            help="full, tbptt:K1,K2, steps:K, decay:L, 1997, gates:NAME+NAME or peepholes: checked for what it claims "
            "[default: full]"
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="What a truncated backward is held to: claim, or full: the whole gradient [default: claim]"),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(help="The scan: reference (portable), fast (the backend's own) or both [default: both]"),
    ] = None,
    lags: Annotated[bool, typer.Option("--lags", help="Show dL_t/dW_s for every step t and s.")] = False,
    time_steps: Annotated[int | None, typer.Option(help="Steps T [default: 5, or the task's]")] = None,
    batch: Annotated[int | None, typer.Option(help="Sequences B [default: 3, or the task's]")] = None,
    input: Annotated[int | None, typer.Option(help="Input size I [default: 4, or the task's]")] = None,
    hidden: Annotated[int | None, typer.Option(help="Hidden size H [default: 6]")] = None,
    memory: Annotated[int | None, typer.Option(min=1, help="MiB that perturbed copies may take [default: 64]")] = None,
    seed: SeedOption = None,
    details: Annotated[bool, typer.Option("--details", help="Every tensor, where there are several cells.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the report as one page that needs nothing else.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --report replace a file.")] = False,
    json: JsonOption = False,
) -> None:
    """Check every gradient that a cell's backward gives: parameters, inputs, initial states. Exit 0 pass, 1 fail."""
    named: dict[str, Any] = {
        "cells": cells,
        "all": all,
        "task": task,
        "layers": layers,
        "procedure": procedure,
        "self-test": self_test,
    }
    named |= {"dtype": dtype, "method": method, "extent": extent, "directions": directions, "cotangents": cotangents}
    named |= {"truncation": truncation, "against": against, "path": path, "lags": lags, "time-steps": time_steps}
    named |= {"batch": batch, "input": input, "hidden": hidden, "memory": memory}
    named |= {"details": details, "report": report, "force": force}
    words: dict[str, Any] = {word: value for word, value in named.items() if value is not None and value is not False}
    kind = "--self-test" if self_test else "--procedure" if procedure else "--task" if task else "cells"
    refuse(words, kind, json)
    if report is not None:
        refuse_page(report, force)
    if memory is not None:
        words["memory"] = memory * 2**20

    from rnnbp.backends import backend as find_backend

    chosen = find_backend(backend, device)
    with progress_bar() as progress:
        found = {"--self-test": test_itself, "--procedure": show_procedures}.get(kind, check)(
            words, chosen, seed or 0, progress
        )
    if json:
        print_json(found.to_json())
    elif hasattr(found, "checks"):
        show_report(found, brief=len({check.cell for check in found.checks}) > 1 and not details)
    else:
        print(found)
    if report is not None:
        write_page(report, found.to_html())
    raise typer.Exit(0 if found.passed else 1)


def refuse(words: dict[str, Any], kind: str, json: bool) -> None:
    """What is given must be taken."""
    if "all" in words and "cells" in words:
        fail("--all checks every cell; got cells by name too: leave one of them out")
    if kind == "--procedure" and "task" not in words:
        fail("--procedure shows the model of a task; got no task: say --task four-steps")
    if "details" in words and json:
        fail("--details is for the table; --json has every tensor: leave one of them out")
    if "force" in words and "report" not in words:
        fail("--force lets --report replace a file; got no --report: leave it out")
    for word in words:
        if word not in TAKES[kind]:
            what = "a check of cells" if kind == "cells" else kind
            given = "cells by name" if word == "cells" else f"--{word}"
            fail(f"{what} does not take {given}: leave it out" + (", or say --task" if word == "layers" else ""))


def check(words: dict[str, Any], backend: Any, seed: int, progress: Any) -> Any:
    """The report of cells, or of the models of a task."""
    from rnnbp.checking import all_specs, builtin_specs, check_cells
    from rnnbp.checking.catalogue import suited

    renamed = {"time-steps": "time_steps", "input": "input_size", "hidden": "hidden_size"}
    own = {"cells", "all", "details", "report", "force"}
    options = {renamed.get(word, word): value for word, value in words.items() if word not in own}
    everything = "all" in words
    specs = words.get("cells")
    if not specs:
        every, asked = all_specs() if everything else builtin_specs(), ("method", "truncation")
        specs, left_out = suited(every, **{word: options[word] for word in asked if word in options})
        for why in left_out:
            say(f"left out: {why}")
    return check_cells(specs, tolerant=everything, backend=backend, seed=seed, progress=progress, **options)


def test_itself(words: dict[str, Any], backend: Any, seed: int, progress: Any) -> Any:
    """The self-test of the checker."""
    del words
    from rnnbp.checking.selftest import self_test

    return self_test(backend=backend, seed=seed, progress=progress)


def show_procedures(words: dict[str, Any], backend: Any, seed: int, progress: Any) -> Any:
    """The procedures for numeric gradients over time."""
    del progress
    from rnnbp.checking.procedures import compare_procedures

    cells = words.get("cells", ["lstm"])
    if len(cells) > 1:
        fail(f"--procedure shows one cell; got {', '.join(cells)}")
    options = {"hidden_size": words["hidden"]} if "hidden" in words else {}
    options |= {"method": words["method"]} if "method" in words else {}
    return compare_procedures(
        words["task"], cells[0], procedure=words["procedure"], backend=backend, seed=seed, **options
    )
