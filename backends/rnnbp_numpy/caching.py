"""Generated modules on disk: Numba compiles a function once for all processes only where it came from a file."""

from __future__ import annotations

import os
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

from rnnbp.cellbase import PointwiseCell
from rnnbp_numpy.generating import source

_LOCK = Lock()
_HERE = Path(__file__).parent


@lru_cache(maxsize=256)
def kernel(cell: PointwiseCell, dtype: str) -> ModuleType:
    """The compiled `forward` and `backward` of a cell; `Untraceable` where there can be none."""
    return _loaded(source(cell, dtype))


@lru_cache(maxsize=256)
def _loaded(text: str) -> ModuleType:
    """The module of that text, compiled now or by an earlier process."""
    with _LOCK:
        name = f"rnnbp_{_key(text)}"
        if name not in sys.modules:
            spec = spec_from_file_location(name, _file(name, text))
            if spec is None or spec.loader is None:
                raise ImportError(f"the generated module {name} cannot be loaded")
            module = module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]


def _key(text: str) -> str:
    """All that machine code depends on: the text, what it imports, the versions, the processor."""
    imported = [(_HERE / f"{name}.py").read_text(encoding="utf-8") for name in ("functions", "products")]
    versions = [numba.__version__, llvmlite.__version__, np.__version__, sys.version, binding.get_host_cpu_name()]
    features = binding.get_host_cpu_features().flatten()
    return sha256("\0".join([text, *imported, *versions, features]).encode()).hexdigest()[:20]


def folder() -> Path:
    """Where generated modules are kept: $RNNBP_CACHE_DIR, else rnnbp in the user's cache."""
    if named := os.environ.get("RNNBP_CACHE_DIR"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rnnbp" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rnnbp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnbp"


def _file(name: str, text: str) -> Path:
    """The module's file, in a folder of its own that can be written to: the cache, or else one for this process."""
    try:
        home = folder() / name
        home.mkdir(parents=True, exist_ok=True)
        return _written(home / f"{name}.py", text)
    except (OSError, RuntimeError):  # no home, a full disk, a file in the way
        return _written(_copied(name) / f"{name}.py", text)


def _written(path: Path, text: str) -> Path:
    """The file, written whole or not at all, and left alone where it stands already: Numba looks at its date."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as beside:
        beside.write(text)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        Path(beside.name).unlink()
    else:
        Path(beside.name).replace(path)
    return path


def _copied(name: str) -> Path:
    """A folder for this process alone, with what a cache that cannot be written to has compiled already."""
    import atexit

    own = Path(tempfile.mkdtemp(prefix="rnnbp-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    try:
        shutil.copytree(folder() / name, own / name)
        (own / name).chmod(0o700)
        (own / name / "__pycache__").chmod(0o700)
    except (OSError, RuntimeError):
        (own / name).mkdir(exist_ok=True)
    return own / name
