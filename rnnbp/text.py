"""Text as training data: characters of files, or of the Python standard library where no file is named."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from rnnbp.errors import UserError
from rnnbp.numerics import HostArray
from rnnbp.sources import Batch, Cursor, Source

VALIDATION_SHARE = 0.1  # the end of the text is never trained on
DEFAULT_BYTES = 1_000_000


@dataclass(frozen=True)
class Text(Source):
    """A character-level language model's data: each character predicts the next.

    The training part is cut into B streams that run side by side, T steps at a time, the state carried from window to
    window; after the last window they start again from their beginning.
    """

    text: str = field(repr=False)

    inputs = "one-hot"
    loss = "cross-entropy"
    time_steps = 50

    def __post_init__(self) -> None:
        if not self.text:
            raise UserError("the text is empty: name a file with at least one window of characters")

    @cached_property
    def _coded(self) -> tuple[str, HostArray]:
        points = np.frombuffer(self.text.encode("utf-32-le"), dtype=np.uint32)
        known, ids = np.unique(points, return_inverse=True)
        return "".join(map(chr, known)), ids

    @property
    def vocabulary(self) -> str:
        """Every character of the text, in the order of their class numbers."""
        return self._coded[0]

    @property
    def input_size(self) -> int:  # type: ignore[override]
        """The number of different characters."""
        return len(self.vocabulary)

    output_size = input_size

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def _parts(self) -> tuple[HostArray, HostArray]:
        ids = self._coded[1]
        edge = len(ids) - round(len(ids) * VALIDATION_SHARE)
        return ids[:edge], ids[edge:]

    def start(self, seed: int) -> Cursor:
        del seed  # the text has one order
        return {"window": 0}

    def batch(self, cursor: Cursor, batch: int, time_steps: int) -> tuple[Batch, Cursor]:
        train = self._parts[0]
        windows = (len(train) - 1) // batch // time_steps
        if not windows:
            needed = batch * time_steps + 1
            raise UserError(
                f"the training part of the text must hold one window, batch × time steps + 1 = {needed} characters; "
                f"got {len(train)}: use more text, a smaller --batch or --time-steps"
            )
        window = cursor["window"]
        if not isinstance(window, int) or not 0 <= window < windows:
            raise UserError(f"a cursor must name one of the text's {windows} windows; got {window!r}")
        return cut(train, batch, time_steps, window), {"window": (window + 1) % windows}

    def validation(self, batch: int, time_steps: int) -> Iterator[Batch]:
        held = self._parts[1]
        time_steps = min(time_steps, len(held) - 1)
        if time_steps < 1:
            raise UserError(
                f"the text must hold at least 15 characters, to keep some for validation; got {len(self.text)}"
            )
        batch = min(batch, (len(held) - 1) // time_steps)
        for window in range((len(held) - 1) // batch // time_steps):
            yield cut(held, batch, time_steps, window)


def cut(ids: HostArray, batch: int, time_steps: int, window: int) -> Batch:
    """Window number `window` of so many streams side by side: class numbers, and those after them."""
    length = (len(ids) - 1) // batch
    starts = np.arange(batch) * length + window * time_steps
    at = starts[None, :] + np.arange(time_steps)[:, None]  # (T, B)
    return Batch(ids[at], ids[at + 1], window == 0)


def coded(text: str, vocabulary: str) -> HostArray:
    """The class numbers of a text by a vocabulary that is there already; a character that it lacks is a UserError."""
    number = {character: k for k, character in enumerate(vocabulary)}
    if strange := sorted(set(text) - set(number)):
        raise UserError(f"a text may hold only characters that the run has seen; got {strange[0]!r}: take another one")
    return np.array([number[character] for character in text])


def read(files: Sequence[str | Path]) -> Text:
    """The text of some files, one after the other; without any, the default corpus."""
    return Text("".join(_decode(Path(name)) for name in files)) if files else default_corpus()


def default_corpus() -> Text:
    """About a megabyte of the Python standard library's own source files, as installed here."""
    folder = Path(sysconfig.get_path("stdlib"))
    parts: list[str] = []
    for path in sorted(folder.glob("*.py")):
        if sum(map(len, parts)) >= DEFAULT_BYTES:
            break
        parts.append(_decode(path))
    if not parts:
        raise UserError(
            f"the default corpus, the standard library's source files, is not at {folder}: name a text file"
        )
    return Text("".join(parts)[:DEFAULT_BYTES])


def _decode(path: Path) -> str:
    if path.is_dir():
        raise UserError(f"a text is a file; {path} is a folder: name the files in it")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"text file not found: {path}") from None
    if not raw:
        raise UserError(f"text file is empty: {path}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"text files must be UTF-8; {path} is not, at byte {error.start}: convert it first") from None
