"""Ctrl-C during a run."""

from __future__ import annotations

import signal

from rnnbp_cli.options import say


class Interrupt:
    """Ctrl-C asks the run to save and stop after the step in hand; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        return self._asked

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        say("saving; once more to stop at once")
