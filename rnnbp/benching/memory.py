"""Peak memory of one forward + backward, in a process of its own: python -m rnnbp.benching.memory {…}."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnnbp.backends import backend
from rnnbp.benching.contenders import BOTH, ours, portable
from rnnbp.benching.peers import PEERS, like_with_like
from rnnbp.benching.plans import Size
from rnnbp.benching.problems import draw
from rnnbp.errors import UserError

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # on Linux


@dataclass(frozen=True)
class Question:
    """What the other process is to run."""

    peer: str | None  # None is our own part
    backend: str
    device: str | None
    cell: str
    size: Size
    dtype: str
    threads: int | None
    seed: int
    path: str | None = None


@cache
def peak_of(question: Question) -> int | None:
    """What one forward + backward needs beyond its parameters, inputs and cotangents; None if nothing can tell."""
    command = [sys.executable, "-m", "rnnbp.benching.memory", json.dumps(asdict(question))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        what = f"peak memory of {question.cell} at {question.size} on {question.backend}"
        raise UserError(f"{what} could not be measured ({why}): free some memory, or leave it out")
    found: int | None = json.loads(done.stdout)
    return found


def measure(question: Question) -> int | None:
    """`peak_of` in this process, after a warm-up of two steps: libraries take their buffers at the first product."""
    on = backend(question.backend, question.device)

    def call_of(size: Size) -> Callable[[], Any]:
        problem = draw(question.cell, size, question.dtype, question.seed)
        if question.peer:
            return PEERS[question.peer].make(problem, on).calls[BOTH]
        return ours(problem, portable(on) if question.path else on).calls[BOTH]

    with like_with_like(question.threads) if question.backend == "torch" else nullcontext():
        on.seconds(call_of(question.size._replace(time_steps=2)))
        call = call_of(question.size)
        on_device = on.peak_bytes(call)
        return on_device if on_device is not None else host_peak_bytes(lambda: on.seconds(call))


def host_peak_bytes(call: Callable[[], Any]) -> int | None:
    """How far this process's resident memory rises during a call.

    Above its present level on Linux, which can forget the peak so far; elsewhere above that peak, so at the least.
    What a compiler freed goes back to the system first, or the call would live in it unseen.
    """
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        RESET.write_text("5")  # proc(5): clear_refs
    before = peak_bytes()
    call()
    after = peak_bytes()
    return None if before is None or after is None else after - before


def peak_bytes() -> int | None:
    """Peak resident memory so far, in bytes."""
    if STATUS.exists():  # on Linux getrusage hands on the peak of the process that started this one
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(measure(Question(**asked | {"size": Size(*asked["size"])}))))
