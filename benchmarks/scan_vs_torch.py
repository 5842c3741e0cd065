"""The portable scan on NumPy against torch.nn.LSTM, GRU and RNN on a CPU: `rnnbp bench` for each number of threads.

    python benchmarks/scan_vs_torch.py [--threads 1 2] [--repeats 20] [--name scan_vs_torch]

writes benchmarks/results/NAME.json, as measured, and NAME.md, a table of it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
CASES = "--backend numpy --cell lstm,gru,rnn --size small,medium,large --dtype float32 --against torch"
TARGET = "The target for LSTM at (50,64,128,256) and (100,32,256,512) is 0.6 for forward + backward."

HEAD = ["threads", "cell", "T,B,I,H", "forward: ours", "torch", "fwd+bwd: ours", "torch", "GFLOP/s", "of GEMM"]
HEAD += ["MiB: ours", "torch", "speed: forward", "fwd+bwd"]


def measure(threads: int, repeats: int) -> dict[str, Any]:
    """What one command prints; its progress bar is left on stderr."""
    words = f"bench {CASES} --threads {threads} --repeats {repeats} --json".split()
    done = subprocess.run([sys.executable, "-m", "rnnbp_cli", *words], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(runs: list[dict[str, Any]], repeats: int, command: str) -> str:
    """Markdown."""
    machine = runs[0]["machine"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("rnnbp", "numpy", "torch"))
    variables = [f"{k}={v}" for k, v in machine["environment"].items() if not k.endswith("_NUM_THREADS")]
    lines = [
        "# Portable NumPy scan against torch.nn on a CPU",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}; "
        f"NumPy's BLAS: {machine['blas']}; environment: {', '.join(variables) or 'nothing set'}. {runs[0]['date']}.",
        "",
        f"Command: `{command}`, which runs `rnnbp bench {CASES} --threads N --repeats {repeats}`.",
        "",
        f"float32, the minimum of {repeats} rounds in turn, in ms; backward includes dX; outputs and gradients agreed. "
        f"GFLOP/s and the share of NumPy's own GEMM rate in the same run are those of forward + backward "
        f"({runs[0]['flop_model']}). Speed is torch's time over ours: above 1 is faster than torch; in brackets from "
        f"the medians. {TARGET}",
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    for run in runs:
        for case in run["results"]:
            mine, peer = case["ours"], case["peer"]
            forward, both = ([who[p]["min_ms"] for who in (mine, peer)] for p in ("forward", "forward_backward"))
            medians = [peer[p]["median_ms"] / mine[p]["median_ms"] for p in ("forward", "forward_backward")]
            cells = [
                str(run["threads"]),
                case["cell"],
                ",".join(map(str, case["size"].values())),
                *(f"{ms:.1f}" for ms in (*forward, *both)),
                f"{mine['forward_backward']['gflops']:.0f}",
                f"{100 * mine['forward_backward']['share_of_gemm']:.0f} %",
                *(f"{who['peak_bytes'] / 2**20:.0f}" if who["peak_bytes"] else "–" for who in (mine, peer)),
                f"{forward[1] / forward[0]:.2f} ({medians[0]:.2f})",
                f"**{both[1] / both[0]:.2f}** ({medians[1]:.2f})",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--name", default="scan_vs_torch")
    given = parser.parse_args()
    runs = [measure(threads, given.repeats) for threads in given.threads]
    from rnnbp.benching.results import write

    write(RESULTS / given.name, runs, table(runs, given.repeats, shlex.join(["python", *sys.argv])))


if __name__ == "__main__":
    main()
