"""The page and the picture of benchmarks/cpu.py. Pure: numbers in, text out."""

from __future__ import annotations

from typing import Any

from cpu_points import BELOW, BOTH, FORWARD, HEAD, Point, points_of
from cpu_targets import CAP, MEANS, NAMES, summary

from rnnbp.benching.plotting import Panel

TITLES = {
    "torch": "Against torch.nn",
    "jax": "Against jax.lax.scan under jit",
    "loop": "Against a torch module that loops in Python",
    "portable": "The portable path, without Numba, against torch.nn",
}
DRAWN = {"jax": "Against jax.lax.scan", "loop": "Against a torch loop in Python", "portable": "Portable path, torch.nn"}


def machines(runs: list[dict[str, Any]]) -> list[str]:
    """Where and when, a line for each machine or set of versions."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in (run for run in runs if "machine" in run):
        m = run["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
        others = [f"{k}={v}" for k, v in m["environment"].items() if not k.endswith("_NUM_THREADS")]
        text = f"{m['processor']}, {m['system']}; Python {m['python']}, {versions}; NumPy's BLAS: {m['blas']}; "
        found.setdefault(text + f"environment: {', '.join(others) or 'nothing set'}", []).append(run)
    lines = []
    for text, of_it in found.items():
        dates, cores = sorted(run["date"] for run in of_it), max(run["machine"]["cores"] for run in of_it)
        parts = ", ".join(dict.fromkeys(run["part"] for run in of_it))
        lines.append(f"Measured ({parts}) from {dates[0]} to {dates[-1]} on {cores} cores: {text}.")
    return lines


def table(runs: list[dict[str, Any]]) -> str:
    """The page, in Markdown."""
    legend = (
        "Speed is the peer's time over ours: above 1 is faster than the peer. A geometric mean is over the sizes, with "
    )
    legend += f"each ratio capped at {CAP:g}. {BELOW.strip()} marks what is below its target."
    lines = ["# Speed on a CPU", "", "Command: `python benchmarks/cpu.py`."]
    lines += [*machines(runs), "", "## Targets", "", legend, "", *summary(points_of(runs))]
    for part in dict.fromkeys(run["part"] for run in runs):
        lines += ["", f"## {TITLES[part]}", "", *every_point([run for run in runs if run["part"] == part])]
    return "\n".join(lines) + "\n"


def every_point(runs: list[dict[str, Any]]) -> list[str]:
    """The table of a part, and what it lacks."""
    points = points_of(runs)
    counts = sorted({run["repeats"] for run in runs if "repeats" in run})
    peers = ", ".join(sorted({p.result["peer"]["name"] for p in points}))
    how = (
        f"Peer: {peers}. float32, in ms, the minimum of {' to '.join(map(str, counts))} rounds in turn; in brackets the"
    )
    lines = [f"{how} ratio of the medians. Outputs and all gradients agreed; backward includes dX."] if points else []
    if points:
        lines += [
            "",
            f"| {' | '.join(HEAD)} |",
            "|" + "---|" * len(HEAD),
            *(f"| {' | '.join(p.row())} |" for p in points),
        ]
    failed = [run for run in runs if "error" in run]
    told = [f"Failed: {', '.join(r['cells'])}, {r['size']}, threads {r['threads']}: {r['error']}." for r in failed]
    told += dict.fromkeys(f"No MGU: {run['missing']}." for run in runs if "missing" in run)
    return [*lines, *(line for text in told for line in ("", text))]


def panels(runs: list[dict[str, Any]]) -> list[Panel]:
    """The picture: against torch.nn a panel for each cell, then one for each other part."""
    points = points_of(runs)
    counts = sorted({p.threads for p in points})
    found = []
    for cell in MEANS:
        some = [p for p in points if p.part == "torch" and p.cell == cell]
        passes = {"fwd+bwd": BOTH, "forward": FORWARD}
        lines = {f"{word}, threads {n}": (cell, n, which) for word, which in passes.items() for n in counts}
        found.append(panel(f"{NAMES[cell]} against torch.nn", some, lines, 1.0))
    for part, level in (("jax", 1.0), ("loop", 10.0), ("portable", 0.8)):
        some = [p for p in points if p.part == part]
        cells = dict.fromkeys(p.cell for p in some)
        lines = {f"{NAMES.get(cell, cell)}, threads {n}": (cell, n, BOTH) for cell in cells for n in counts}
        found.append(panel(f"{DRAWN[part]}: fwd+bwd", some, lines, level))
    return found


def panel(title: str, points: list[Point], lines: dict[str, tuple[str, int, str]], level: float) -> Panel:
    """Speeds over sizes."""
    sizes = list(dict.fromkeys(p.size for p in sorted(points, key=lambda p: p.result["flop"][FORWARD])))
    named = {(p.cell, p.threads, p.size): p for p in points}
    values = {
        name: [named[cell, n, size].speed(which) if (cell, n, size) in named else None for size in sizes]
        for name, (cell, n, which) in lines.items()
    }
    named_level = {"as fast as the peer" if level == 1 else f"target {level:g}": level}
    return Panel(title, tuple(sizes), values, named_level, "speed in the peer's", log=True)
