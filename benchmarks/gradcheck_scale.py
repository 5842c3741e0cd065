"""Gradient checks along random directions: time against torch's fast mode, a model of ten million parameters, and the
smallest fault that shows.

    python benchmarks/gradcheck_scale.py [--threads 2] [--repeats 30] [--batch 2] [--name gradcheck_scale]

writes benchmarks/results/NAME.json, as measured, and NAME.md. Each part runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
SIZES = {"time_steps": 20, "batch": 4, "input_size": 16, "hidden_size": 32}
LARGE = {"time_steps": 50, "input_size": 256, "hidden_size": 682, "layers": 3, "outputs": 16}  # 10.0 million
LIMITS = {"seconds": 0.050, "scale_seconds": 60.0, "scale_bytes": 2 * 2**30}


# ---- time ---------------------------------------------------------------------------------------------------------
def speed(repeats: int) -> dict[str, Any]:
    """Ours and torch's fast mode in turn, on the same scalar of an LSTM."""
    import rnnbp

    options: dict[str, Any] = {"method": "directional", "levels": ("sequence",), "properties": False, "padded": False}

    def ours() -> Any:
        return rnnbp.gradcheck("lstm", **SIZES, **options)

    report, peer = ours(), torch_fast()
    peer()
    seconds = in_turn({"ours": ours, "torch": peer}, repeats)
    counts = {"ours": sum(check.directions * max(1, len(check.blocks)) for check in report.checks), "torch": 7}
    return {"seconds": seconds, "directions": counts, "passed": report.passed, "worst": report.worst.error}


