"""One kernel as text, and what the forward and the backward of a cell have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rnnbp.fastpath import Layout
from rnnbp.lowering import Node, statements
from rnnbp_cupy.dialect import LANGUAGE, Names

THREADS = 128  # of a block: small, because a step of a small batch has few threads for many processors
SIZES = ("B", "H")  # every kernel's first numbers, those of the step follow


class Parameter(NamedTuple):
    """A parameter of a kernel: an array (`key` says which of the scan's) or a number."""

    kind: str  # "const real*", "int", …
    name: str
    key: str


@dataclass(frozen=True)
class Kernel:
    """A kernel: its name, its parameters in order, arrays before numbers, and its definition."""

    name: str
    parameters: tuple[Parameter, ...]
    source: str

    @property
    def arrays(self) -> tuple[str, ...]:
        """The keys of the arrays, in order."""
        return tuple(p.key for p in self.parameters if p.kind != "int")


class Writer:
    """Collects parameters and lines. `array` and `number` give the name under which a parameter can be used."""

    def __init__(self, plan: Layout) -> None:
        self.plan, self.names = plan, Names()
        self._arrays: list[Parameter] = []
        self._lines: list[str] = []

    def array(self, kind: str, key: str, name: str | None = None) -> str:
        """The name of an array of the scan; it becomes a parameter."""
        for known in self._arrays:
            if known.key == key:
                return known.name
        self._arrays.append(Parameter(f"{kind}*", name or self.names(key), key))
        return self._arrays[-1].name

    def say(self, *lines: str, indent: int = 1) -> None:
        """Add lines."""
        self._lines += ["    " * indent + line if line else "" for line in lines]

    def statements(
        self, roots: Mapping[str, Node], known: Mapping[Node, str], named: Mapping[str, Node]
    ) -> dict[str, str]:
        """Add the statements that lead to the roots; the expression of each root. `named`: the cell's own names."""
        lines, values = statements(roots, known, {self.names(name): node for name, node in named.items()}, LANGUAGE)
        self.say(*lines)
        return values

    def inputs(self, which: Iterable[str], used: frozenset[Node]) -> dict[Node, str]:
        """Load the elementwise parameters and the data that are used; how each is written from then on."""
        known, cell = {}, self.plan.trace
        for name, node in (*cell.params.items(), *cell.data.items()):
            if node in used and name in which:
                known[node] = self.names(name)
                if name in cell.params:
                    index = "0" if cell.cell.elementwise[name].shape == (1,) else "unit"
                    value = f"{self.array('const real', f'parameter {name}', self.names(f'given_{name}'))}[{index}]"
                else:
                    array = self.array("const storage", f"data {name}", self.names(f"all_{name}"))
                    value = f"load({array}[step * size + at])"
                self.say(f"const real {known[node]} = {value};")
        return known

    def drop(self, state: str, step: str) -> str | None:
        """What multiplies a state before U does at a step, or zero where that is −1; None for nothing."""
        name = self.plan.cell.dropped.get(state)
        if name is None:
            return None
        array = self.array("const storage", f"data {name}", self.names(f"all_{name}"))
        return f"({step} >= 0 ? load({array}[{step} * size + at]) : real(0))"

    def thread(self) -> None:
        """Which unit of which sequence a thread has."""
        self.say(
            "const int at = blockIdx.x * blockDim.x + threadIdx.x;  // which of the B H units; all else may be larger",
            "if (at >= B * H) return;",
            "const int row = at / H, unit = at % H;",
            "const long long size = (long long)B * H, flag = (long long)step * B + row;",
        )

    def kernel(self, name: str, does: str, numbers: Iterable[str]) -> Kernel:
        """The finished kernel."""
        parameters = (*self._arrays, *(Parameter("int", n, n) for n in (*SIZES, *numbers)))
        shown = ",\n".join(f"    {p.kind} {p.name}" for p in self._arrays)
        shown += ",\n    " + ", ".join(f"int {p.name}" for p in parameters[len(self._arrays) :])
        head = f'// {does}\nextern "C" __global__ void __launch_bounds__({THREADS}) {name}(\n{shown})\n{{\n'
        return Kernel(name, parameters, head + "\n".join(self._lines) + "\n}\n")
