"""The comparison of "LSTM: A Search Space Odyssey" (Greff et al. 2017) on a small task: nine LSTMs, equal budget.

Every variant is trained from each seed at each learning rate, for the same number of updates, on the same batches in
the same order. Its learning rate is the one whose median validation loss over the seeds is lowest: these runs count.
The task is small: a character model of a few units and a minute, on Python's own source files, in place of the paper's
speech, handwriting and music with 200 searches each. So it shows that the nine are there and learn, and which
differences such a task can show, not which LSTM is best.

    python benchmarks/odyssey.py [--hidden 64] [--steps 1000] [--seeds 5] [--task NAME]

writes benchmarks/results/odyssey.{json,md,png}.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from datetime import date
from itertools import product
from math import log, prod, sqrt
from pathlib import Path
from statistics import mean, median, variance
from typing import Any

from rnnbp.benching.machine import machine
from rnnbp.benching.plotting import require_matplotlib
from rnnbp.registry import cell
from rnnbp.training import Config, Diverged, train

RESULTS = Path(__file__).parent / "results"
VANILLA = "lstm-peephole"
VARIANTS = {
    VANILLA: "vanilla",
    "lstm-nig": "no input gate",
    "lstm-nfg": "no forget gate",
    "lstm-nog": "no output gate",
    "lstm-niaf": "no input activation",
    "lstm-noaf": "no output activation",
    "lstm-cifg": "coupled gates",
    "lstm-np": "no peepholes",
    "lstm-fgr": "full gate recurrence",
}
RATES = (0.003, 0.01, 0.03)


def result(config: Config) -> float:
    """The lowest validation loss of a run, in bits; infinite where it diverged."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return train(config, Path(folder) / "run").best / log(2)
        except Diverged:
            return float("inf")


def searched(name: str, base: Config, seeds: int, rates: tuple[float, ...]) -> dict[str, Any]:
    """All runs of a variant, and the learning rate that serves it best."""
    runs: dict[float, list[float]] = {rate: [] for rate in rates}
    for k, (rate, seed) in enumerate(product(rates, range(seeds)), start=1):
        runs[rate].append(result(replace(base, cell=name, lr=rate, seed=seed)))
        print(f"{name}: run {k} of {seeds * len(rates)}, {runs[rate][-1]:.4f} bits", file=sys.stderr)
    best = min(rates, key=lambda rate: median(runs[rate]))
    return {"lr": best, "bits": runs[best], "all": {str(rate): values for rate, values in runs.items()}}


def welch(a: list[float], b: list[float]) -> float:
    """Welch's t of the difference of two means; with five runs each beyond about 2.3 one in twenty by chance."""
    return (mean(a) - mean(b)) / sqrt(variance(a) / len(a) + variance(b) / len(b))


def table(found: dict[str, Any], counts: dict[str, int]) -> str:
    """One row for each variant, the best first."""
    lines = [
        "| cell | | parameters but W | learning rate | bits per character: median (range) | to vanilla, Welch's t |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(found, key=lambda name: median(found[name]["bits"])):
        bits, usual = found[name]["bits"], found[VANILLA]["bits"]
        gap = "" if name == VANILLA else f"{median(bits) - median(usual):+.3f}, t = {welch(bits, usual):+.1f}"
        spread = f"{median(bits):.3f} ({min(bits):.3f}–{max(bits):.3f})"
        lines.append(f"| `{name}` | {VARIANTS[name]} | {counts[name]:,} | {found[name]['lr']:g} | {spread} | {gap} |")
    return "\n".join(lines)


def draw(path: Path, found: dict[str, Any], title: str) -> None:
    """A dot for every run, a line for the median; vanilla's median through all. What is far beyond is told in words."""
    figure = require_matplotlib()(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    names = sorted(found, key=lambda name: median(found[name]["bits"]), reverse=True)
    usual = median(found[VANILLA]["bits"])
    edge = 1.6 * usual
    axes.axvline(usual, color="0.6", linestyle="--", linewidth=1, label="median of vanilla")
    for y, name in enumerate(names):
        bits = found[name]["bits"]
        colour = "#0072b2" if name == VANILLA else "#d55e00"
        shown, beyond = [b for b in bits if b <= edge], [b for b in bits if b > edge]
        axes.plot(shown, [y] * len(shown), "o", color=colour, markersize=5, alpha=0.7)
        if median(bits) <= edge:
            axes.plot([median(bits)] * 2, [y - 0.3, y + 0.3], color="black", linewidth=1.6)
        if beyond:
            words = f"{len(beyond)} of {len(bits)} beyond: {min(beyond):.1f} to {max(beyond):.1f} →"
            axes.text(edge, y, words, ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [f"{VARIANTS[name]}  ({name})" for name in names], fontsize=9)
    axes.set_xlabel("validation loss, bits per character (a dot for each seed, a bar for the median)", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.set_xlim(right=edge)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", help="NAME[:option=value,…] in place of text")
    for name, value in (("hidden", 64), ("steps", 1000), ("seeds", 5), ("time-steps", 50), ("batch", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    base = Config(
        task=given.task,
        hidden=given.hidden,
        steps=given.steps,
        time_steps=given.time_steps,
        batch=given.batch,
        clip_norm=1.0,
        save_every=max(1, given.steps // 5),
    )
    found = {name: searched(name, base, given.seeds, RATES) for name in VARIANTS}
    counts = {name: count(name, given.hidden) for name in VARIANTS}
    budget = (
        f"{given.task or 'text'}, {given.hidden} units, {given.steps} updates of {given.batch} × {given.time_steps}, "
        f"{given.seeds} seeds, the best of {len(RATES)} learning rates"
    )
    summary = {"budget": budget, "rates": RATES, "config": base.to_dict(), "variants": found}
    summary |= {"date": date.today().isoformat(), "machine": machine()}
    (RESULTS / "odyssey.json").write_text(json.dumps(summary, indent=2) + "\n")
    text = f"# Nine LSTMs on a small task\n\n`python benchmarks/odyssey.py`: {budget}.\n\n{table(found, counts)}\n"
    (RESULTS / "odyssey.md").write_text(text)
    draw(RESULTS / "odyssey.png", found, budget)
    print(text)


def count(name: str, hidden: int) -> int:
    """The parameters of a variant but W, which the size of the alphabet decides."""
    made = cell(name, 1, hidden)
    return int(made.count - prod(made.params["W"].shape))


if __name__ == "__main__":
    main()
