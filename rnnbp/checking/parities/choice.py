"""Which backends are compared: as named, or all that can be used here."""

from __future__ import annotations

from collections.abc import Sequence

from rnnbp.backends import Backend, default_name
from rnnbp.backends import backend as find_backend
from rnnbp.errors import UserError
from rnnbp.registry import BACKENDS


def choose(backends: Sequence[Backend | str] | None, dtypes: Sequence[str]) -> list[Backend]:
    """At least two backends, all different, that hold these dtypes; the first is the reference. Else a UserError."""
    if isinstance(backends, str):
        raise UserError(f"backends must be a sequence of at least two; got the text {backends!r}")
    chosen = [_found(each) for each in (available() if backends is None else backends)]
    names = [label(backend) for backend in chosen]
    if len(chosen) < 2:
        got = f"only {', '.join(names) or 'none'}{' is available here' if backends is None else ''}"
        raise UserError(f"parity needs at least two backends, the first being the reference; got {got}: add another")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"parity needs backends that differ; got {name} {names.count(name)} times")
    for backend in chosen:
        for dtype in dtypes:
            backend.require_dtype(dtype)
    return chosen


def available() -> list[str]:
    """The backends that can be used here, the default one first."""
    first = default_name()
    return [first, *(name for name in BACKENDS if name != first and BACKENDS.load(name).available() is None)]


def label(backend: Backend) -> str:
    """NAME, or NAME:DEVICE where a device was asked for."""
    return backend.name if backend.device is None else f"{backend.name}:{backend.device}"


def _found(each: Backend | str) -> Backend:
    if isinstance(each, Backend):
        return each
    if not isinstance(each, str):
        raise UserError(f"a backend is NAME, NAME:DEVICE or a Backend; got {each!r}")
    name, _, device = each.strip().partition(":")
    if not name:
        raise UserError(f"a backend is NAME or NAME:DEVICE; got {each!r}")
    return find_backend(name, device or None)
