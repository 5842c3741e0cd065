"""What is to be timed: cells, sizes, backends and the peer, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rnnbp.backends import Backend
from rnnbp.benching.machine import cores
from rnnbp.errors import UserError, unknown

DTYPES = ("float32", "float64")
PEERS = ("torch", "torch-loop", "jax", "none")
PATHS = ("portable",)


class Size(NamedTuple):
    """T time steps, a batch of B, I inputs and H hidden units."""

    time_steps: int
    batch: int
    input_size: int
    hidden_size: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


SIZES = {"small": Size(100, 32, 64, 128), "medium": Size(50, 64, 128, 256), "large": Size(100, 32, 256, 512)}


@dataclass(frozen=True)
class Plan:
    """Every cell at every size on every backend, each against the peer."""

    cells: tuple[str, ...]  # as `rnnbp.cell` takes them
    sizes: tuple[Size, ...]
    backends: tuple[Backend, ...]
    dtype: str = "float32"
    against: str = "none"  # one of PEERS
    path: str | None = None  # one of PATHS: the loop that a faster scan would replace; None is what the backend takes
    threads: int | None = (
        None  # of the CPU: NumPy's were fixed when it was loaded, torch is told; None leaves it as it is
    )
    repeats: int = 10
    memory: bool = True  # peak memory too, each in a process of its own
    seed: int = 0

    def __post_init__(self) -> None:
        for name, given in (("cell", self.cells), ("size", self.sizes), ("backend", self.backends)):
            if not given:
                raise UserError(f"a bench needs at least one {name}; got none")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be {' or '.join(DTYPES)} for timing; got {self.dtype!r}")
        if self.against not in PEERS:
            raise unknown("peer", self.against, PEERS)
        if self.path not in (None, *PATHS):
            raise unknown("path", self.path, PATHS)
        for name, number in (("repeats", self.repeats), ("threads", self.threads)):
            if number is not None and number < 1:
                raise UserError(f"{name} must be at least 1; got {number}")
        for backend in self.backends:
            backend.require_dtype(self.dtype)
            with_jax = "jax" in (backend.name, self.against) and not on_gpu(backend)
            if with_jax and self.threads not in (None, cores()):
                rule = f"jax takes every core of its process, here {cores()}, so the others must too"
                raise UserError(f"{rule}; got {self.threads} threads: time it in a process with as many cores")


def on_gpu(backend: Backend) -> bool:
    """Whether a backend computes on a GPU."""
    return is_gpu(backend.device or backend.devices()[0])


def is_gpu(device: str) -> bool:
    """Whether that is the name of a GPU."""
    return device.lower().startswith(("cuda", "gpu", "rocm"))


def parse_sizes(texts: Iterable[str]) -> tuple[Size, ...]:
    """Sizes as typed: each text is T,B,I,H, or names with commas between them (`small,large`)."""
    found: list[Size] = []
    for text in texts:
        words = [word.strip() for word in text.split(",")]
        if all(word in SIZES for word in words):
            found += [SIZES[word] for word in words]
        elif len(words) == 4 and all(word.isascii() and word.isdigit() and int(word) for word in words):
            found.append(Size(*map(int, words)))
        else:
            rule = f"size must be {', '.join(SIZES)} or T,B,I,H, four whole numbers of at least 1"
            raise UserError(f"{rule}; got {text!r}")
    return tuple(dict.fromkeys(found))


def split_specs(texts: Iterable[str]) -> tuple[str, ...]:
    """Cells as typed, with commas between them: `lstm:peepholes=true,bias=false,gru` is two cells."""
    found: list[str] = []
    for text in texts:
        for word in text.split(","):
            if found and "=" in word and ":" not in word:
                found[-1] += f",{word.strip()}"  # one more option of the cell before it
            else:
                found.append(word.strip())
    return tuple(dict.fromkeys(found))
