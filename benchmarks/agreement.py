"""How far the methods of the gradient checker are from each other: every cell, worst of all tensors and seeds.

    python benchmarks/agreement.py [--seeds 5] [--backend numpy] [--name agreement]

writes benchmarks/results/NAME.json, the numbers, and NAME.md, a table of them; with a second table, of which fault each
method still sees.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rnnbp
from rnnbp.benching.machine import machine
from rnnbp.benching.results import write
from rnnbp.cellbase import Data, Params, State
from rnnbp.cells.lstm import LSTM
from rnnbp.checking import all_specs
from rnnbp.checking.methods.agreement import BACKWARD, COLUMNS, REFERENCE, agreement, limit_of
from rnnbp.numerics import Array, Namespace
from rnnbp.pointwise import PointwiseBackward

RESULTS = Path(__file__).parent / "results"
SIZES = {"input_size": 4, "hidden_size": 6}
FAULTS = (1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
HEAD = {"taylor": "taylor: slope − 2", "hessian": "hessian: asymmetry"}


def measure(spec: str, backend: rnnbp.Backend, seeds: int) -> dict[str, float]:
    """The worst number of all seeds for each method."""
    cell = rnnbp.cell(spec, **SIZES)
    rows = [agreement(spec, cell, backend, seed=seed) for seed in range(seeds)]
    return {column: max(row[column] for row in rows) for column in rows[0]}


@dataclass(frozen=True)
class Off(LSTM):
    """An LSTM whose backward has the error of one gate, the input gate, too large by a factor 1 + `fault`."""

    fault: float = 0.0

    def pointwise(
        self, xp: Namespace, a: tuple[Array, ...], s: State, p: Params, e: Data
    ) -> tuple[State, PointwiseBackward]:
        s1, back = super().pointwise(xp, a, s, p, e)

        def backward(ds1: State) -> Any:
            da, ds, dp = back(ds1)
            return (da[0] * (1 + self.fault), *da[1:]), ds, dp

        return s1, backward


def seen(fault: float, backend: rnnbp.Backend, methods: list[str]) -> dict[str, int]:
    """How many of the tensors each method finds wrong."""
    options: dict[str, Any] = {"backend": backend, "levels": ("sequence",), "properties": False, "path": "reference"}
    return {m: len(rnnbp.gradcheck(Off(**SIZES, fault=fault), method=m, **options).failures) for m in methods}


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


def table_of_faults(rows: dict[float, dict[str, int]]) -> str:
    """Markdown."""
    columns = list(rows[FAULTS[0]])
    lines = [
        "",
        "## What each method still sees",
        "",
        "The error of an LSTM's input gate is too large by a relative fault, so that all 6 tensors are wrong: how many "
        "does each method find? `rtrl` shares the step with the backward, so it sees no fault inside a step.",
        "",
        "| fault | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [f"| {fault:.0e} | " + " | ".join(str(row[c]) for c in columns) + " |" for fault, row in rows.items()]
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
    methods = [REFERENCE, *(name for name in rows[next(iter(rows))] if name not in (BACKWARD, "autodiff-jax"))]
    faults = {fault: seen(fault, backend, methods) for fault in FAULTS}
    text = table(rows, where, command, options.seeds) + table_of_faults(faults)
    plain = {"command": command, "machine": where, "backend": options.backend, "seeds": options.seeds}
    write(RESULTS / options.name, plain | {"tolerances": limits, "cells": rows, "faults": faults}, text)
    print(text)


if __name__ == "__main__":
    main()