def in_turn(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, list[float]]]:
    """The seconds of each call, one after the other, so that both meet the same machine: by the clock, and of
    processor time, which tells how busy the machine was otherwise.
    """
    found: dict[str, dict[str, list[float]]] = {name: {"clock": [], "processor": []} for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter(), time.process_time()
            call()
            found[name]["clock"].append(time.perf_counter() - start[0])
            found[name]["processor"].append(time.process_time() - start[1])
    return found


def torch_fast() -> Callable[[], Any]:
    """torch.autograd.gradcheck in fast mode on Σ ys∘dys + Σ h∘dh + Σ c∘dc of nn.LSTM, by its parameters, xs and s0."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    steps, batch, n_in, n = SIZES.values()
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    lstm = torch.nn.LSTM(n_in, n).double()
    dys, dh, dc = normal(steps, batch, n), normal(1, batch, n), normal(1, batch, n)
    names = [name for name, _ in lstm.named_parameters()]

    def scalar(xs: Any, h0: Any, c0: Any, *params: Any) -> Any:
        pairs = dict(zip(names, params, strict=True))
        ys, (h, c) = torch.func.functional_call(lstm, pairs, (xs, (h0, c0)))
        return (ys * dys).sum() + (h * dh).sum() + (c * dc).sum()

    given = [normal(steps, batch, n_in), normal(1, batch, n), normal(1, batch, n)]
    given += [p.detach().clone() for p in lstm.parameters()]
    given = [tensor.requires_grad_() for tensor in given]
    rest = {"check_undefined_grad": False, "check_batched_grad": False, "check_grad_dtypes": False}
    return lambda: torch.autograd.gradcheck(scalar, given, fast_mode=True, **rest)


# ---- ten million parameters ---------------------------------------------------------------------------------------
def scale(batch: int) -> dict[str, Any]:
    """A check of every gradient of a large model: seconds, and the peak of this process's memory."""
    from rnnbp.checking import check_model
    from rnnbp.losses import MeanSquaredError
    from rnnbp.model import Model
    from rnnbp.stacking import stack

    rng = np.random.default_rng(0)
    cells = stack("lstm", LARGE["input_size"], LARGE["hidden_size"], LARGE["layers"])
    model = Model(cells, LARGE["outputs"], MeanSquaredError())
    xs = rng.standard_normal((LARGE["time_steps"], batch, LARGE["input_size"]))
    targets = rng.standard_normal((LARGE["time_steps"], batch, LARGE["outputs"]))
    start = time.perf_counter()
    report = check_model(model, xs, targets, method="directional")
    seconds = time.perf_counter() - start
    return {
        "parameters": sum(int(np.prod(spec.shape)) for spec in model.params.values()),
        "batch": batch,
        "seconds": seconds,
        "processor_seconds": time.process_time(),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # in KiB on Linux
        "directions": sum(check.directions * max(1, len(check.blocks)) for check in report.checks),
        "tensors": len(report.checks),
        "passed": report.passed,
        "worst": report.worst.error,
        "title": report.title,
    }


# ---- the smallest fault -------------------------------------------------------------------------------------------
def fault(problems: int) -> dict[str, Any]:
    """One of 16384 entries of dU (LSTM, H = 64) off by a fraction of the largest: the error that directions show."""
    import rnnbp
    from rnnbp.checking.subjects.problems import draw
    from rnnbp.checking.subjects.sequences import sequence_subject
    from rnnbp.checking.verdicts import setting, verify
    from rnnbp.truncation import parse

    cell, found = rnnbp.cell("lstm", 8, 64), {}
    for size in (0.0, 1e-6, 1e-7, 1e-8, 1e-9):
        errors, located = [], 0
        for seed in range(problems):
            how = setting("numpy", "float64", "directional", "full", seed=seed)
            problem = draw(cell, 5, 3, seed)
            subject = sequence_subject("lstm", problem, parse("full", 5), how)
            place = tuple(int(k) for k in np.random.default_rng([seed, 1]).integers((64, 256)))
            wrong = replace(subject, gradients=off(subject.gradients, place, size))
            (check,) = [check for check in verify(wrong, how) if check.tensor == "U"]
            errors.append(check.error)
            located += check.index == place and not check.passed
        found[f"{size:.0e}"] = {"least": min(errors), "median": median(errors), "most": max(errors), "named": located}
    return {"problems": problems, "tolerance": check.tolerance, "faults": found, "torch": torch_passes(problems)}


def off(gradients: Callable[[Any], Any], place: tuple[int, ...], size: float) -> Callable[[Any], Any]:
    """The gradients with one entry of dU changed."""

    def wrong(given: Any) -> Any:
        found = dict(gradients(given))
        found["U"] = found["U"].copy()
        found["U"][place] += size * np.max(np.abs(found["U"]))
        return found

    return wrong


def torch_passes(problems: int) -> int:
    """How many backwards of Σ tanh(w) over 16384 entries, one of them off by 0.5, torch's fast mode lets pass."""
    import torch

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Any) -> Any:
            ctx.save_for_backward(w)
            return torch.tanh(w).sum()

        @staticmethod
        def backward(ctx: Any, d: Any) -> Any:
            slope = 1 - torch.tanh(ctx.saved_tensors[0]) ** 2
            slope[31, 103] += 0.5
            return d * slope

    passed = 0
    for seed in range(problems):
        torch.manual_seed(seed)
        w = torch.randn(64, 256, dtype=torch.float64, requires_grad=True)
        passed += torch.autograd.gradcheck(Wrong.apply, (w,), fast_mode=True, raise_exception=False)
    return passed


