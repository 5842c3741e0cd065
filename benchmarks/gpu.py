"""The CuPy backend on a GPU, in one command: is it right, how fast is it, and what bounds it. Under eight minutes.

    python benchmarks/gpu.py [--name NAME] [--parts tests gradcheck timings numbers] [--share 1.0]

1. tests: the test suite on CuPy; every cell and option, random sizes. gradcheck: every cell, on CuPy.
2. timings: LSTM, GRU and the LSTM with peepholes against torch.nn.LSTM and GRU (cuDNN), outputs compared as well.
3. numbers: what the next design depends on (GEMM at the shapes of a step, launches, a grid barrier, reads from L2).

Each part is a process of its own with a budget of time: one that fails, or is cut off, is recorded with what it had
found, and the others go on. Writes benchmarks/results/gpu-NAME.json and .png. Without a GPU: one line, exit 2.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--maxfail=25", "--tb=short"]
PYTEST += ["-k", "cupy and not test_cupy_"]  # tests on a GPU; those of test_cupy_*.py need none
if find_spec("xdist"):
    PYTEST += ["-n", "8"]
# part -> (its command, seconds it may take); all together leave half a minute of eight
PARTS: dict[str, tuple[list[str], int]] = {
    "timings": ([str(HERE / "gpu_timings.py")], 130),
    "numbers": ([str(HERE / "gpu_numbers.py")], 40),
    "gradcheck": ("-m rnnbp_cli gradcheck --all --backend cupy --json".split(), 60),
    "tests": (PYTEST, 220),
}
# ms, forward and forward + backward, as published by FlashRNN (Pöppel, Beck, Hochreiter 2024) for an H100
PUBLISHED = {
    "T,B,H": [1024, 16, 768],
    "FlashRNN, fused, bf16": [4.87, 13.61],
    "FlashRNN, alternating, bf16": [10.79, 26.49],
    "Haste, fp32": [18.41, 43.86],
    "torch.nn.LSTM, fp16 (cuDNN persistent)": [2.01, 5.19],
}


def run_part(command: list[str], budget: float, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run Python with this command for at most that long: how it ended, its JSON lines, its last words."""
    begin, ended = time.perf_counter(), "finished"
    variables = os.environ | (environment or {})
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=HERE.parent,
        env=variables,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=budget)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        text, ended = process.communicate()[0], f"cut off after {budget:.0f} s"
    if process.returncode and ended == "finished":
        ended = f"failed with exit {process.returncode}"
    lines = text.splitlines()
    found = [json.loads(line) for line in lines if line.startswith('{"part"')]
    words = [line for line in lines if not line.startswith('{"part"')][-40:]
    seconds = round(time.perf_counter() - begin, 1)
    return {"command": " ".join(command), "ended": ended, "seconds": seconds, "found": found, "last_words": words}


def measure(parts: list[str], share: float) -> dict[str, Any]:
    """All parts, one after the other."""
    from rnnbp.benching.machine import machine

    environment = {"RNNBP_TEST_BACKENDS": "cupy", "PYTHONUNBUFFERED": "1"}
    results = {}
    for name in parts:
        command, budget = PARTS[name]
        print(f"{name}: up to {budget * share:.0f} s", flush=True)
        results[name] = run_part(command, budget * share, environment)
        print(f"{name}: {results[name]['ended']} ({results[name]['seconds']} s)", flush=True)
    return {"date": str(date.today()), "machine": machine(), "published_ms": PUBLISHED, "parts": results}


def write(results: dict[str, Any], path: Path) -> list[Path]:
    """The numbers as JSON and, where matplotlib is installed, a picture of the timings; the files that were written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [path.with_suffix(".json")]
    written[0].write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    timings = [r for r in results["parts"].get("timings", {}).get("found", []) if "ours_ms" in r]
    try:
        import matplotlib
    except ImportError:
        print("no picture: matplotlib is not installed")
        return written
    if timings:
        matplotlib.use("Agg")
        picture(timings, path.with_suffix(".png"))
        written.append(path.with_suffix(".png"))
    return written


def picture(timings: list[dict[str, Any]], path: Path) -> None:
    """Forward + backward, ours and torch's, one panel for each size."""
    from matplotlib import pyplot

    sizes = sorted({tuple(r["size"]) for r in timings}, reverse=True)
    figure, panels = pyplot.subplots(1, len(sizes), figsize=(5 * len(sizes), 5), squeeze=False)
    for panel, size in zip(panels[0], sizes, strict=True):
        rows = [r for r in timings if tuple(r["size"]) == size]
        places = range(len(rows))
        ours = [r["ours_ms"]["both"] for r in rows]
        theirs = [r["torch_ms"]["both"] if r["torch_ms"] else 0 for r in rows]
        panel.barh([k - 0.2 for k in places], ours, 0.4, label="rnnbp on CuPy")
        panel.barh([k + 0.2 for k in places], theirs, 0.4, label="torch.nn (cuDNN)")
        panel.set_yticks(list(places), [f"{r['cell']}, {r['mode']}" for r in rows])
        panel.invert_yaxis()
        panel.set_xlabel("ms, forward + backward")
        panel.set_title(f"T,B,H = {','.join(map(str, size))}")
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", default="here", help="of the files: gpu-NAME.json")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--share", type=float, default=1.0, help="of the time that each part may take")
    given = parser.parse_args(words)
    from rnnbp.registry import BACKENDS

    reason = BACKENDS.load("cupy").available()
    if reason is not None:
        print(f"nothing was measured: {reason}")
        return 2
    written = write(measure(given.parts, given.share), RESULTS / f"gpu-{given.name}")
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
