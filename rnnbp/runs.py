"""Run folders: what a training run leaves on disk, written so that it can be killed at any moment and go on.

RUN/config.json      what was asked for
RUN/metrics.csv      one row per evaluation
RUN/flow.csv         one row per sample of the gradient's flow, where it was asked for
RUN/last.safetensors all that going on needs: weights, moments, carried states and, as JSON metadata, everything else
RUN/best.safetensors the same at the lowest validation loss
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from rnnbp import rows
from rnnbp.errors import UserError
from rnnbp.numerics import HostArray

FORMAT = 2
READABLE = (1, 2)
FILES = {"config.json", "metrics.csv", "flow.csv", "last.safetensors", "best.safetensors", "curve.png"}
FIRST = ("step", "train_loss", "valid_loss", "grad_norm", "clipped", "tokens_per_second")  # those of format 1
CLIPPING = ("clip_value", "clip_tensor", "clip_norm", "norm_ratio", "cosine", "cosine_min")
COLUMNS = (*FIRST, "penalty", *CLIPPING, "clip_step", "norm_ratio_step", "cosine_step")


@dataclass(frozen=True)
class Checkpoint:
    """Host arrays by name, and everything else as what JSON can hold."""

    arrays: Mapping[str, HostArray]
    meta: Mapping[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace a checkpoint in one step: whoever reads it, at any moment, finds the old one or the new one, whole."""
    # safetensors writes an array's memory as it lies: it must be in C order
    arrays = {name: np.asarray(a, order="C") for name, a in checkpoint.arrays.items()}
    meta = json.dumps({"format": FORMAT, **checkpoint.meta}, sort_keys=True)
    replace_file(path, save(arrays, metadata={"rnnbp": meta}))


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint from disk; one that is missing, cut short or from elsewhere is a UserError."""
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: name the folder of a run")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("rnnbp")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a Mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"checkpoint {path} is damaged or cut short ({error}): use another one") from None
    if text is None:
        raise UserError(f"{path} is a safetensors file, but not a checkpoint of rnnbp: it has no such metadata")
    try:
        meta = json.loads(text)
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise UserError(f"checkpoint {path} is damaged, its metadata are not readable: use another one")
    if meta.get("format") not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise UserError(f"checkpoint {path} has format {meta.get('format')}, this version reads {known}")
    return Checkpoint(arrays, meta)


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename, flush the folder."""
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make a rename in a folder last; systems that cannot open a folder do so by themselves."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def create_run(
    folder: Path,
    config: Mapping[str, Any],
    first: Checkpoint,
    row: Mapping[str, Any],
    force: bool,
    sample: Mapping[str, Any] | None = None,
) -> None:
    """A new run folder, complete with its first checkpoint, in one step; an existing one only gives way to `force`.

    row, sample: the first of metrics.csv and, where the flow is recorded, of flow.csv. Under `force` the old run is
    moved aside first and removed last, so at every moment one of the two is whole.
    """
    check_free(folder, force)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("tmp", "old"))
    staging.mkdir()
    try:
        write_config(staging, config)
        replace_file(staging / "metrics.csv", rows.written(COLUMNS, [row]).encode())
        if sample is not None:
            append_flow_row(staging, sample)
        for name in ("last.safetensors", "best.safetensors"):
            write_checkpoint(staging / name, first)
        if folder.exists():
            os.replace(folder, old)
        os.replace(staging, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        shutil.rmtree(staging, ignore_errors=True)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """RUN/config.json, for people: a run itself reads its checkpoint."""
    replace_file(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())


def check_free(folder: Path, force: bool) -> None:
    """A folder is free if it is not there or is empty; with `force` also if it is a run and nothing but a run."""
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise UserError(f"a run needs a folder of its own, not the one you are in; got {folder}: name another --out")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "last.safetensors").is_file():
        raise UserError(f"{folder} exists and is not a run: name another folder with --out")
    others = sorted({path.name for path in folder.iterdir()} - FILES - {f"{name}.tmp" for name in FILES})
    if force and others:
        raise UserError(
            f"run {folder} also holds {others[0]}, which --force would lose: move it, or name another --out"
        )
    if not force:
        raise UserError(f"run {folder} exists: --resume {folder} goes on with it, --force starts it anew")


def append_row(folder: Path, row: Mapping[str, Any]) -> None:
    """One row more in metrics.csv, on the disk when this returns."""
    rows.append(folder / "metrics.csv", COLUMNS, row)


def read_rows(folder: Path) -> list[rows.Row]:
    """The rows of metrics.csv as numbers, None where a field is empty or an earlier version had no such column."""
    return [{c: row.get(c) for c in COLUMNS} for row in rows.read(folder / "metrics.csv")[1]]


def append_flow_row(folder: Path, row: Mapping[str, Any]) -> None:
    """One row more in flow.csv, whose columns are those of its first row: what is not among them is left out."""
    if columns := rows.columns(folder / "flow.csv"):
        rows.append(folder / "flow.csv", columns, row)
    else:
        replace_file(folder / "flow.csv", rows.written(list(row), [row]).encode())


def read_flow_rows(folder: Path) -> list[rows.Row]:
    """The rows of flow.csv, what `train --flow` recorded: "step", and "<measure>.<number>"; none without the file."""
    return rows.read(folder / "flow.csv")[1]


def cut_rows(folder: Path, step: int) -> None:
    """Forget the rows after a step: a run that goes on from there writes them again."""
    kept = [row for row in read_rows(folder) if row["step"] <= step]
    columns, samples = rows.read(folder / "flow.csv")
    replace_file(folder / "metrics.csv", rows.written(COLUMNS, kept).encode())
    if columns:
        left = (row for row in samples if row["step"] <= step)
        replace_file(folder / "flow.csv", rows.written(columns, left).encode())