# ---- the page -----------------------------------------------------------------------------------------------------
def page(found: dict[str, Any], command: str) -> str:
    """Markdown."""
    where, quick, large, small = found["machine"], found["speed"], found["scale"], found["fault"]
    versions = ", ".join(f"{name} {where['versions'][name]}" for name in ("rnnbp", "numpy", "torch"))
    rows = []
    for name, label in (("ours", "rnnbp, `directional`"), ("torch", "torch, `fast_mode=True`")):
        times, count = quick["seconds"][name], quick["directions"][name]
        shown = [1e3 * min(times["clock"]), 1e3 * median(times["clock"]), 1e3 * min(times["processor"])]
        rows.append(f"| {label} | {count} | {' | '.join(f'{ms:.1f} | {ms / count:.2f}' for ms in shown)} |")
    ours, torch = (np.array(quick["seconds"][name]["clock"]) / quick["directions"][name] for name in ("ours", "torch"))
    faults = [
        f"| {size} | {f['least']:.1e} | {f['median']:.1e} | {f['most']:.1e} | {f['named']} of {small['problems']} |"
        for size, f in small["faults"].items()
    ]
    (t, b, i, h), rounds = SIZES.values(), quick["seconds"]["ours"]["clock"]
    return "\n".join(
        [
            "# Gradient checks along random directions",
            "",
            f"{where['processor']}, {where['cores']} cores, {found['threads']} threads, {where['system']}; {versions}; "
            f"NumPy's BLAS: {where['blas']}. {found['date']}.",
            "",
            f"Command: `{command}`.",
            "",
            "## Time",
            "",
            f"LSTM, (T,B,I,H) = ({t},{b},{i},{h}), float64, {len(rounds)} rounds in turn in one process; ms. "
            "Ours: the call of `rnnbp.gradcheck` from the drawing of the problem to the report, ± 1 "
            "directions of 3 seeds for each gate block and tensor, and 2 single entries of each, exact. torch: "
            "`torch.autograd.gradcheck` of `nn.LSTM`, one direction for each of 7 tensors, by central differences, its "
            "other checks switched off.",
            "",
            "| | directions | least | each | median | each | processor time, least | each |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Per direction torch takes **{median(torch / ours):.1f}** times as long (median of the rounds). The "
            f"whole check: {1e3 * min(rounds):.1f} ms; the aim is {1e3 * LIMITS['seconds']:.0f} ms. Largest error "
            f"of any tensor: {quick['worst']:.1e}.",
            "",
            "## Scale",
            "",
            f"Three LSTM layers with readout and loss, {large['parameters'] / 1e6:.2f} million parameters, "
            f'T = {LARGE["time_steps"]}, B = {large["batch"]}, float64, `check_model(…, method="directional")`: '
            f"**{large['seconds']:.1f} s** ({large['processor_seconds']:.1f} s of processor time), "
            f"**{large['peak_bytes'] / 2**20:.0f} MiB** at most in the whole process, {large['directions']} directions "
            f"on {large['tensors']} tensors; {'passed' if large['passed'] else 'FAILED'}, largest error "
            f"{large['worst']:.1e}. The aim is {LIMITS['scale_seconds']:.0f} s and "
            f"{LIMITS['scale_bytes'] / 2**30:.0f} GiB.",
            "",
            "## The smallest fault",
            "",
            "dU of an LSTM with H = 64 has 16384 entries; one of them is off by a fraction of the largest. The error "
            f"shown is judged against {small['tolerance']:.0e}. *Named*: the check failed and gave that very entry.",
            "",
            "| off by | least error | median | most | named |",
            "|---|---|---|---|---|",
            *faults,
            "",
            "For comparison, torch's fast mode at its own tolerances passes the gradient of a sum of 16384 tanh with "
            f"one entry off by 0.5 in {small['torch']} of {small['problems']} draws.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--name", default="gradcheck_scale")
    parser.add_argument("--part", choices=["speed", "scale", "fault"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        parts = {"speed": (speed, given.repeats), "scale": (scale, given.batch), "fault": (fault, given.problems)}
        call, argument = parts[given.part]
        print(json.dumps(call(argument)))
        return
    threads = {f"{library}_NUM_THREADS": str(given.threads) for library in ("OMP", "OPENBLAS", "MKL")}
    found: dict[str, Any] = {"date": date.today().isoformat(), "threads": given.threads}
    for part in ("speed", "scale", "fault"):
        words = [sys.executable, __file__, *sys.argv[1:], "--part", part]
        done = subprocess.run(words, env=os.environ | threads, stdout=subprocess.PIPE, check=True)
        found[part] = json.loads(done.stdout)
        print(part, "done", file=sys.stderr)

    from rnnbp.benching.machine import machine
    from rnnbp.benching.results import write

    found["machine"] = machine()
    write(RESULTS / given.name, found, page(found, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    main()
