"""What can be tried of benchmarks/gpu.py without a GPU: everything but the measuring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnbp
from rnnbp.registry import BACKENDS

FOLDER = Path(__file__).parents[1] / "benchmarks"
REASON = BACKENDS.load("cupy").available()


@pytest.fixture
def scripts(monkeypatch):
    """The benchmark's modules, as a script finds them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu
    import gpu_numbers
    import gpu_timings

    yield gpu, gpu_timings, gpu_numbers
    for name in ("gpu", "gpu_timings", "gpu_numbers"):
        sys.modules.pop(name)


@pytest.mark.skipif(REASON is None, reason="there is a GPU: the benchmark itself can be run")
def test_without_a_gpu_it_says_so_in_one_line(scripts, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts[0], "RESULTS", tmp_path)
    assert scripts[0].main(["--name", "none", "--parts", "timings"]) == 2
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and REASON in said
    assert not list(tmp_path.iterdir())


def test_words_that_mean_nothing_are_refused(scripts):
    with pytest.raises(SystemExit):
        scripts[0].main(["--parts", "everything"])


def test_all_budgets_together_are_under_eight_minutes(scripts):
    assert sum(budget for _, budget in scripts[0].PARTS.values()) <= 450


def test_a_part_that_fails_or_hangs_is_recorded_with_what_it_had_found(scripts):
    line = 'import json, time; print(json.dumps({"part": "x", "n": 1}), flush=True); '
    fine, broken, slow = (
        scripts[0].run_part(["-c", line + end], 5 if end != "time.sleep(60)" else 1)
        for end in ("print('well')", "raise ValueError('no such thing')", "time.sleep(60)")
    )
    assert [r["found"] for r in (fine, broken, slow)] == [[{"part": "x", "n": 1}]] * 3
    assert (fine["ended"], fine["last_words"]) == ("finished", ["well"])
    assert broken["ended"] == "failed with exit 1" and "no such thing" in broken["last_words"][-1]
    assert slow["ended"] == "cut off after 1 s" and slow["seconds"] < 10


def test_numbers_and_picture_are_written(scripts, tmp_path):
    """Made-up timings; what is written here is never a result."""
    gpu, timings, _ = scripts
    rows = []
    for k, name in enumerate(timings.CELLS):
        for size in timings.SIZES:
            row = {"part": "timings", "cell": name, "size": list(size), "mode": "bf16", "apart": 0.0, "equal": True}
            row["ours_ms"] = {"forward": 1.0 + k, "both": 3.0 + k}
            rows.append(row | {"torch_ms": {"forward": 2.0, "both": 4.0} if timings.CELLS[name] else None})
    rows.append({"part": "timings", "cell": "lstm", "size": [1, 1, 1], "mode": "fp16", "failed": "made up"})
    found = {"parts": {"timings": {"found": rows}}}
    written = gpu.write(found, tmp_path / "gpu-made-up")
    assert json.loads(written[0].read_text()) == found
    if len(written) == 1:
        pytest.skip("matplotlib is not installed")
    assert written[1].read_bytes()[:4] == b"\x89PNG"


def test_a_case_is_compared_and_timed(scripts, monkeypatch):
    """The same case on the host: ours in generated kernels on NumPy, torch on its CPU, clocks for device events."""
    torch = pytest.importorskip("torch")
    from host_device import COMPILER, Host
    from rnnbp_cupy.scanning import scan

    if COMPILER is None:
        pytest.skip("there is no C compiler")
    _, timings, _ = scripts
    there = rnnbp.backend("numpy")

    def ours(cell, q, *_):
        params = {n: a for n, a in q.items() if n not in ("xs", "dys")}
        s0 = cell.initial_state(np, q["xs"].shape[1], q["xs"])
        run = lambda keep: scan(Host(), cell, params, q["xs"], s0, **timings.PLAIN, keep=keep)
        return {"forward": lambda: run(False)[0], "both": lambda: (run(True)[0], run(True)[2](q["dys"])[1])}

    monkeypatch.setattr(timings, "ours", ours)
    monkeypatch.setattr(timings, "host", lambda a: np.asarray(a.detach() if hasattr(a, "detach") else a, "float64"))
    monkeypatch.setattr(timings, "SECONDS", 0.0)
    monkeypatch.setattr(timings.rnnbp, "backend", lambda *_: there)
    cuda, to = torch.device("cpu"), torch.Tensor.to
    moved = lambda x, *where: to(x, cuda, where[1])
    monkeypatch.setattr(torch.Tensor, "to", moved)
    monkeypatch.setattr(torch.nn.Module, "to", lambda layer, *_: layer)
    for name, kind in timings.CELLS.items():
        line = json.loads(json.dumps(timings.case(name, (4, 3, 5), "fp32")))
        assert line["equal"] and line["rounds"] >= 3, line
        assert (line["torch_ms"] is None) == (kind is None) and line["ours_ms"]["both"] > 0
    spoiled = lambda *given: {k: lambda f=f: tuple(1.001 * a for a in f()) for k, f in ours(*given).items()}
    monkeypatch.setattr(timings, "ours", spoiled)
    assert not timings.case("lstm", (4, 3, 5), "fp32")["equal"]


def test_the_kernels_compile(scripts):
    pytest.importorskip("cupy", reason="CuPy is not installed")
    from cupy_backends.cuda.libs import nvrtc

    try:
        nvrtc.getVersion()
    except RuntimeError as error:
        pytest.skip(f"NVRTC is not installed: {str(error).splitlines()[0]}")
    for name, source in scripts[2].KERNELS.items():
        program = nvrtc.createProgram(source, f"{name}.cu", [], [])
        nvrtc.compileProgram(program, ["--gpu-architecture=sm_90", "--std=c++14"])
        assert bytes(nvrtc.getCUBIN(program))[:4] == b"\x7fELF"
