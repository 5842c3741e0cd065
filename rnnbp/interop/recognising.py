"""Which format a file of weights has; archives and pickles are refused with what to do instead."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

from safetensors import SafetensorError, safe_open

from rnnbp.errors import UserError


def recognised(path: Path) -> str:
    """The format of a file, by its content and, where that says little, its ending."""
    if path.is_dir():
        return "rnnbp"
    with open(path, "rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:  # the length of a header in JSON
        return "rnnbp" if "rnnbp" in metadata(path) else "torch"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "keras"
    if head.startswith(b"PK\x03\x04"):
        refuse_archive(path)
    if head.startswith(b"\x80"):
        refuse_pickle(path)
    if path.suffix == ".onnx":
        return "onnx"
    raise UserError(f"{path} is no .safetensors, .weights.h5 or .onnx, nor the folder of a run: name another file")


def refuse_archive(path: Path) -> None:
    """Say what an archive is, and how its weights can be had."""
    try:
        names = ZipFile(path).namelist()
    except BadZipFile:
        names = []
    if any(name.endswith("data.pkl") for name in names):
        refuse_pickle(path)
    if "model.weights.h5" in names:
        raise UserError(f'{path} is a whole model of Keras: load it there and model.save_weights("w.weights.h5")')
    raise UserError(f"{path} is an archive of a kind not known here: name .safetensors, .weights.h5 or .onnx")


def refuse_pickle(path: Path) -> None:
    """A pickle runs the code in it when it is read."""
    advice = 'in torch, safetensors.torch.save_file(module.state_dict(), "w.safetensors")'
    raise UserError(f"{path} is a pickle, which can run any code and is not read here: {advice}")


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, ValueError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> UserError:
    """The error for a file that begins as it should and cannot be read."""
    return UserError(f"{path} is damaged or cut short ({error}): use another one")
