"""The words of the command line, the same in every command, and how results are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
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
    int | None, typer.Option("--threads", help="Threads of the CPU, for BLAS and compiled loops [default: all cores].")
]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_NUMBA_VARIABLE = "NUMBA_NUM_THREADS"


def refuse_path(option: str, path: Path, endings: dict[str, tuple[str, ...]], force: bool) -> None:
    """A file goes into a folder that takes files, replaces nothing unasked, and nothing that is no plain file.

    `endings` are what the option writes, in words, and the endings of such files.
    """
    if path.suffix not in [ending for group in endings.values() for ending in group]:
        names = " or ".join(group[0] for group in endings.values())
        fail(f"{option} writes {' or '.join(endings)}; got {path}: name a file that ends in {names}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        todo = "name another" if path.parent.exists() else "make it, or name another"
        fail(f"{option} needs a folder that can be written to; got {path.parent}: {todo}")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        fail(f"{option} replaces plain files only; {path} is none: name another")
    if path.exists() and not force:
        fail(f"{option} replaces no file; {path} is there: name another, or say --force")


def write_file(what: str, path: Path, write: Callable[[Path], object]) -> None:
    """`write` makes a file, whole or not at all; where it is gets told."""
    put_file(path, write)
    say(f"{what} {path}")


def put_file(path: Path, write: Callable[[Path], object]) -> None:
    """`write` makes a file, whole or not at all."""
    with NamedTemporaryFile(dir=path.parent, suffix=f".part{path.suffix}", delete=False) as beside:
        made = Path(beside.name)
    try:
        write(made)
        made.chmod(0o644)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def refuse_page(path: Path, force: bool) -> None:
    """What `--report` names is a file that a page can be written to."""
    refuse_path("--report", path, {"HTML": (".html", ".htm")}, force)


def write_page(path: Path, page: str) -> None:
    """The page that `--report` asks for."""
    write_file("report", path, lambda made: made.write_text(page, encoding="utf-8"))


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
    early = "numpy" not in sys.modules
    if threads is None and before is None:
        if early and _environment():
            os.environ.setdefault(_NUMBA_VARIABLE, str(count))  # it takes all cores where the others were told fewer
        return count  # nothing was asked: the rest of the environment stays as it is
    if early:
        os.environ.update({name: str(count) for name in (*_THREAD_VARIABLES, _NUMBA_VARIABLE)})
    elif threads is not None:
        _set_late(threads)
    return count


def _set_late(threads: int) -> None:
    """What can still be done where libraries are loaded; later ones, and other processes, read the variables."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        fail("--threads comes too late: NumPy is loaded already; set OMP_NUM_THREADS before it is")
    threadpool_limits(threads)
    os.environ.update({name: str(threads) for name in _THREAD_VARIABLES})
    numba = sys.modules.get("numba")
    if numba is None:
        os.environ[_NUMBA_VARIABLE] = str(threads)
    elif threads <= numba.config.NUMBA_NUM_THREADS:
        numba.set_num_threads(threads)
    else:
        fail(f"--threads comes too late: Numba is loaded already, for {numba.config.NUMBA_NUM_THREADS}; got {threads}")


def keep_cores(count: int) -> None:
    """Leave this process so many of its cores: the one way to tell JAX, if it comes before anything is loaded.

    Where it cannot be done the process stays as it is; who compares must then refuse.
    """
    if "numpy" not in sys.modules and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _environment() -> int | None:
    """The number of threads that the environment names, if it names one; OpenMP takes a list, one for each level."""
    words = (os.environ.get(name, "").partition(",")[0].strip() for name in _THREAD_VARIABLES)
    return next((int(word) for word in words if word.isdecimal() and int(word) > 0), None)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
