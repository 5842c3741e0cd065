"""What `rnnbp train --flow every=100` costs: the time of a sample beside that of a hundred training steps.

    python benchmarks/flow_training.py [--rounds 20] [--threads 2]

writes benchmarks/results/flow_training.json, as measured, and flow_training.md, a table. Both models learn the default
text, in float32 on the NumPy backend. In every round some training steps are timed, one by one, and as many samples by
default, each with its row written to the disk; so both meet the same machine. Each other measurement is taken once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
EVERY = 100
MODELS: dict[str, tuple[dict[str, Any], int]] = {  # name -> what is asked for, steps in a round
    "LSTM 128, T = 50": ({}, 5),
    "LSTM 2 × 256, T = 100": ({"layers": 2, "hidden": 256, "time_steps": 100}, 2),
}


def measured(asked: dict[str, Any], count: int, rounds: int) -> dict[str, Any]:
    """Seconds of steps, of samples by default and of each measurement."""
    from rnnbp.runs import append_flow_row
    from rnnbp.training import Config
    from rnnbp.training.flow import SEQUENCES, FlowConfig, flow_row
    from rnnbp.training.loop import advance
    from rnnbp.training.setup import set_up
    from rnnbp.training.state import begin

    setup = set_up(Config(**asked))
    state = begin(setup)

    def step() -> None:
        nonlocal state
        state = advance(setup, state, 0)[0]

    def sample(flow: FlowConfig, folder: Path) -> int:
        row = flow_row(setup, state, flow)
        append_flow_row(folder, row)
        return len(row) - 1

    for _ in range(3):
        step()  # compiled, and the weights are not those of step 0
    steps, samples = [], []
    with tempfile.TemporaryDirectory() as folder:
        first = seconds(lambda: sample(FlowConfig(EVERY), Path(folder)))
        for _ in range(rounds):
            steps += [seconds(step) for _ in range(count)]
            samples += [seconds(lambda: sample(FlowConfig(EVERY), Path(folder))) for _ in range(count)]
        numbers = sample(FlowConfig(EVERY), Path(folder))
    return {
        "path": setup.backend.path,
        "batch": setup.batch,
        "sequences": min(SEQUENCES, setup.batch),
        "numbers": numbers,
        "steps": len(steps),
        "step": {"least": min(steps), "median": median(steps)},
        "samples": len(samples),
        "sample": {"least": min(samples), "median": median(samples), "first": first},
        "share": {"least": min(samples) / min(steps) / EVERY, "median": median(samples) / median(steps) / EVERY},
        "measures": singly(sample),
    }


def singly(sample: Callable[[Any, Path], int]) -> dict[str, float]:
    """Seconds of each measurement that fits the run, by itself."""
    from rnnbp.flow.measures import MEASURES
    from rnnbp.training.flow import FlowConfig

    found = {}
    for name in MEASURES:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            if sample(FlowConfig(EVERY, measures=(name,)), Path(folder)):
                found[name] = time.perf_counter() - begun
    return found


def seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def page(found: dict[str, Any]) -> str:
    """Markdown."""
    from rnnbp.benching.machine import described

    lines = [
        f"# What `--flow every={EVERY}` costs",
        "",
        f"{described(found['machine'])}. {found['date']}.",
        "",
        f"Command: `{found['command']}`. Text, float32, on {found['threads']} threads. A step is one of training; a "
        "sample is that of `--flow` by default, written to the disk. Seconds are the least and, in brackets, the "
        f"median; the share is a sample's time beside that of {EVERY} steps. The first sample of a process loads what "
        "it needs, too.",
        "",
        "| model | path | a step | a sample | share | numbers in a row | first sample |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found["models"].items():
        step, sample, share = one["step"], one["sample"], one["share"]
        lines.append(
            f"| {name}, B = {one['batch']}, {one['sequences']} sequences | {one['path']} "
            f"| {step['least']:.4f} ({step['median']:.4f}) | {sample['least']:.4f} ({sample['median']:.4f}) "
            f"| {share['least']:.1%} ({share['median']:.1%}) | {one['numbers']} | {sample['first']:.2f} |"
        )
    lines += ["", "Each measurement by itself, of the same sequences: seconds, and the share.", ""]
    lines += [f"| measurement | {' | '.join(found['models'])} |", "|---|" + "---|" * len(found["models"])]
    names = dict.fromkeys(name for one in found["models"].values() for name in one["measures"])
    for name in names:
        cells = []
        for one in found["models"].values():
            took = one["measures"].get(name)
            cells.append("–" if took is None else f"{took:.3g}, {took / one['step']['least'] / EVERY:.1%}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="of steps and samples [default: 20]")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU [default: 2]")
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": str(given.threads), "NUMBA_NUM_THREADS": str(given.threads)}

    from rnnbp.benching.machine import machine
    from rnnbp.benching.results import write

    models = {name: measured(asked, count, given.rounds) for name, (asked, count) in MODELS.items()}
    found = {
        "command": shlex.join(["python", "benchmarks/flow_training.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "threads": given.threads,
        "every": EVERY,
        "models": models,
    }
    write(RESULTS / "flow_training", found, page(found))
    print(page(found))


if __name__ == "__main__":
    main()
