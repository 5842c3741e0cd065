"""A graph as statements of a language, with the names that the cell gave its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from itertools import count

from rnnbp.lowering.nodes import COMPARISONS, FUNCTIONS, INFIX, Node, reach

WIDTH = 72  # an expression longer than this is cut in two


@dataclass(frozen=True)
class Language:
    """How a language writes what a graph holds."""

    constant: Callable[[float | bool], str]
    forms: Mapping[str, str]  # operation -> "{0} + {1}"; a function's defaults to name({0}, …)
    assignment: str  # "{name} = {value}"
    reserved: Set[str] = frozenset()  # names that the code around the statements uses

    def form(self, node: Node) -> str:
        """The template of one operation; small powers are products."""
        if node.op == "pow":
            power = node.args[1].value
            if power in (2.0, 3.0, 4.0):
                return " * ".join(["{0}"] * int(power))
            shorter = {0.5: self.forms.get("sqrt", "sqrt({0})"), -1.0: self.constant(1.0) + " / {0}"}
            return shorter.get(power, self.forms.get("pow", "pow({0}, {1})"))
        return self.forms.get(node.op, f"{node.op}({', '.join(f'{{{k}}}' for k in range(len(node.args)))})")


FORMS = {op: f"{{0}} {sign} {{1}}" for op, (sign, _) in INFIX.items()} | {"negative": "-{0}"}
"""How most languages write the operations that have a sign: operation -> "{0} + {1}"."""
# how tightly an operation binds; what stands alone, a name or a call, binds tightest
_LOGICAL = ("where", "logical_and", "logical_or", "logical_not")
_BINDS = dict.fromkeys(_LOGICAL, 0) | dict.fromkeys(COMPARISONS, 1)
_BINDS |= {"add": 2, "subtract": 2, "multiply": 3, "divide": 3, "pow": 3, "negative": 3}
_ALONE = 4


def _arguments_bind(node: Node) -> list[int]:
    """How tightly each argument must bind to stand there without brackets, in Python as in C.

    Sums and products go from left to right; a < b < c is a chain in Python, so a comparison takes none as it is.
    """
    mine = _BINDS.get(node.op, _ALONE)
    if mine == _ALONE:
        return [0] * len(node.args)
    if node.op in ("add", "subtract", "multiply", "divide"):
        return [mine, mine + 1]
    return [1] * 3 if node.op == "where" else [_BINDS["add"]] * 2 if node.op in COMPARISONS else [_ALONE] * 2


def statements(
    roots: Mapping[str, Node], known: Mapping[Node, str], names: Mapping[str, Node], language: Language
) -> tuple[list[str], dict[str, str]]:
    """The assignments that lead to the roots, and the expression of each root.

    known: nodes that there are already, and how they are written. names: the cell's own. What is used twice, has a
    name, or is a function gets a variable; the rest is written where it is used.
    """
    reached = reach(roots.values(), stop=known)
    taken = {*language.reserved, *known.values(), *(node.value for node in reached if node.op == "input")}
    own: dict[Node, str] = {}
    for name, node in names.items():
        own[node] = _free(name, taken)
        taken.add(own[node])
    order = [node for node in reached if node.op not in ("input", "constant")]
    uses = Counter(roots.values())
    uses.update(a for node in order for a in node.args * (2 if node.op == "pow" else 1))  # which may be a product
    written = {node: (text, _ALONE) for node, text in known.items()}
    lines: list[str] = []

    def text(node: Node, binds: int = 0) -> str:
        """The expression of a node, in brackets where it binds less tightly than what it becomes a part of."""
        if node.op == "constant" and node not in written:
            return language.constant(node.value)
        found, tight = written.get(node, (node.value, _ALONE))
        return found if tight >= binds else f"({found})"

    for node in order:
        value = language.form(node).format(*map(text, node.args, _arguments_bind(node)))
        if node in own or uses[node] > 1 or node.op in FUNCTIONS or len(value) > WIDTH:
            name = own[node] if node in own else next(v for k in count(1) if (v := f"v{k}") not in taken)
            taken.add(name)
            lines.append(language.assignment.format(name=name, value=value))
            written[node] = (name, _ALONE)
        else:
            written[node] = (value, _BINDS.get(node.op, _ALONE))
    return lines, {name: text(node) for name, node in roots.items()}


def _free(name: str, taken: Set[str]) -> str:
    """The name, with underscores where the code around has it already."""
    return _free(name + "_", taken) if name in taken else name
