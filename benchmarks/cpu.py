"""Speed on a CPU, against torch.nn, jax.lax.scan and a torch module that loops in Python: `rnnbp bench`, many times.

    python benchmarks/cpu.py [--part torch jax loop portable] [--threads 1 2] [--repeats 6] [--size T,B,I,H …]

writes benchmarks/results/cpu.json, as measured, cpu.md, a table of every point beside its target, and cpu.png. Each
part, size and number of threads is a process of its own; what was measured before of other ones stays in the file.
About 17 minutes on two cores: 7 for the part torch and 3 to 4 for each other one. Peak memory is measured in the part
torch, with the largest number of threads. The page docs/speed.md shows the tables: python docs/refresh.py speed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cpu_tables import panels, table

from rnnbp.benching import parse_sizes
from rnnbp.benching.plotting import draw
from rnnbp.errors import UserError
from rnnbp.registry import CELLS

RESULTS = Path(__file__).parent / "results"
PLUGIN = Path(__file__).parent.parent / "plugins" / "rnnbp-mgu"
SIZES = ["200,1,32,64", "100,8,64,128", "100,32,64,128", "28,128,28,128", "50,64,128,256", "100,32,256,512"]
SIZES += ["64,64,512,1024"]
LARGE = 1024  # H from which on a round takes seconds, and half the rounds are made


@dataclass(frozen=True)
class Part:
    """One peer, and what is timed against it."""

    cells: tuple[str, ...]
    against: str
    environment: tuple[tuple[str, str], ...] = ()
    least_batch: int = 1
    rounds: float = 0.5  # of --repeats


PLAIN = ("lstm", "gru", "rnn")
PARTS = {
    "torch": Part(PLAIN, "torch", rounds=1.0),
    "jax": Part(PLAIN, "jax"),
    "loop": Part(("lstm:peepholes=true", "mgu"), "torch-loop"),
    "portable": Part(PLAIN, "torch", (("NUMBA_DISABLE_JIT", "1"),), least_batch=32),  # what runs without numba
}


def plugin(scratch: Path) -> tuple[dict[str, str], str]:
    """The environment in which the MGU is found though nothing is installed, or why it is not."""
    if "mgu" in CELLS:
        return {}, ""
    if not (PLUGIN / "pyproject.toml").exists():
        return {}, "the plugin rnnbp-mgu is neither installed nor in plugins/"
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = (
        scratch / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    )  # what an installer would write
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    named = {f"[{group}]": targets for group, targets in project["entry-points"].items()}
    lines = [line for group, targets in named.items() for line in (group, *(f"{k} = {v}" for k, v in targets.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    paths = [str(scratch), str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}, ""


def measure(part: Part, size: str, threads: int, repeats: int, memory: bool, extra: dict[str, str]) -> dict[str, Any]:
    """What one command prints, or the one line with which it fails."""
    words = ["bench", "--backend", "numpy", "--cell", ",".join(part.cells), "--size", size, "--dtype", "float32"]
    words += ["--against", part.against, "--threads", str(threads), "--repeats", str(repeats), "--json"]
    words += ["--memory" if memory else "--no-memory"]
    command = [sys.executable, "-m", "rnnbp_cli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | extra | dict(part.environment)
    )
    told = {"command": shlex.join([*map("=".join, part.environment), "rnnbp", *words]), "threads": threads}
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        return {**told, "error": why, "cells": list(part.cells)}
    return {**json.loads(done.stdout), **told}


def rounds(part: Part, size: str, repeats: int) -> int:
    """How often a size is timed: at least three times, unless fewer are asked for."""
    large = int(size.split(",")[3]) >= LARGE
    return max(min(3, repeats), round(repeats * part.rounds * (0.5 if large else 1.0)))


def write(path: Path, runs: list[dict[str, Any]]) -> None:
    """The numbers, a line for each run, and their tables."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in runs)
    path.with_suffix(".json").write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")
    path.with_suffix(".md").write_text(table(runs), encoding="utf-8")


def say(run: dict[str, Any], number: int, total: int, seconds: float) -> None:
    """A line on stderr: what was measured just now."""
    count = f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}"
    speeds = [f"{r['cell']} {r['speed_in_peers']['forward_backward']:.2f}" for r in run.get("results", [])]
    told = run.get("error") or ", ".join(speeds)
    print(f"[{number}/{total}] {run['part']}, {count}, {run['size']}: {told}  ({seconds:.0f} s)", file=sys.stderr)


def merged(old: list[dict[str, Any]], run: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs with a new one in the place of the one before it, by part, threads and size."""

    def key(run: dict[str, Any]) -> tuple[int, int, int]:
        steps, batch, n_in, n = map(int, run["size"].split(","))
        return list(PARTS).index(run["part"]), run["threads"], steps * batch * (n_in + n) * n

    def same(other: dict[str, Any]) -> bool:
        return all(other[name] == run[name] for name in ("part", "threads", "size"))

    return sorted([*(other for other in old if not same(other)), run], key=key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=6, help="rounds of the part torch, half as many of the others")
    parser.add_argument("--size", nargs="+", default=SIZES, metavar="T,B,I,H")
    parser.add_argument("--name", default="cpu", help="of the files in benchmarks/results, or a path")
    given = parser.parse_args()
    try:
        sizes = [str(size) for size in parse_sizes(given.size)]
    except UserError as error:
        parser.error(str(error))
    path = RESULTS / given.name
    stored = path.with_suffix(".json")
    runs = json.loads(stored.read_text(encoding="utf-8"))["runs"] if stored.exists() else []
    work = [
        (name, threads, size)
        for name in given.part
        for size in sizes
        for threads in given.threads
        if int(size.split(",")[1]) >= PARTS[name].least_batch
    ]
    with TemporaryDirectory() as scratch:
        extra, missing = plugin(Path(scratch))
        for number, (name, threads, size) in enumerate(work, 1):
            start, part = time.perf_counter(), PARTS[name]
            if missing and "mgu" in part.cells:
                part = Part(part.cells[:1], part.against)
            memory = name == "torch" and threads == max(given.threads)
            run = measure(part, size, threads, rounds(part, size, given.repeats), memory, extra)
            run = {"part": name, "size": size, **run, **({"missing": missing} if part != PARTS[name] else {})}
            say(run, number, len(work), time.perf_counter() - start)
            runs = merged(runs, run)
            write(path, runs)
    draw(path.with_suffix(".png"), "Speed on a CPU, float32, in units of the peer's", panels(runs))
    if any("error" in run for run in runs):
        sys.exit("some runs failed: the page says which")


if __name__ == "__main__":
    main()
