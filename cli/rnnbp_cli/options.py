"""The words of the command line, the same in every command, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any, NoReturn, TypeAlias

import typer

BackendOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--backend", help="numpy, cupy, torch, jax or strict [default: $RNNBP_BACKEND, else numpy]"),
]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="A device of the backend, as `rnnbp backends` lists them.")
]
SeedOption: TypeAlias = Annotated[
    int | None, typer.Option("--seed", min=0, help="Fixes every random draw [default: 0]")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
ThreadsOption: TypeAlias = Annotated[
    int | None, typer.Option("--threads", help="Threads for the CPU's matrix products [default: all cores].")
]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2))


def say(message: str) -> None:
    """A line for the person, on stderr."""
    print(message, file=sys.stderr)


def fail(message: str, code: int = 2) -> NoReturn:
    """One line on stderr, and the exit code."""
    print(f"rnnbp: {message}", file=sys.stderr)
    raise typer.Exit(code)


def set_threads(threads: int | None, *backends: str | None, before: int | None = None) -> int:
    """Fix the number of CPU threads before NumPy loads, and say how many there are: as asked, else `before`, else all.

    The libraries read their environment once, when they are loaded; after that only threadpoolctl can change it.
    `backends` are those that will run: JAX takes all the cores of its process and cannot be told otherwise.
    """
    if threads is not None and "jax" in [name or os.environ.get("RNNBP_BACKEND") for name in backends]:
        fail("--threads has no effect on backend jax, which takes every core it is given: leave it out, or use taskset")
    if threads is not None and threads < 1:
        fail(f"--threads must be at least 1; got {threads}")
    count = threads or before or _environment() or _cores()
    if threads is None and before is None:
        return count  # nothing was asked: the environment stays as it is
    if "numpy" not in sys.modules:
        os.environ.update({name: str(count) for name in _THREAD_VARIABLES})
    elif threads is not None:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            fail("--threads comes too late: NumPy is loaded already; set OMP_NUM_THREADS before it is")
        threadpool_limits(threads)
    return count


def _environment() -> int | None:
    """The number of threads that the environment names, if it names one; OpenMP takes a list, one for each level."""
    words = (os.environ.get(name, "").partition(",")[0].strip() for name in _THREAD_VARIABLES)
    return next((int(word) for word in words if word.isdecimal() and int(word) > 0), None)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
