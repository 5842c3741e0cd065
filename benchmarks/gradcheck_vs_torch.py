"""Every entry of every gradient of an LSTM checked: method tangent against torch.autograd.gradcheck in its slow mode.

    python benchmarks/gradcheck_vs_torch.py [--threads 1 2] [--kernels auto Haswell] [--rounds 5]

writes benchmarks/results/gradcheck_vs_torch.json and .md. Both check the same scalar, Σ ys∘dys + Σ s_T∘ds_T, in
float64: all parameters, the inputs X and the first states, in turn, in one process, with as many threads. `--kernels`
are those that OpenBLAS is held to by OPENBLAS_CORETYPE; "auto" leaves the choice to it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

import rnnbp
from rnnbp.benching.machine import machine
from rnnbp.checking.subjects.problems import draw
from rnnbp.checking.subjects.sequences import sequence_subject
from rnnbp.checking.verdicts import setting, verify
from rnnbp.truncation import full

RESULTS = Path(__file__).parent / "results"
SIZE = {"T": 20, "B": 4, "I": 16, "H": 32}
TARGET, AIM = 25, 50  # how many times faster it must be, and should be
HEAD = [
    "threads",
    "kernels",
    "torch, s: min",
    "median",
    "ours, s: min",
    "median",
    "faster: min",
    "median",
    "worst error",
]


def ours() -> Callable[[], dict[str, float]]:
    """A call that checks, and says how many entries there were and the worst error."""
    how = setting("numpy", "float64", "tangent", "full", extent="exhaustive")
    problem = draw(rnnbp.cell("lstm", SIZE["I"], SIZE["H"]), SIZE["T"], SIZE["B"], seed=0, padded=False)

    def call() -> dict[str, float]:
        subject = sequence_subject("lstm", problem, full(SIZE["T"]), how)
        checks = verify(subject, how)
        if not all(check.passed for check in checks):
            raise RuntimeError(f"a right gradient failed: {[str(c) for c in checks if not c.passed]}")
        return {"entries": sum(v.size for v in subject.tensors.values()), "error": max(c.error for c in checks)}

    return call


def theirs() -> Callable[[], dict[str, float]]:
    """The same with nn.LSTM, which has two biases."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(SIZE["I"], SIZE["H"]).double()
    normal = partial(torch.randn, dtype=torch.float64)
    xs = normal(SIZE["T"], SIZE["B"], SIZE["I"])
    h0, c0, dh, dc = (normal(1, SIZE["B"], SIZE["H"]) for _ in range(4))
    dys = normal(SIZE["T"], SIZE["B"], SIZE["H"])
    names = [name for name, _ in layer.named_parameters()]
    tensors = [t.detach().clone().requires_grad_() for t in (xs, h0, c0, *layer.parameters())]

    def loss(xs: Any, h0: Any, c0: Any, *weights: Any) -> Any:
        ys, (h, c) = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (xs, (h0, c0)))
        return (ys * dys).sum() + (h * dh).sum() + (c * dc).sum()

    def call() -> dict[str, float]:
        if not torch.autograd.gradcheck(loss, tensors):
            raise RuntimeError("torch.autograd.gradcheck failed")
        return {"entries": sum(t.numel() for t in tensors)}

    return call


def measure(rounds: int, threads: int) -> dict[str, Any]:
    """Both in turn, `rounds` times after one of each that does not count."""
    torch.set_num_threads(threads)
    calls = {"torch": theirs(), "ours": ours()}
    found: dict[str, Any] = {name: call() for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    sides = {name: found[name] | {"seconds": seconds[name]} for name in calls}
    return {"threads": threads, "size": SIZE, "date": date.today().isoformat(), "machine": machine()} | sides


def in_a_process(rounds: int, threads: int, kernels: str) -> dict[str, Any]:
    """Threads and kernels are settled when the libraries are loaded."""
    chosen = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | chosen
    env |= {} if kernels == "auto" else {"OPENBLAS_CORETYPE": kernels}
    command = [sys.executable, __file__, "--one", "--threads", str(threads), "--rounds", str(rounds)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"kernels": kernels}


def table(runs: list[dict[str, Any]], rounds: int, command: str) -> str:
    """Markdown."""
    where, first = runs[0]["machine"], runs[0]
    versions = ", ".join(f"{name} {where['versions'][name]}" for name in ("rnnbp", "numpy", "torch"))
    sizes = ", ".join(f"{axis} = {size}" for axis, size in SIZE.items())
    lines = [
        "# An exhaustive gradient check against torch.autograd.gradcheck",
        "",
        f"{where['processor']}, {where['cores']} cores, {where['system']}; Python {where['python']}, {versions}; "
        f"NumPy's BLAS: {where['blas']}. {first['date']}.",
        "",
        f"Command: `{command}`.",
        "",
        f"LSTM, {sizes}, float64. Ours: method tangent on NumPy, every entry, {first['ours']['entries']} of them. "
        f"torch: nn.LSTM, `gradcheck` with its defaults (slow mode, central differences, tolerance 1e-3), "
        f"{first['torch']['entries']} entries, for it has a second bias. Both check the same scalar function; {rounds} "
        "rounds in turn in one process after one that does not count. Faster: torch's time over ours, of the minima, "
        f"and the median of the rounds' ratios. Asked for is {TARGET}, aimed at {AIM}. Worst error: ours "
        "at its largest, against a tolerance of 1e-10.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    for run in runs:
        theirs, mine = run["torch"]["seconds"], run["ours"]["seconds"]
        ratios = [t / m for t, m in zip(theirs, mine, strict=True)]
        numbers = [f"{x:.2f}" for x in (min(theirs), median(theirs))] + [f"{x:.3f}" for x in (min(mine), median(mine))]
        faster = [f"**{min(theirs) / min(mine):.0f}**", f"{median(ratios):.0f}"]
        cells = [str(run["threads"]), run["kernels"], *numbers, *faster, f"{run['ours']['error']:.0e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kernels", nargs="+", default=["auto", "Haswell"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.rounds, given.threads[0])))
        return
    runs = [in_a_process(given.rounds, threads, kernels) for kernels in given.kernels for threads in given.threads]
    from rnnbp.benching.results import write

    write(RESULTS / "gradcheck_vs_torch", runs, table(runs, given.rounds, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    main()
