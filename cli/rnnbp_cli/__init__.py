"""The command line of rnnbp: no numerics, each command calls the library and says what it found.

This module imports neither numpy nor rnnbp: `--threads` must be able to speak before NumPy loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: a user's mistake is one line on stderr and exit code 2, never a traceback."""
    import typer

    from rnnbp_cli.app import app

    # the base of all that is wrong with a command line; typer brings click under one name or another
    usage_error = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    code = 2
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character shows a question mark
    try:
        code = app(list(sys.argv[1:] if arguments is None else arguments), prog_name="rnnbp", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    except Exception as error:
        from rnnbp.errors import UserError

        expected = (UserError, OSError, MemoryError, usage_error)
        if not isinstance(error, expected) or os.environ.get("RNNBP_TRACEBACK"):
            raise
        if describe(error):
            print(f"rnnbp: {describe(error)}", file=sys.stderr)
    sys.exit(code)


def describe(error: Exception) -> str:
    """The error in one line; an OSError with the file it is about."""
    if isinstance(error, MemoryError):
        return f"a size must fit in memory: {str(error) or 'it did not'}: try a smaller one"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return " ".join(text.split())
