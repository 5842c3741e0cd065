"""Generated modules on disk: Numba compiles a function once for all processes only where it came from a file."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import sys
import tempfile
from functools import lru_cache
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Lock
from types import ModuleType

import llvmlite
import numba
import numpy as np
from llvmlite import binding

from rnnbp.pointwise import PointwiseCell
from rnnbp_numpy.generating import source

_LOCK = Lock()
_MODULES: dict[str, ModuleType] = {}  # those that have run to their end, by name
_HERE = Path(__file__).parent
_DATE = 1_500_000_000  # of every file: Numba compiles anew where a file is another one, by size and date


@lru_cache(maxsize=256)
def kernel(cell: PointwiseCell, dtype: str) -> ModuleType:
    """The compiled `forward` and `backward` of a cell; `Untraceable` where there can be none."""
    return _loaded(source(cell, dtype))


@lru_cache(maxsize=256)
def _loaded(text: str) -> ModuleType:
    """The module of that text, compiled now or by an earlier process."""
    name = f"rnnbp_{_key(text)}"
    with _LOCK:
        if name not in _MODULES:
            try:
                _MODULES[name] = _run(name, _written(_shared(name) / f"{name}.py", text))
            except (OSError, RuntimeError):  # no home, a full disk, a file in the way, no folder that Numba writes to
                _MODULES[name] = _run(name, _written(_own(name) / f"{name}.py", text))
        return _MODULES[name]


def _run(name: str, path: Path) -> ModuleType:
    """The file's module, which compiles as it runs."""
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"the generated module {name} cannot be loaded")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _key(text: str) -> str:
    """All that machine code depends on: the text, what it imports, the versions, the processor."""
    versions = [numba.__version__, llvmlite.__version__, np.__version__, sys.version, binding.get_host_cpu_name()]
    features = binding.get_host_cpu_features().flatten()
    return sha256("\0".join([*_with_imports(text), *versions, features]).encode()).hexdigest()[:20]


def _with_imports(text: str) -> list[str]:
    """A text, and those of the modules of this package that it imports, each once."""
    found, texts = set[str](), [text]
    for known in texts:  # which grows
        for name in re.findall(r"^from rnnbp_numpy\.(\w+) import", known, re.MULTILINE):
            if name not in found:
                found.add(name)
                texts.append((_HERE / f"{name}.py").read_text(encoding="utf-8"))
    return texts


def folder() -> Path:
    """Where generated modules are kept: $RNNBP_CACHE_DIR, else rnnbp in the user's cache."""
    if named := os.environ.get("RNNBP_CACHE_DIR"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rnnbp" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rnnbp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnbp"


def _shared(name: str) -> Path:
    """The module's own folder in the cache."""
    home = folder() / name
    home.mkdir(parents=True, exist_ok=True)
    return home


def _own(name: str) -> Path:
    """A folder for this process alone, with what a cache that cannot be written to has compiled already."""
    own = Path(tempfile.mkdtemp(prefix="rnnbp-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    try:
        shutil.copytree(folder() / name, own / name, copy_function=shutil.copyfile)
    except (OSError, RuntimeError):
        (own / name).mkdir(exist_ok=True)
    for copied in (own / name, own / name / "__pycache__"):
        if copied.exists():
            copied.chmod(0o700)  # copytree gives the rights of the original
    return own / name


def _written(path: Path, text: str) -> Path:
    """The file, written whole or not at all; it is also how one finds out whether the folder can be written to."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as beside:
        part = Path(beside.name)
        try:
            beside.write(text)
            beside.flush()
            os.utime(part, (_DATE, _DATE))
        except OSError:
            part.unlink()
            raise
    part.replace(path)
    return path


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _LOCK
    _LOCK = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
