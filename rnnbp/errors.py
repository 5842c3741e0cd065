"""The errors that a user can cause: one line each, saying the rule, what came, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the caller passed does not fit; the message is meant to be read by a person."""


class UnknownNameError(UserError, KeyError):
    """A name that no registry knows. A KeyError too, so that a Mapping behaves as one."""

    def __str__(self) -> str:
        return str(self.args[0])


def described(error: Exception) -> str:
    """An error in words: its message if it is one of these, else its kind too, for it was meant for a programmer."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a mistyped name: the nearest names first, then all of them."""
    names = sorted(known)
    small = {one.lower(): one for one in names}
    near = [small[one] for one in difflib.get_close_matches(str(name).lower(), small, n=3)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names) or 'none'}")
