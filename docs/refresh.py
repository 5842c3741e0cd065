"""Fill the pieces between <!-- name --> and <!-- /name --> in README and docs with what the commands really print.

    python docs/refresh.py

Every output that the pages show is made here, and every figure in docs/; benchmarks write their own files, which are
only quoted. Names of pieces after the command: these alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rnnbp_cli import main

import rnnbp
from rnnbp.checking import builtin_specs
from rnnbp.checking.bugs import BUGS
from rnnbp.checking.selftest.candidates import specimen
from rnnbp.explaining import QUESTIONS, markdown
from rnnbp.flow import fresh_subjects, measure
from rnnbp.flow.measures import PICTURES
from rnnbp.flow.pictures.drawing import draw

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results"


@dataclass(frozen=True)
class Command:
    """A command and what it prints; the figures that it makes are files, or a folder, after `--out`."""

    words: str
    keep: Callable[[str], str] = str.strip

    def __call__(self) -> str:
        out = StringIO()
        try:
            with redirect_stdout(out):
                main(self.words.split())
        except SystemExit as done:  # 1 is a check that failed; a mistake must not empty a page
            if done.code not in (0, 1, None):
                raise
        lines = [line.rstrip() for line in self.keep(out.getvalue()).splitlines()]
        return "\n".join(["```console", f"$ rnnbp {self.words}", *lines, "```"])

    def makes(self, figure: Path) -> bool:
        """Whether the figure, by its path from the root of the project, is one of those."""
        words = self.words.split()
        return "--out" in words and figure.is_relative_to(words[words.index("--out") + 1])


@dataclass(frozen=True)
class FlowPictures:
    """Pictures of cells side by side as files docs/flow-<name>.png, with the command that shows the same, and what is
    seen in each.
    """

    cells: str
    measures: str
    pictures: tuple[str, ...]

    def __call__(self) -> str:
        report = measure(fresh_subjects(self.cells.split()), self.measures.split(","))
        shown = [f"```\nrnnbp flow {self.cells} --measure {self.measures}\n```"]
        for name in self.pictures:
            draw(report, name, HERE / f"flow-{name}.png")
            sentences = (f"- `{label}`: {panel.seen}" for label, panel in report.panels(name).items())
            title = PICTURES[name].title
            shown += [f"**{title}**", "\n".join(sentences), f"![{title}](flow-{name}.png)"]
        return "\n\n".join(shown)

    def makes(self, figure: Path) -> bool:
        """Whether the figure, by its path from the root of the project, is one of those."""
        return figure.as_posix() in [f"docs/flow-{name}.png" for name in self.pictures]


def after(start: str) -> Callable[[str], str]:
    """The output from some words on."""
    return lambda text: "…\n" + text[text.index(start) :].strip()


def picked(start: str, stop: str) -> Callable[[str], str]:
    """The output up to its first picture, and from some words to others."""

    def kept(text: str) -> str:
        return "\n…\n".join([text.partition("\n\n")[0].rstrip(), text[text.index(start) : text.index(stop)].strip()])

    return kept


def failure() -> str:
    """What is printed of a cell with a fault."""
    report = str(rnnbp.gradcheck(specimen("lstm", "sigma-prime-missing:f")))
    return f"```\n{after('dL_t/d')(report)}\n```"


def bugs() -> str:
    """The catalogue as a table."""
    return "\n".join(
        ["| name | what the backward does wrong |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in BUGS.items())]
    )


def quoted(name: str) -> str:
    """The first table of a file of results."""
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("|"))
    rest = [k for k in range(first, len(lines)) if not lines[k].startswith("|")]
    return "\n".join(lines[first : rest[0] if rest else None])


def scale() -> str:
    """What was measured of large models, in its own words."""
    text = (RESULTS / "gradcheck_scale.md").read_text(encoding="utf-8")
    return (
        text.partition("## Scale")[2].partition("## ")[0].strip()
        + "\n[Measured](../benchmarks/results/gradcheck_scale.md)."
    )


def speed() -> str:
    """What benchmarks/cpu.py measured, with its picture."""
    path = RESULTS / "cpu.md"
    if not path.exists():
        return "Not measured yet."
    where = "../benchmarks/results"
    text = path.read_text(encoding="utf-8").partition("\n\n")[2].strip().replace("\n## ", "\n### ")
    return f"![Speed over size]({where}/cpu.png)\n\nAs measured: [cpu.json]({where}/cpu.json). {text}"


def records() -> str:
    """What record=True keeps of each cell, by name."""
    lines = ["| cell | forward | after a backward |", "|---|---|---|"]
    plugins = {"mgu": "rnnbp_mgu:mgu", "mgu:reset=before": "rnnbp_mgu:ResetBeforeMGU"}
    plugins |= {"slstm": "rnnbp_recent.slstm:SLSTM"}
    plugins |= {name: f"rnnbp_recent.{name}:{name}" for name in ("mingru", "minlstm")}
    sys.path += [str(path) for path in HERE.parent.glob("plugins/*")]  # they need not be installed
    makers = {spec: partial(rnnbp.cell, spec) for spec in builtin_specs()}
    makers |= {name: EntryPoint(name, target, "").load() for name, target in plugins.items()}
    for spec, make in makers.items():
        made = make(2, 3)
        params = made.init(np.random.default_rng(0))
        backward: Any
        ys, _, backward = rnnbp.scan(made, params, np.ones((2, 2, 2)), record=True, backend=rnnbp.backend("numpy"))
        forward = sorted(backward.record)
        backward(np.ones_like(ys))
        errors = sorted(set(backward.record) - set(forward))
        names = (" ".join(f"`{name}`" for name in group) for group in (forward, errors))
        lines.append(f"| `{spec}` | {' | '.join(names)} |")
    return "\n".join(lines)


def odyssey() -> str:
    """What benchmarks/odyssey.py found, with its picture."""
    where = "../benchmarks/results"
    text = (RESULTS / "odyssey.md").read_text(encoding="utf-8").partition("\n\n")[2].strip()
    return f"{text}\n\n![Nine LSTMs on a small task]({where}/odyssey.png)"


def schema() -> str:
    """One report as JSON, its lists cut to one entry."""
    plain = rnnbp.gradcheck(specimen("rnn", "sign:U")).to_json()
    plain["checks"] = plain["checks"][-1:]
    plain["findings"] = {kind: ["…"] for kind in plain["findings"]}
    plain["worst"] = "as in checks"
    return f"```json\n{json.dumps(plain, indent=2, ensure_ascii=False)}\n```"


PIECES: dict[str, Callable[[], str]] = {
    "cell": Command("gradcheck rnn --backend torch"),
    "agreement": lambda: quoted("agreement.md"),
    "scale": scale,
    "memory": lambda: quoted("remat.md"),
    "speed": speed,
    "lags": Command("gradcheck rnn --lags", lambda text: after("dL_t/dU_s")(text).partition("dL_t/db_s")[0].strip()),
    "procedures": Command("gradcheck --task four-steps --procedure all"),
    "truncation": Command("gradcheck rnn --truncation tbptt:1,2", after("rnn: the gradient under")),
    "decay": Command(
        "gradcheck lstm:peepholes=true --truncation decay:0.8", after("lstm:peepholes=true: the gradient under")
    ),
    "compared": Command(
        "truncation lstm --k 1,2,4,8,16,full --kinds 1997,decay:0.9,gates:i+f --out docs/truncation.png --force"
    ),
    "flow": Command(
        "flow rnn lstm:forget_bias=5 --measure jacobians", picked("What many steps do", "In how many directions")
    ),
    "flowing": FlowPictures(
        "rnn gru lstm:forget_bias=0 lstm:forget_bias=5", "jacobians,truncation", ("products", "truncation")
    ),
    "failure": failure,
    "bugs": bugs,
    "selftest": Command("gradcheck --self-test"),
    "json": schema,
    "records": records,
    "odyssey": odyssey,
    "faq": lambda: markdown([question.answer() for question in QUESTIONS.values()]),
}


def refreshed(text: str, only: set[str]) -> str:
    """The page with its pieces made anew."""

    def made(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- {name} -->\n{PIECES[name]()}\n<!-- /{name} -->" if not only or name in only else found[0]

    return re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", made, text, flags=re.DOTALL)


if __name__ == "__main__":
    os.chdir(HERE.parent)  # where --out docs/… of a command is meant
    for page in [*HERE.glob("*.md"), HERE.parent / "README.md"]:
        text = page.read_text(encoding="utf-8")
        page.write_text(refreshed(text, set(sys.argv[1:])), encoding="utf-8")
