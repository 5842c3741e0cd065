"""How far the methods of the gradient checker are from each other: every cell, worst of all tensors and seeds.

    python benchmarks/agreement.py [--seeds 5] [--backend numpy] [--name agreement]

writes benchmarks/results/NAME.json, the numbers, and NAME.md, a table of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rnnbp
from rnnbp.benching.machine import machine
from rnnbp.checking import all_specs
from rnnbp.checking.agreement import COLUMNS, agreement, limit_of

RESULTS = Path(__file__).parent / "results"
SIZES = {"input_size": 4, "hidden_size": 6}
HEAD = {"taylor": "taylor: slope − 2", "hessian": "hessian: asymmetry"}


def measure(spec: str, backend: rnnbp.Backend, seeds: int) -> dict[str, float]:
    """The worst number of all seeds for each method."""
    cell = rnnbp.cell(spec, **SIZES)
    rows = [agreement(spec, cell, backend, seed=seed) for seed in range(seeds)]
    return {column: max(row[column] for row in rows) for column in rows[0]}


def table(rows: dict[str, dict[str, float]], where: dict[str, Any], command: str, seeds: int) -> str:
    """Markdown."""
    columns = [column for column in COLUMNS if any(column in row for row in rows.values())]
    beyond = sum(not value <= limit_of(column) for row in rows.values() for column, value in row.items())
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    lines = [
        "# The methods of the gradient checker agree",
        "",
        f"{where['processor']}, {where['cores']} cores; Python {where['python']}, {versions}. {where['time']}.",
        "",
        f"Command: `{command}`.",
        "",
        f"The worst difference from complex steps over all tensors (every parameter, X, every initial state) and "
        f"{seeds} seeds: the larger of ‖a−n‖/(‖a‖+‖n‖) and max|a−n|/max(|a|,|n|)∞; in float64, T = 5, B = 3, I = 4, "
        "H = 6, one padded sequence. `backward` is the hand-written one. `taylor` shows how far the slope of the "
        "remainder is from 2, `hessian` how asymmetric the Hessian of the hand-written backward is, and `directional` "
        "what tangents along ±1 directions and in single entries show.",
        "",
        f"{sum(map(len, rows.values()))} numbers, {beyond} beyond the tolerance in the last row.",
        "",
        "| cell | " + " | ".join(HEAD.get(column, column) for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for spec, row in rows.items():
        lines.append(f"| {spec} | " + " | ".join(f"{row[c]:.1e}" if c in row else "–" for c in columns) + " |")
    lines.append("| *tolerance* | " + " | ".join(f"{limit_of(column):.0e}" for column in columns) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--name", default="agreement")
    options = parser.parse_args()
    backend = rnnbp.backend(options.backend)
    rows = {}
    for spec in all_specs():
        rows[spec] = measure(spec, backend, options.seeds)
        print(
            f"{spec}: worst {max(rows[spec][c] / limit_of(c) for c in rows[spec]):.1e} of its tolerance",
            file=sys.stderr,
        )
    where = machine() | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    command = shlex.join(["python", "benchmarks/agreement.py", *sys.argv[1:]])
    limits = {column: limit_of(column) for column in COLUMNS}
    text = table(rows, where, command, options.seeds)
    plain = {"command": command, "machine": where, "backend": options.backend, "seeds": options.seeds}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.name}.json").write_text(
        json.dumps(plain | {"tolerances": limits, "cells": rows}, indent=1) + "\n"
    )
    (RESULTS / f"{options.name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
