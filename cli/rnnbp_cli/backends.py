"""`rnnbp backends`: which array libraries can be used here, and why not."""

from __future__ import annotations

from typing import Any

from rnnbp_cli.options import JsonOption, print_json


def backends(json: JsonOption = False) -> None:
    """List the array backends: version, devices, dtypes, and why one is not available."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    rows = [_row(name) for name in _names()]
    if json:
        print_json(rows)
        return
    table = Table("backend", "version", "available", "devices", "dtypes")
    for row in rows:
        state = "yes" if row["available"] else escape(f"no: {row['reason']}")
        table.add_row(row["name"], row["version"] or "–", state, ", ".join(row["devices"]), ", ".join(row["dtypes"]))
    Console(emoji=False).print(table)


def _names() -> list[str]:
    from rnnbp.registry import BACKENDS

    return list(BACKENDS)


def _row(name: str) -> dict[str, Any]:
    from rnnbp.errors import UserError
    from rnnbp.registry import BACKENDS

    empty: dict[str, Any] = {"name": name, "version": None, "available": False, "devices": [], "dtypes": []}
    try:
        kind = BACKENDS.load(name)
        reason = kind.available()
        found = {"version": kind.version(), "reason": reason, "available": reason is None, "dtypes": list(kind.dtypes)}
        return empty | found | {"devices": list(kind.devices()) if reason is None else []}
    except Exception as error:  # a broken plugin is a line in the list, not the end of it
        return empty | {"reason": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"}
