"""The nodes by which a loss depends on one input, in order, and how tangents go through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnbp.checking.methods.tangents.nodes import Input, Item, Node, Product, Reshaped
from rnnbp.checking.methods.tangents.sparse import Tangent, keeps_last
from rnnbp.checking.methods.tangents.sums import Contraction, Sum
from rnnbp.numerics import HostArray, Namespace


@dataclass(frozen=True)
class Tape:
    """Nodes from the input to the loss, each behind its parents; none if the loss does not depend on the input."""

    nodes: Sequence[Node]

    @cached_property
    def last_used(self) -> list[list[Node]]:
        """For each node, the parents that no later node needs."""
        last = {parent: k for k, node in enumerate(self.nodes) for parent in node.parents}
        return [[p for p in dict.fromkeys(node.parents) if last[p] == k] for k, node in enumerate(self.nodes)]

    def replay(self, xp: Namespace, seed: Tangent, apart: bool = False) -> Tangent:
        """The tangent of the loss, (K,), for that of the input; with `apart`, of each row by itself: (K rows,)."""
        known: dict[Node, Tangent] = {self.nodes[0]: seed}
        for node, done in zip(self.nodes, self.last_used, strict=True):
            if node is self.nodes[0]:
                continue
            tangents = [known.get(parent) for parent in node.parents]
            if all(t is None for t in tangents):
                continue
            push = node.push_apart if apart and isinstance(node, Contraction) else node.push
            known[node] = push(xp, *tangents)
            for parent in done:
                known.pop(parent, None)
        return known.get(self.nodes[-1])

    @cached_property
    def rows(self) -> int:
        """How many rows of the last but one axis (the batch) go all the way beside each other; 1 if they meet.

        Where they do not meet, one copy can carry a tangent for each of them, and each has its own sum in the loss.
        """
        first = self.nodes[0] if self.nodes else None
        if first is None or len(first.shape) < 2:
            return 1
        rows = first.shape[-2]
        row_of: dict[Node, HostArray] = {first: np.broadcast_to(np.arange(rows), first.shape[:-1])}
        for node in self.nodes[1:]:
            parents = [p for p in node.parents if p in row_of]
            found = [rows_of for p in parents if (rows_of := _rows_of(node, p, row_of[p])) is not None]
            if len(found) < len(parents) or any(not np.array_equal(f, found[0]) for f in found):
                return 1
            row_of[node] = found[0]
        return rows


def _rows_of(node: Node, parent: Node, rows: HostArray) -> HostArray | None:
    """Which row of the input each row of a node comes from, if each comes from one; for the loss, an empty array."""
    if not parent.shape:
        return rows if isinstance(node, Sum) and not node.shape else None
    if isinstance(node, (Sum, Product)):
        return rows if node.shape[:-1] == parent.shape[:-1] else None
    if isinstance(node, Reshaped):
        return rows.reshape(node.shape[:-1]) if node.shape[-1:] == parent.shape[-1:] else None
    if isinstance(node, Item):
        return rows[node.key[:-1]] if keeps_last(node.key, len(parent.shape)) else None
    if isinstance(node, Contraction):
        fits = rows.ndim > 0 and np.array_equal(rows, np.broadcast_to(np.arange(rows.shape[-1]), rows.shape))
        return np.empty(0) if fits else None
    return None


def tape(end: Node, first: Input) -> Tape:
    """The nodes by which the end depends on an input."""
    depends: dict[Node, bool] = {}
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(end, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            depends[node] = node is first or any(depends[p] for p in node.parents)
            order += [node] if depends[node] else []
        elif node not in depends:
            depends[node] = False
            stack.append((node, True))
            stack += [(p, False) for p in node.parents if p not in depends]
    return Tape(tuple(order) if depends[end] else ())
