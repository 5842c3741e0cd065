"""Text windows and generated tasks: what each batch holds, and that a cursor fixes it."""

import json

import numpy as np
import pytest

from rnnbp import UserError, text
from rnnbp.registry import TASKS
from rnnbp.tasks.copying import Copying
from rnnbp.tasks.temporal_order import X


def test_text_windows_follow_each_other():
    source = text.Text("abcdefghij" * 30)
    assert source.vocabulary == "abcdefghij" and source.input_size == source.output_size == 10
    first, cursor = source.batch(source.start(0), 2, 5)
    second, _ = source.batch(cursor, 2, 5)
    assert first.xs.shape == first.targets.shape == (5, 2) and first.fresh and not second.fresh
    stream = np.concatenate([first.xs, second.xs])
    assert np.array_equal(stream[1:], np.concatenate([first.targets, second.targets])[:-1])
    length = (270 - 1) // 2
    assert first.xs[0].tolist() == [0, length % 10]


def test_text_starts_again_after_its_last_window():
    source = text.Text("abcd" * 30)
    cursor, seen = source.start(0), []
    for _ in range(8):
        batch, cursor = source.batch(cursor, 3, 10)
        seen.append(batch)
    windows = (108 - 1) // 3 // 10
    assert windows == 3
    assert [batch.fresh for batch in seen] == [True, False, False] * 2 + [True, False]
    assert np.array_equal(seen[0].xs, seen[3].xs)


def test_validation_is_never_trained_on():
    source = text.Text("".join(map(chr, range(200, 1200))))  # every character is another
    trained, cursor = set(), source.start(0)
    for _ in range(30):
        batch, cursor = source.batch(cursor, 2, 20)
        trained |= set(batch.xs.ravel()) | set(batch.targets.ravel())
    batches = list(source.validation(2, 20))
    held = {c for batch in batches for c in (*batch.xs.ravel(), *batch.targets.ravel())}
    assert held and not held & trained
    assert [batch.fresh for batch in batches] == [True] + [False] * (len(batches) - 1)


def test_text_files(tmp_path):
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes("zß€".encode()), two.write_bytes(b"xy")
    assert text.read([one, two]).text == "zß€xy"
    assert text.read([one]).fingerprint != text.read([two]).fingerprint


def test_default_corpus_is_python():
    corpus = text.read([])
    assert "import" in corpus.text and len(corpus.text) > 500_000


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "not found"), (b"", "is empty"), (b"abc\xff", "UTF-8; .* at byte 3: convert")],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        text.read([path])


def test_text_too_short_for_a_window_is_refused():
    source = text.Text("abcdefghij" * 3)
    with pytest.raises(UserError, match=r"batch × time steps \+ 1 = 41 characters; got 27"):
        source.batch(source.start(0), 2, 20)
    with pytest.raises(UserError, match="keep some for validation"):
        list(text.Text("ab").validation(1, 1))
    with pytest.raises(UserError, match="text is empty"):
        text.Text("")


@pytest.mark.parametrize("name", sorted(TASKS))
def test_tasks_fit_their_own_sizes(name):
    task = TASKS.make(name)
    batch, cursor = task.batch(task.start(3), task.batch_size, task.time_steps)
    assert batch.xs.shape[:2] == (task.time_steps, task.batch_size)
    assert task.inputs == "one-hot" or batch.xs.shape[2] == task.input_size
    assert task.inputs == "dense" or 0 <= batch.xs.min() <= batch.xs.max() < task.input_size
    again, same = task.batch(json.loads(json.dumps(task.start(3))), task.batch_size, task.time_steps)
    assert np.array_equal(batch.xs, again.xs) and np.array_equal(batch.targets, again.targets) and cursor == same
    one, two = (list(task.validation(task.batch_size, task.time_steps)) for _ in range(2))
    assert all(np.array_equal(a.xs, b.xs) for a, b in zip(one, two, strict=True))


def test_four_steps_is_the_example():
    task = TASKS.make("four-steps")
    batch, _ = task.batch(task.start(0), 1, 4)
    assert batch.xs.tolist() == [[[1, 1]]] * 4 and batch.targets.tolist() == [[[0, 1]]] * 4
    with pytest.raises(UserError, match="one sequence of 4 steps; got 2 sequences of 5"):
        task.batch(task.start(0), 2, 5)


def test_adding_marks_one_number_in_each_half():
    task = TASKS.make("adding")
    batch, _ = task.batch(task.start(0), 20, 9)
    numbers, marks = batch.xs[..., 0], batch.xs[..., 1]
    assert (marks[:4].sum(0) == 1).all() and (marks[4:].sum(0) == 1).all()
    assert np.allclose(batch.targets[:, 0], (numbers * marks).sum(0), rtol=1e-15)


def test_copying_asks_for_the_message_at_the_end():
    task = Copying(symbols=5, length=3)
    batch, _ = task.batch(task.start(0), 4, 10)
    assert np.array_equal(batch.xs[:3], batch.targets[-3:])
    assert (batch.xs[6] == 6).all() and (batch.xs[[3, 4, 5, 7, 8, 9]] == 5).all() and (batch.targets[:-3] == 5).all()
    with pytest.raises(UserError, match="needs at least 7 time steps; got 6"):
        task.batch(task.start(0), 4, 6)
    with pytest.raises(UserError, match="symbols of task copy must be"):
        TASKS.make("copy:symbols=0")


def test_temporal_order_names_the_order():
    task = TASKS.make("temporal-order")
    batch, _ = task.batch(task.start(0), 50, 40)
    for b in range(50):
        found = [s - X for s in batch.xs[1:-1, b] if s in (X, X + 1)]
        assert len(found) == 2 and 2 * found[0] + found[1] == batch.targets[b]
    assert set(batch.targets) == {0, 1, 2, 3}
