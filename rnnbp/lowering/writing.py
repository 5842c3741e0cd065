"""A graph as statements of a language, with the names that the cell gave its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from itertools import count

from rnnbp.lowering.nodes import FUNCTIONS, Node, reach

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
            return {0.5: self.forms.get("sqrt", "sqrt({0})"), -1.0: self.constant(1.0) + " / {0}"}.get(
                power, self.forms.get("pow", "pow({0}, {1})")
            )
        return self.forms.get(node.op, f"{node.op}({', '.join(f'{{{k}}}' for k in range(len(node.args)))})")


INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
INFIX |= {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
FORMS = {op: f"{{0}} {sign} {{1}}" for op, sign in INFIX.items()} | {"negative": "-{0}"}
# how tightly an operation binds; what stands alone, a name or a call, binds tightest
_BINDS = {"add": 2, "subtract": 2, "multiply": 3, "divide": 3, "pow": 3, "negative": 3}
_BINDS |= dict.fromkeys(("where", "logical_and", "logical_or", "logical_not"), 0) | dict.fromkeys(list(INFIX)[4:], 1)
_ALONE = 4


def statements(
    roots: Mapping[str, Node], known: Mapping[Node, str], names: Mapping[str, Node], language: Language
) -> tuple[list[str], dict[str, str]]:
    """The assignments that lead to the roots, and the expression of each root.

    known: nodes that there are already, and how they are written. names: the cell's own. What is used twice, has a
    name, or is a function gets a variable; the rest is written where it is used.
    """
    taken = {*language.reserved, *known.values()}
    own = {node: _free(name, taken) for name, node in names.items()}
    taken |= set(own.values())
    order = [node for node in reach(roots.values(), stop=known) if node.op not in ("input", "constant")]
    uses = Counter(a for node in order for a in node.args) + Counter(roots.values())
    written = {node: (text, _ALONE) for node, text in known.items()}
    lines: list[str] = []

    def text(node: Node, binds: int = 0) -> str:
        """The expression of a node, in brackets where it binds less tightly than what it becomes a part of."""
        if node.op == "constant" and node not in written:
            return language.constant(node.value)
        found, tight = written.get(node, (node.value, _ALONE))
        return found if tight >= binds else f"({found})"

    for node in order:
        mine = _BINDS.get(node.op, _ALONE)
        within = [0] * len(node.args) if mine == _ALONE else [mine] + [mine + 1] * (len(node.args) - 1)
        value = language.form(node).format(*map(text, node.args, [_ALONE, 0] if node.op == "pow" else within))
        if node in own or uses[node] > 1 or node.op in FUNCTIONS or len(value) > WIDTH:
            name = own[node] if node in own else _free_number(taken)
            taken.add(name)
            lines.append(language.assignment.format(name=name, value=value))
            written[node] = (name, _ALONE)
        else:
            written[node] = (value, mine)
    return lines, {name: text(node) for name, node in roots.items()}


def _free_number(taken: Set[str]) -> str:
    """The first of v1, v2, … that is not taken."""
    return next(name for k in count(1) if (name := f"v{k}") not in taken)


def _free(name: str, taken: Set[str]) -> str:
    """The name, with underscores where the code around has it already."""
    return _free(name + "_", taken) if name in taken else name
