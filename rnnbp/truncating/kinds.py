"""The kinds that a comparison is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rnnbp.errors import UserError
from rnnbp.truncation import Truncation

FULL = "full"


def kinds_of(ks: Sequence[int | str] = (), others: Sequence[str] = (), k1: int | None = None) -> tuple[str, ...]:
    """The kinds tbptt:k,k of these k, or tbptt:k1,k with a `k1`; then the others by name, and each one once.

    k may be "full". Whatever is no kind is a UserError.
    """
    found = []
    for k in ks:
        if str(k) != FULL and not re.fullmatch(r"[1-9]\d*", str(k)):
            raise UserError(f"k must be a whole number of at least 1, or full; got {k!r}")
        found.append(FULL if str(k) == FULL else f"tbptt:{k if k1 is None else k1},{k}")
    named = tuple(dict.fromkeys([*found, *others]))
    for kind in named:
        Truncation.parse(kind)
    if not named:
        raise UserError("a comparison takes at least one kind of truncation; got none: say k=[1, 4], or others")
    return named


def split_kinds(text: str) -> list[str]:
    """Kinds with commas between them, tbptt:K1,K2 being one of them."""
    return [part.strip() for part in re.findall(r"tbptt:[^,]*,[^,]*|[^,]+", text)]
