"""Kernels on disk: compiled once for all processes, in any folder, by several processes at once, for one machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import agree, portable, problem
from numba_scans import cell, fused, results

pytest.importorskip("numba")
from rnnbp_numpy import caching  # noqa: E402
from rnnbp_numpy.generating import source  # noqa: E402

# A process that scans there and back and says how many of the two kernels it found compiled, and where they are. The
# cell is the one that compiles fastest.
SCAN = """
import sys, numpy as np, rnnbp
from rnnbp_numpy import caching
{before}
cell = rnnbp.cell("elman:activation=identity,bias=false", 4, 6)
params = {{n: w.astype("float32") for n, w in cell.init(np.random.default_rng(0)).items()}}
ys, _, backward = rnnbp.scan(cell, params, np.ones((5, 3, 4), "float32"))
dparams, _, _ = backward(ys)
made = caching.kernel(cell, "float32")
hits = sum(sum(f.stats.cache_hits.values()) for f in (made.forward, made.backward))
misses = sum(sum(f.stats.cache_misses.values()) for f in (made.forward, made.backward))
print(hits, misses, float(ys.sum() + dparams["U"].sum()), made.__file__)
"""
REFUSED = """
import tempfile
made = tempfile.NamedTemporaryFile
def refusing(*args, dir=None, **rest):
    if str(dir).startswith({folder!r}):
        raise PermissionError(f"no writing to {{dir}}")
    return made(*args, dir=dir, **rest)
tempfile.NamedTemporaryFile = refusing
"""


def started(folder, before=""):
    environment = os.environ | {"RNNBP_CACHE_DIR": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-W", "error", "-c", SCAN.format(before=before)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Hits, misses, a number that tells results apart, the module's file."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and err == "", err
    hits, misses, number, path = out.split(maxsplit=3)
    return int(hits), int(misses), float(number), Path(path.strip())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that two processes have filled, who began at the same moment; and what they computed."""
    folder = tmp_path_factory.mktemp("cache") / "deep" / "down"
    one, two = (ended(process) for process in [started(folder) for _ in range(2)])
    assert one[2] == two[2] and one[3] == two[3] and folder in one[3].parents
    assert not list(folder.rglob("*.part"))
    return folder, one[2]


def test_a_process_that_comes_later_compiles_nothing(filled):
    folder, number = filled
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*.nb?"))
    assert ended(started(folder))[:3] == (2, 0, number)
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*.nb?")) == before and before


def test_a_cache_that_was_moved_serves_on(filled, tmp_path):
    shutil.copytree(filled[0], tmp_path / "moved", copy_function=shutil.copyfile)  # with other dates
    assert ended(started(tmp_path / "moved"))[:3] == (2, 0, filled[1])


def test_a_filled_cache_that_cannot_be_written_to_is_used(filled):
    folder, number = filled
    hits, misses, found, path = ended(started(folder, REFUSED.format(folder=str(folder))))
    assert (hits, misses, found) == (2, 0, number)
    assert folder not in path.parents and not path.exists(), "the process's own copy is gone with it"


def test_what_lies_in_the_cache_broken_is_made_anew(filled, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(filled[0], folder)
    for path in folder.rglob("rnnbp_*.py"):
        path.write_text("raise SystemExit('cut off in the m")
    assert ended(started(folder))[2] == filled[1]


def test_where_no_cache_can_be_made_one_process_has_its_own(filled, tmp_path):
    """A file lies where the folder should be; so it does for root, whom no mode of a folder keeps from writing."""
    (tmp_path / "cache").write_text("in the way")
    hits, misses, number, path = ended(started(tmp_path / "cache"))
    assert (hits, misses, number) == (0, 2, filled[1]) and not path.exists()
    assert (tmp_path / "cache").read_text() == "in the way"


# ---- in this process -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("no locator available")])
def test_a_disk_that_fills_up_while_it_compiles(monkeypatch, tmp_path, error):
    """Numba's own writing fails, in the cache and there only: the process goes on in a folder of its own."""
    run, tried = caching._run, []

    def failing(name, path):
        tried.append(path)
        if tmp_path in path.parents:
            raise error
        return run(name, path)

    monkeypatch.setenv("RNNBP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching, "_run", failing)
    monkeypatch.setattr(caching, "_MODULES", {})
    text = "from numba import njit\nforward = backward = njit(lambda: 1)\n"
    assert caching._loaded.__wrapped__(text).forward.py_func() == 1
    assert len(tried) == 2 and tmp_path not in tried[1].parents


def test_a_write_that_breaks_off_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(caching.os, "utime", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        caching._written(tmp_path / "x.py", "text")
    assert list(tmp_path.iterdir()) == []


def test_the_key_tells_apart_what_machine_code_depends_on(monkeypatch):
    base = source(cell("lstm"), "float32")
    texts = [base, source(cell("lstm"), "float64"), source(cell("lstm:peepholes=true"), "float32")]
    keys = [caching._key(text) for text in texts]
    assert caching._key(base) == keys[0] == caching._key(source(cell("lstm", 9, 19), "float32"))  # of any size
    changes = [(caching.numba, "__version__"), (caching.llvmlite, "__version__"), (caching.np, "__version__")]
    for owner, name in [*changes, (caching.sys, "version")]:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, "0.0.0 another")
            keys.append(caching._key(base))
    with monkeypatch.context() as patched:
        patched.setattr(caching.binding, "get_host_cpu_name", lambda: "abacus")
        keys.append(caching._key(base))
    with monkeypatch.context() as patched:
        features = caching.binding.get_host_cpu_features()
        features["beads"] = True
        patched.setattr(caching.binding, "get_host_cpu_features", lambda: features)
        keys.append(caching._key(base))
    assert len({*keys}) == len(keys) == 9


@pytest.mark.parametrize("name", ["functions", "products"])
def test_the_key_knows_what_the_text_imports(monkeypatch, tmp_path, name):
    text = source(cell("lstm"), "float32")
    key = caching._key(text)
    shutil.copytree(caching._HERE, tmp_path / "there", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(caching, "_HERE", tmp_path / "there")
    assert caching._key(text) == key
    with (tmp_path / "there" / f"{name}.py").open("a") as more:
        more.write("# changed\n")
    assert caching._key(text) != key


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNBP_CACHE_DIR", str(tmp_path))
    assert caching.folder() == tmp_path
    monkeypatch.delenv("RNNBP_CACHE_DIR")
    assert caching.folder().is_absolute() and "rnnbp" in caching.folder().parts


def test_a_cell_that_is_changed_is_compiled_anew():
    class Doubled(type(cell("rnn"))):
        def pointwise(self, xp, a, s, p, e):
            (h,), back = super().pointwise(xp, a, s, p, e)
            return (2 * h,), lambda ds1: back(tuple(2 * d for d in ds1))

    Doubled.__name__ = type(cell("rnn")).__name__
    q, r = problem(cell("rnn"), dtype="float32"), problem(Doubled(4, 6), dtype="float32")
    for one in (q, r):
        agree(results(one, fused), results(one, portable), "float32")
    assert not np.array_equal(results(q, fused)["ys"], results(r, fused)["ys"])
