"""Memory and time of recomputation by segments: one LSTM over long sequences, forward and backward with dX.

    python benchmarks/remat.py [--size B,I,H] [--cell lstm] [--time-steps 100 1000 10000] [--rounds 3] [--threads 2]

writes benchmarks/results/remat.json, as measured, and remat.md, a table. Each point is a process of its own, in float32
on the NumPy backend. xs, the outputs, their errors and dX are there at the same time, as they are in training. The page
docs/memory.md shows the table: python docs/refresh.py memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import rnnbp
from rnnbp.benching.machine import machine
from rnnbp.benching.memory import host_peak_bytes, peak_bytes
from rnnbp.benching.results import write
from rnnbp.blocks import block_steps
from rnnbp.recomputing import segment_steps, segments

RESULTS = Path(__file__).parent / "results"
MIB = 2**20
HEAD = ["T", "asked for", "steps in a segment", "beyond the inputs, MiB", "peak, MiB"]
HEAD += ["seconds", "of all threads", "of the first", "same bits"]


def asked(time_steps: int, batch: int, width: int) -> list[int | None]:
    """No recomputation, and segments around √T, each length once."""
    root = segment_steps("sqrt", time_steps)
    tried = [max(1, root // 2), 2 * root, 4 * root, root]  # of those that are rounded to one length the last
    lengths = {segments(time_steps, k, block_steps(batch, width))[0][1]: k for k in tried}
    return [None, *sorted(lengths.values())]


def measure(cell: str, sizes: tuple[int, int, int, int], remat: int | None) -> dict[str, Any]:
    """One point, in this process: how far its memory rises, its whole peak, seconds, and the bits of the gradients."""
    time_steps, batch, n_in, n = sizes
    rng, made = np.random.default_rng(0), rnnbp.cell(cell, n_in, n)
    params = {name: w.astype("float32") for name, w in made.init(rng).items()}

    def drawn(steps: int, width: int) -> Any:
        return rng.standard_normal((steps, batch, width), dtype="float32")

    def both(xs: Any, dys: Any) -> Any:
        ys, _, backward = rnnbp.scan(made, params, xs, remat=remat)
        found = backward(dys)
        del ys  # there until now, as a loss would need it
        return found

    both(drawn(2, n_in), drawn(2, made.output_size))  # compiled before anything is measured
    xs, dys = drawn(time_steps, n_in), drawn(time_steps, made.output_size)
    bits: Any = None
    seconds: tuple[float, float] = (0.0, 0.0)

    def once() -> None:
        nonlocal bits, seconds
        start = time.perf_counter(), time.process_time()
        dparams, dxs, _ = both(xs, dys)
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        bits = sha256()
        for d in (*dparams.values(), dxs):
            bits.update(d)

    rise, peak = host_peak_bytes(once), peak_bytes()
    once()  # in memory that the system has given already, as every step of a training but the first
    cuts = segments(time_steps, time_steps if remat is None else remat, block_steps(batch, n))
    return {
        "time_steps": time_steps,
        "remat": remat,
        "steps_in_a_segment": None if remat is None or len(cuts) == 1 else cuts[0][1],
        "rise_bytes": rise,
        "peak_bytes": peak,
        "seconds": seconds[0],
        "cpu_seconds": seconds[1],
        "gradients": bits.hexdigest()[:16],
    }


def point(given: argparse.Namespace, time_steps: int, remat: int | None) -> dict[str, Any]:
    """`measure` in a process of its own."""
    question = [given.cell, [time_steps, *map(int, given.size.split(","))], remat]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    threads = dict.fromkeys(names, str(given.threads))
    command = [sys.executable, __file__, "--point", json.dumps(question)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        return {"time_steps": time_steps, "remat": remat, "error": why}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def best(tries: list[dict[str, Any]]) -> dict[str, Any]:
    """One point of several rounds: the first, with the least times and the highest peaks; or the first that failed."""
    failed = next((run for run in tries if "error" in run), None)
    highest = {name: max(run[name] for run in tries) for name in ("rise_bytes", "peak_bytes")} if not failed else {}
    least = {name: min(run[name] for run in tries) for name in ("seconds", "cpu_seconds")} if not failed else {}
    return failed or {**tries[0], **highest, **least, "rounds": len(tries)}


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    told, (batch, n_in, n) = found["machine"], found["size"]
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    lines = [
        f"# Recomputation: {found['cell']}, B = {batch}, I = {n_in}, H = {n}, float32",
        "",
        f"{told['processor']}, {told['cores']} cores, {found['threads']} threads, {told['system']}; Python "
        f"{told['python']}, {versions}; NumPy's BLAS: {told['blas']}. {found['date']}. Command: `{found['command']}`.",
        "",
        "Forward and backward with dX. *Beyond the inputs*: how far the process rises above what it holds with xs and "
        "the errors of the outputs. *Peak*: all of its resident memory. *Seconds*: of the second call in a process. "
        "*Of all threads*: of the processor in that call, then in units of the first row of that T. *Same bits*: all "
        "gradients are, to the bit, those of that first row.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    first: dict[int, dict[str, Any]] = {}
    for run in found["runs"]:
        asked_for = "–" if run["remat"] is None else str(run["remat"])
        if "error" in run:
            rest = [f"not measured: {run['error']}", *["–"] * (len(HEAD) - 4)]
            lines.append(f"| {' | '.join([str(run['time_steps']), asked_for, '–', *rest])} |")
            continue
        whole = first.setdefault(run["time_steps"], run)
        cells = [
            str(run["time_steps"]),
            asked_for,
            str(run["steps_in_a_segment"] or "all"),
            f"{run['rise_bytes'] / MIB:.0f}",
            f"{run['peak_bytes'] / MIB:.0f}",
            f"{run['seconds']:.3g}",
            f"{run['cpu_seconds']:.3g}",
            f"{run['cpu_seconds'] / whole['cpu_seconds']:.2f}",
            "yes" if run["gradients"] == whole["gradients"] else "NO",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--size", default="32,128,256", metavar="B,I,H")
    parser.add_argument("--time-steps", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--rounds", type=int, default=3, help="of all points of a T in turn; the least time is shown")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="remat", help="of the files in benchmarks/results, or a path")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        print(json.dumps(measure(*json.loads(given.point))))
        return
    runs, size = [], list(map(int, given.size.split(",")))
    for time_steps in given.time_steps:
        points = asked(time_steps, size[0], size[2])
        rounds = [[point(given, time_steps, remat) for remat in points] for _ in range(given.rounds)]
        runs += [best(list(tries)) for tries in zip(*rounds, strict=True)]
        print(*runs[-len(points) :], sep="\n", file=sys.stderr)
    words = [sys.executable.rpartition("/")[2], "benchmarks/remat.py", *sys.argv[1:]]
    found = {
        "cell": given.cell,
        "size": size,
        "threads": given.threads,
        "command": shlex.join(words),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "runs": runs,
    }
    write(RESULTS / given.name, found, table(found))
    if any("error" in run for run in runs):
        sys.exit("some points failed: the table says which")


if __name__ == "__main__":
    main()
