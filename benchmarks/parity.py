"""How far right backends are apart: every cell, forward, losses and gradients, over many seeds.

    python benchmarks/parity.py [--backends numpy,torch,jax] [--seeds 1000,50] [--name parity]

with a number of seeds for each backend after the first. It writes benchmarks/results/NAME.json, the worst of all seeds
for each cell, dtype and backend, and NAME.md, a table of it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rnnbp.benching.machine import described, machine
from rnnbp.benching.results import write
from rnnbp.checking import ParityReport, all_specs, parity

RESULTS = Path(__file__).parent / "results"
HEAD = ["cell", "dtype", "backend", "tensors", "worst error", "in eps", "of tensor", "seed"]


def worst(reports: list[ParityReport]) -> list[dict[str, Any]]:
    """The worst tensor of all seeds for each cell, dtype and backend."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for report in reports:
        for check in report.checks:
            who = (check.cell, check.dtype, check.backend)
            row = found.setdefault(who, {"compared": 0, "failed": 0, "badness": -1.0})
            row["compared"] += 1
            row["failed"] += not check.passed
            if check.badness > row["badness"]:
                in_eps = check.error / float(np.finfo(check.dtype).eps)
                row |= check.to_json() | {"badness": check.badness, "eps": in_eps, "seed": report.seed}
    return [{key: value for key, value in row.items() if key != "badness"} for row in found.values()]


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    limits = ", ".join(f"{limit['value']:.1e} in {dtype}" for dtype, limit in found["tolerances"].items())
    failed, compared = (sum(row[what] for row in found["worst"]) for what in ("failed", "compared"))
    lines = [
        f"# Parity: {', '.join(found['backends'][1:])} against {found['backends'][0]}",
        "",
        f"{described(found['machine'])}. {found['date']}.",
        "",
        f"Command: `{found['command']}`, which does what `rnnbp parity --all --backends {','.join(found['backends'])}` "
        f"does, for {' and '.join(f'{n} seeds of {name}' for name, n in found['seeds'].items())}.",
        "",
        f"{compared} tensors compared, {failed} beyond the tolerance ({limits}). The error is the larger of "
        "‖a−n‖/(‖a‖+‖n‖) and max|a−n|/max(|a|,|n|)∞; a row shows the worst of all its tensors and seeds.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    for row in found["worst"]:
        numbers = [f"{row['error']:.1e}", f"{row['eps']:.1f}"]
        cells = [
            row["cell"],
            row["dtype"],
            row["backend"],
            str(row["compared"]),
            *numbers,
            row["tensor"],
            str(row["seed"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backends", default="numpy,torch,jax")
    parser.add_argument("--seeds", default="1000,50")
    parser.add_argument("--name", default="parity")
    given = parser.parse_args()
    backends = given.backends.split(",")
    seeds = dict(zip(backends[1:], map(int, given.seeds.split(",")), strict=True))
    reports = [
        parity(all_specs(), backends=[backends[0], other], seed=seed) for other, n in seeds.items() for seed in range(n)
    ]
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "backends": backends,
        "seeds": seeds,
        "tolerances": reports[0].to_json()["tolerances"],
        "worst": worst(reports),
    }
    write(RESULTS / given.name, found, table(found))


if __name__ == "__main__":
    main()
