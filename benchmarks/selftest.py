"""The self-test of the gradient check at length: every pair of faults, and each right cell on many random problems.

    python benchmarks/selftest.py [--problems 1000] [--draws 5] [--name selftest]

writes benchmarks/results/NAME.json, as found, and NAME.md, a table of it. The single faults are planted again in
`--draws` random problems in all, for a name must not depend on luck.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from rnnbp.benching.machine import machine
from rnnbp.benching.results import write
from rnnbp.checking.selftest import SelfTest, self_test

RESULTS = Path(__file__).parent / "results"


def told(what: str, done: int, of: int) -> None:
    if done % 500 == 0 or done == of:
        print(f"{what}: {done} of {of}", file=sys.stderr)


def table(found: SelfTest, draws: list[SelfTest], where: dict[str, Any], seconds: float, command: str) -> str:
    """Markdown."""
    versions = ", ".join(f"{name} {where['versions'][name]}" for name in ("rnnbp", "numpy"))
    named = [draw.named for draw in draws]
    missed = sum(len(draw.missed) for draw in draws)
    lines = [
        "# Self-test of the gradient check",
        "",
        f"{where['processor']}, {where['cores']} cores, {where['system']}; Python {where['python']}, {versions}. "
        f"{date.today().isoformat()}, {seconds:.0f} s.",
        "",
        f"Command: `{command}`. The same, shorter: `rnnbp gradcheck --self-test`.",
        "",
        f"**{'Passed' if found.passed else 'FAILED'}**",
        "",
        *(f"- {line}" for line in found.lines),
        f"- single faults planted in {len(draws)} random problems, seeds {draws[0].seed} … {draws[-1].seed}: "
        f"{missed} missed; named {min(named)} … {max(named)} of {len(found.singles)} in each",
        *(f"- MISSED: {planted}" for planted in found.missed),
        *(f"- FALSE ALARM: {alarm}" for alarm in found.alarms),
        "",
        "## Confusion",
        "",
        f"All {len(draws)} problems together. A fault is named right if the diagnosis' best explanation is its bug.",
        "",
        "| planted | named | taken for |",
        "|---|---|---|",
    ]
    trials = [trial for draw in draws for trial in draw.singles]
    for bug, _, _ in found.rows():
        names = Counter(trial.named or "no name" for trial in trials if trial.bug == bug)
        total, right = names.total(), names.pop(bug, 0)
        lines.append(f"| {bug} | {right} of {total} | {', '.join(f'{n} {k}' for n, k in names.most_common())} |")
    lines += ["", "## Not applicable", "", "Planted, these change no gradient (compared directly).", ""]
    for family in dict.fromkeys(planted.family for planted in found.not_applicable):
        idle = [" + ".join(planted.faults) for planted in found.not_applicable if planted.family == family]
        lines.append(f"- {family}: {', '.join(idle)}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--name", default="selftest")
    given = parser.parse_args()
    start = time.perf_counter()
    found = self_test(problems=given.problems, most_pairs=None, progress=told)
    again = [self_test(problems=1, most_pairs=0, seed=seed) for seed in range(1, given.draws)]
    seconds, where, command = time.perf_counter() - start, machine(), shlex.join(["python", *sys.argv])
    draws = [{"seed": draw.seed, **draw.to_json()["singles"]} for draw in (found, *again)]
    whole = {"date": date.today().isoformat(), "seconds": round(seconds), "machine": where, "command": command}
    whole |= {"self_test": found.to_json(), "draws": draws}
    write(RESULTS / given.name, whole, table(found, [found, *again], where, seconds, command))
    print(found)
    sys.exit(not found.passed)


if __name__ == "__main__":
    main()
