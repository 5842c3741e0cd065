"""Run folders: checkpoints come back to the bit, and whatever is wrong with one is a single line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnbp import UserError
from rnnbp.runs import COLUMNS, Checkpoint, append_row, check_free, create_run, cut_rows, read_checkpoint, read_rows
from rnnbp.runs import write_checkpoint as write

ROW = dict.fromkeys(COLUMNS) | {"step": 0, "valid_loss": 0.1 + 0.2}


def some_checkpoint():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal((3, 4)).T, "b": np.asarray(3), "c": np.arange(6.0, dtype=np.float32)[::2]}
    return Checkpoint(arrays, {"step": 5, "words": "zß€\n"})


def test_a_checkpoint_comes_back_to_the_bit(tmp_path):
    """Transposed and strided arrays too: safetensors by itself would write their memory as it lies."""
    checkpoint = some_checkpoint()
    write(tmp_path / "x.safetensors", checkpoint)
    found = read_checkpoint(tmp_path / "x.safetensors")
    assert found.meta["step"] == 5 and found.meta["words"] == "zß€\n"
    for name, a in checkpoint.arrays.items():
        assert np.array_equal(found.arrays[name], a)
        assert found.arrays[name].dtype == a.dtype and found.arrays[name].shape == a.shape
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write(path, some_checkpoint())
    before = path.read_bytes()

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="No space"):
        write(path, Checkpoint({}, {"step": 6}))
    assert path.read_bytes() == before


def test_every_shortened_checkpoint_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    write(path, some_checkpoint())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged or cut short"):
            read_checkpoint(path)


def test_foreign_checkpoints_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="no checkpoint at"):
        read_checkpoint(path)
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(UserError, match="not a checkpoint of rnnbp"):
        read_checkpoint(path)
    for damage in ("{", "[1, 2]", "null"):
        save_file({"a": np.zeros(2)}, path, metadata={"rnnbp": damage})
        with pytest.raises(UserError, match="damaged, its metadata are not readable"):
            read_checkpoint(path)
    save_file({"a": np.zeros(2)}, path, metadata={"rnnbp": json.dumps({"format": 99})})
    with pytest.raises(UserError, match="format 99, this version reads 1 and 2"):
        read_checkpoint(path)


def test_a_run_is_created_whole(tmp_path):
    folder = tmp_path / "deep" / "run"
    create_run(folder, {"cell": "gru"}, some_checkpoint(), ROW, force=False)
    names = {"config.json", "metrics.csv", "last.safetensors", "best.safetensors"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    assert read_rows(folder) == [ROW]


def test_a_run_gives_way_only_to_force(tmp_path):
    folder = tmp_path / "run"
    create_run(folder, {}, some_checkpoint(), ROW, force=False)
    with pytest.raises(UserError, match="exists: --resume .* goes on with it, --force starts it anew"):
        create_run(folder, {}, some_checkpoint(), ROW, force=False)
    create_run(folder, {}, some_checkpoint(), ROW | {"step": 1}, force=True)
    assert read_rows(folder)[0]["step"] == 1
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"also holds notes.txt, which --force would lose"):
        check_free(folder, force=True)


def test_a_failure_under_force_leaves_the_old_run(tmp_path, monkeypatch):
    """Whatever fails on the way, the old run is where it was, and nothing is left beside it."""
    folder = tmp_path / "run"
    create_run(folder, {}, some_checkpoint(), ROW, force=False)
    before = (folder / "last.safetensors").read_bytes()
    rename = os.replace

    def broken(source, target):
        if str(source).endswith(".tmp") and str(target) == str(folder):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="Input/output"):
        create_run(folder, {}, Checkpoint({}, {"step": 0}), ROW, force=True)
    assert (folder / "last.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_folder_one_is_in_is_refused(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for name in (".", "..", str(tmp_path)):
        with pytest.raises(UserError, match="a run needs a folder of its own"):
            check_free(Path(name), force=True)


def test_damaged_metrics_are_one_line(tmp_path):
    folder = tmp_path / "run"
    create_run(folder, {}, some_checkpoint(), ROW, force=False)
    for damage in (b"1,two" + b",3" * (len(COLUMNS) - 2) + b"\n", b"\xff\xfe\n", b"1,0.5\n"):
        whole = (folder / "metrics.csv").read_bytes()
        (folder / "metrics.csv").write_bytes(whole + damage)
        with pytest.raises(UserError, match="must hold the numbers that the run wrote .*: move it away to go on"):
            read_rows(folder)
        (folder / "metrics.csv").write_bytes(whole)
    (folder / "metrics.csv").write_text("loss,step\n0.5,1\n")
    with pytest.raises(UserError, match="its first column is not step"):
        cut_rows(folder, 0)


def test_rows_of_an_earlier_version_are_read_and_go_on(tmp_path):
    """It wrote fewer columns; what is written anew has them all."""
    folder = tmp_path / "run"
    create_run(folder, {}, some_checkpoint(), ROW, force=False)
    old = ["step,train_loss,valid_loss,grad_norm,clipped,tokens_per_second", "0,,0.5,,,", "4,0.25,0.5,1.5,0.0,100"]
    (folder / "metrics.csv").write_text("\n".join(old) + "\n")
    first, second = read_rows(folder)
    assert list(first) == list(COLUMNS) and first["valid_loss"] == 0.5 and first["penalty"] is None
    assert second["grad_norm"] == 1.5 and second["cosine"] is None
    cut_rows(folder, 4)
    append_row(folder, ROW | {"step": 8, "penalty": 0.125})
    assert [row["penalty"] for row in read_rows(folder)] == [None, None, 0.125]
    assert (folder / "metrics.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_what_is_not_a_run_is_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    for force in (False, True):
        with pytest.raises(UserError, match="exists and is not a run"):
            check_free(tmp_path, force)
    check_free(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty", force=False)


def test_rows_after_the_checkpoint_and_halves_of_rows_are_cut(tmp_path):
    folder = tmp_path / "run"
    create_run(folder, {}, some_checkpoint(), ROW, force=False)
    rows = [ROW | {"step": k, "train_loss": 1 / 3 + k} for k in (10, 20, 30)]
    for row in rows:
        append_row(folder, row)
    with open(folder / "metrics.csv", "a") as file:
        file.write("40,0.33")
    assert [row["step"] for row in read_rows(folder)] == [0, 10, 20, 30]
    cut_rows(folder, 20)
    assert read_rows(folder) == [ROW, *rows[:2]]
    cut_rows(folder, 20)
    assert read_rows(folder) == [ROW, *rows[:2]]
