"""What a gradient check found: readable in a terminal, in a notebook and as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from math import inf, isfinite, isnan
from typing import Any, ClassVar

from rnnbp.checking.drawing.tables import aligned

HEAD = ("cell", "tensor", "shape", "error", "tolerance", "verdict")
BRIEF_HEAD = ("cell", "tensors", "worst", "error", "tolerance", "verdict")


class Finding(ABC):
    """What a check found beside the errors of tensors: a property, a table over time, a diagnosis.

    One that is about a cell, of several, names it in `cell`.
    """

    kind: ClassVar[str]  # its key in JSON

    @property
    def passed(self) -> bool:
        """Whether it lets the report pass."""
        return True

    @abstractmethod
    def __str__(self) -> str:
        """Lines for a terminal."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers that JSON does not have become null."""

    def to_html(self) -> str:
        """A piece of a page."""
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True)
class Check:
    """The verdict on one tensor's gradient."""

    cell: str
    backend: str
    dtype: str
    method: str
    truncation: str
    tensor: str
    error: float  # the larger of the next two; NaN where something is not finite or not even a gradient
    tolerance: float
    norm_error: float  # ‖a−n‖ / (‖a‖+‖n‖)
    max_error: float  # max|a−n| / max(|a|,|n|)∞
    shape: tuple[int, ...] = ()
    index: tuple[int, ...] = ()  # the worst entry
    analytic: float | None = None
    numeric: float | None = None
    elementwise: float | None = None  # the relative error of that entry: to be read, never judged
    padded: bool = False  # whether one of the sequences was shorter than the others
    level: str = "sequence"  # what was differentiated: step, sequence, loss, readout, model, function
    path: str = ""  # which code the backward's scan ran through, as `Backend.path`; empty where none takes part
    blocks: Mapping[str, float] = field(default_factory=dict)  # the error of each gate's part
    directions: int = 0  # how many random directions stand for all entries of a block; 0: every entry was checked
    seeds: tuple[int, ...] = ()  # of these directions
    note: str = ""  # what is wrong beyond numbers; or, of a check that may well pass, why another method was taken

    @property
    def passed(self) -> bool:
        """Within tolerance; NaN is not."""
        return self.error <= self.tolerance

    @property
    def misfit(self) -> bool:
        """Whether there was no gradient to compare: none, of another shape or dtype, or no cell at all."""
        return isnan(self.error) and self.analytic is None

    @property
    def badness(self) -> float:
        """The error in units of its tolerance, infinite for NaN."""
        return inf if isnan(self.error) else self.error / self.tolerance

    @property
    def gate(self) -> str:
        """The gate whose block of the tensor holds the worst entry; empty where no gates lie side by side."""
        names = tuple(self.blocks)
        return names[self.index[-1] * len(names) // self.shape[-1]] if names and self.index else ""

    @property
    def row(self) -> tuple[str, ...]:
        """The texts for `HEAD`."""
        shape = "×".join(map(str, self.shape)) or "–"
        verdict = "pass" if self.passed else "FAIL"
        marks = [] if self.level in ("sequence", "model", "function") else [self.level]
        marks += [self.path] if self.path not in ("", "portable") else []
        tensor = f"{self.tensor} ({', '.join(marks)})" if marks else self.tensor
        return (self.cell, tensor, shape, f"{self.error:.1e}", f"{self.tolerance:.0e}", verdict)

    def __str__(self) -> str:
        entry = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        gate, level = f" (gate {self.gate})" if self.gate else "", "" if self.level == "sequence" else f", {self.level}"
        level += f", {self.path} path" if self.path not in ("", "portable") else ""
        said = (
            f"{self.tensor}{entry}{gate} of {self.cell}{level}: error {self.error:.2e}, tolerance {self.tolerance:.0e}"
        )
        if self.analytic is not None and self.numeric is not None:
            said += f"; analytic {self.analytic:.10g}, numeric {self.numeric:.10g}"
        if self.elementwise is not None and isfinite(self.elementwise):
            said += f" ({self.elementwise:.1e} of that entry)"
        return f"{said}; {self.note}" if self.note else said

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers that JSON does not have become null."""
        lists = {"shape": list(self.shape), "index": list(self.index), "seeds": list(self.seeds)}
        flat = asdict(self) | {"passed": self.passed} | lists
        plain: dict[str, Any] = finite(flat)
        return plain


@dataclass(frozen=True)
class Report:
    """All checks of one call, with the seed that drew their problems and the task, if one gave the data."""

    checks: tuple[Check, ...]
    seed: int
    task: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Every tensor and every finding passed, and there was a tensor."""
        return bool(self.checks) and all(c.passed for c in self.checks) and all(f.passed for f in self.findings)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def worst(self) -> Check | None:
        """The check with the largest error in units of its tolerance."""
        return max(self.checks, key=lambda check: check.badness, default=None)

    @property
    def brief_rows(self) -> tuple[tuple[str, ...], ...]:
        """The texts for `BRIEF_HEAD`, one row for each cell: its worst tensor, and whether all of it passed."""
        rows = []
        for cell in dict.fromkeys(check.cell for check in self.checks):
            own = [check for check in self.checks if check.cell == cell]
            good = [check for check in own if check.passed]
            *texts, _ = max(own, key=lambda check: check.badness).row
            found = all(f.passed for f in self.findings if getattr(f, "cell", cell) == cell)
            verdict = "pass" if len(good) == len(own) and found else "FAIL"
            rows.append((cell, f"{len(good)}/{len(own)}", texts[1], *texts[3:], verdict))
        return tuple(rows)

    @property
    def title(self) -> str:
        """What was checked, in one line."""
        words = ("backend", "dtype", "method", "truncation")
        settings = [", ".join(dict.fromkeys(str(getattr(check, w)) for check in self.checks)) for w in words]
        paths = " and ".join(dict.fromkeys(check.path for check in self.checks if check.path))
        settings += [f"{paths} path"] if paths else []
        what = [f"task {self.task}"] * (self.task is not None) + list(filter(None, [*settings, self.extent]))
        return f"gradient check: {', '.join(what)}, seed {self.seed}"

    @property
    def extent(self) -> str:
        """Whether every entry was checked, or random directions stand for them, and the seeds of these."""
        seeds = sorted({seed for check in self.checks for seed in check.seeds})
        words = ["exhaustive"] * any(not check.directions and not check.misfit for check in self.checks)
        return " and ".join(words + [f"directional (seeds {', '.join(map(str, seeds))})"] * bool(seeds))

    @property
    def summary(self) -> str:
        """The verdict, and the worst entry by name."""
        good, of = len(self.checks) - len(self.failures), len(self.checks)
        verdict = f"passed: {good} of {of} tensors within tolerance"
        if not self.passed:
            verdict = f"FAILED: {of - good} of {of} tensors are wrong" if good < of else "FAILED: every tensor is right"
        single = {check.dtype for check in self.checks} == {"float32"}
        verdict += ", right for float32" if self.passed and single else ""
        missed = ", ".join(dict.fromkeys(finding.kind for finding in self.findings if not finding.passed))
        verdict += f"; not passed: {missed}" if missed else ""
        return f"{verdict}\nworst: {self.worst}" if self.checks else verdict

    def __str__(self) -> str:
        lines = aligned([HEAD, *(check.row for check in self.checks)])
        return "\n".join([self.title, *lines, *map(str, self.findings), *self.notes, self.summary])

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said beyond numbers, of failures and, marked as such, of checks that pass."""
        noted = [check for check in self.checks if check.note]
        return tuple(f"{c.cell}: {f'{c.tensor} passes; ' if c.passed else ''}{c.note}" for c in noted)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(text)}</th>" for text in HEAD)
        rows = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in check.row)}</tr>" for check in self.checks)
        below = "<br>".join(map(escape, [*self.notes, *self.summary.splitlines()]))
        found = "".join(finding.to_html() for finding in self.findings)
        return f"<p>{escape(self.title)}</p><table><tr>{head}</tr>{rows}</table>{found}<p>{below}</p>"

    def to_html(self) -> str:
        """A whole page, that needs nothing else."""
        from rnnbp.checking.page import page  # which shows reports

        return page(self)

    def to_json(self) -> dict[str, Any]:
        """What `json.dumps` takes: passed, worst, seed, task, checks, and the findings by kind."""
        worst = self.worst.to_json() if self.worst else None
        checks = [check.to_json() for check in self.checks]
        found: dict[str, list[Any]] = {}
        for finding in self.findings:
            found.setdefault(finding.kind, []).append(finding.to_json())
        whole = {"passed": self.passed, "worst": worst, "seed": int(self.seed), "task": self.task, "checks": checks}
        return whole | {"findings": found}


def finite(value: Any) -> Any:
    """Plain values with null for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def joined(reports: Iterable[Report]) -> Report:
    """Several reports of one seed and task as one."""
    several = list(reports)
    kinds = {(report.seed, report.task) for report in several}
    if len(kinds) != 1:
        raise ValueError(f"only reports of one seed and one task can be joined; got {sorted(kinds, key=str)}")
    checks = tuple(check for report in several for check in report.checks)
    return Report(checks, *kinds.pop(), tuple(finding for report in several for finding in report.findings))
