"""How long `rnnbp flow RUN` takes for a trained network, page included, and which measurement takes how much of it.

    python benchmarks/flow.py TEXT… [--hidden 256] [--layers 2] [--time-steps 200] [--steps 100] [--rounds 3]

trains a character model on the text, then runs the command in a process of its own, in turn with each number of threads
and with all its default measurements, and writes benchmarks/results/flow.json, as measured, and flow.md, a table. The
time of each measurement is that of the library in one more process, in the order in which the command takes them: what
one has computed the next may use.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
LIMIT = 30.0  # seconds, of the command


def command_seconds(run: Path, time_steps: int, threads: int) -> float:
    """The command with its page, from the start of its process to the end; what fails ends the benchmark."""
    page = run.parent / "page.html"
    words = [sys.executable, "-m", "rnnbp_cli", "flow", str(run), "--time-steps", str(time_steps)]
    words += ["--threads", str(threads), "--report", str(page), "--force"]
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode or not page.is_file():
        sys.exit(f"the command failed: {done.stderr.strip()}")
    return seconds


def measure_seconds(run: Path, time_steps: int) -> dict[str, float]:
    """Of every measurement that fits, in this process."""
    from rnnbp.flow.measures import DEFAULT
    from rnnbp.flow.reports import measure
    from rnnbp.training.trained import run_subject

    subject = run_subject(run, time_steps=time_steps)
    subject.dys  # noqa: B018 (the way forward is none of the first measurement's)
    ticks: list[float] = []
    found = measure([subject], DEFAULT, progress=lambda *_: ticks.append(time.perf_counter()))
    spans = zip(DEFAULT, ticks, ticks[1:], strict=False)
    taken = {name: after - before for name, before, after in spans}
    return {name: taken[name] for name, one in found.found[subject.label].items() if not one.refused}


def in_process(run: Path, time_steps: int) -> dict[str, float]:
    """`measure_seconds` in a process of its own, on one thread."""
    words = [sys.executable, __file__, "--point", json.dumps([str(run), time_steps])]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ | dict.fromkeys(VARIABLES, "1")
    )
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    from rnnbp.benching.machine import described

    width, layers, steps = found["hidden"], found["layers"], found["time_steps"]
    lines = [
        f"# `rnnbp flow`: {layers} × {width} {found['cell']}, T = {steps}, B = 2",
        "",
        f"{described(found['machine'])}. {found['date']}. Command: `{found['command']}`.",
        "",
        f"A character model, trained for {found['steps']} updates. *Seconds*: of the whole command with `--report`, "
        f"from the start of its process; the least of {found['rounds']} rounds, in brackets the others. The default "
        "is one thread.",
        "",
        "| threads | seconds |",
        "|---|---|",
    ]
    for threads, seconds in found["command_seconds"].items():
        least, *others = sorted(seconds)
        lines.append(f"| {threads} | {least:.1f} ({', '.join(f'{s:.1f}' for s in others)}) |")
    lines += [
        "",
        "Of one thread, each measurement after those above it: `lags` makes the gradient by lag, which `gradient` and "
        "`truncation` use.",
        "",
        "| measurement | seconds |",
        "|---|---|",
    ]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in found["measure_seconds"].items()]
    return "\n".join([*lines, f"| all | {sum(found['measure_seconds'].values()):.2f} |"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", nargs="*", type=Path, help="UTF-8 [default: Python's standard library]")
    parser.add_argument("--cell", default="lstm")
    for name, value in (("hidden", 256), ("layers", 2), ("time-steps", 200), ("steps", 100), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--name", default="flow", help="of the files in benchmarks/results, or a path")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        run, time_steps = json.loads(given.point)
        print(json.dumps(measure_seconds(Path(run), time_steps)))
        return
    from rnnbp.benching.machine import machine
    from rnnbp.benching.results import write
    from rnnbp.training import Config, train

    asked = {"files": given.text, "cell": given.cell, "hidden": given.hidden, "layers": given.layers}
    asked |= {"steps": given.steps, "save_every": given.steps, "time_steps": given.time_steps, "clip_norm": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(Config(**asked), run)
        print("trained", file=sys.stderr)
        seconds: dict[int, list[float]] = {threads: [] for threads in given.threads}
        for _ in range(given.rounds):
            for threads, of_threads in seconds.items():
                of_threads.append(command_seconds(run, given.time_steps, threads))
                print(f"{threads} threads: {of_threads[-1]:.1f} s", file=sys.stderr)
        apart = [in_process(run, given.time_steps) for _ in range(given.rounds)]
    words = [word if Path(word) not in given.text else Path(word).name for word in sys.argv[1:]]
    found = {
        "cell": given.cell,
        **{name: getattr(given, name) for name in ("hidden", "layers", "time_steps", "steps", "rounds")},
        "command": shlex.join(["python", "benchmarks/flow.py", *words]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "command_seconds": seconds,
        "measure_seconds": {name: min(one[name] for one in apart) for name in apart[0]},
    }
    write(RESULTS / given.name, found, table(found))
    if min(map(min, seconds.values())) > LIMIT:
        sys.exit(f"the command took more than {LIMIT:g} s")


if __name__ == "__main__":
    main()
