"""benchmarks/cpu.py: its marks and means, from numbers that are made up here; nothing is timed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def result(cell="lstm", size="100,32,64,128", forward=1.0, both=1.0, share=0.9, memory=(1, 1), path="numba"):
    """A result of `rnnbp bench --json` with the speeds, in units of the peer's, that are asked for; we take 10 ms."""

    def measured(name, times, peak):
        passes = {"forward": times[0], "forward_backward": times[1]}
        rest = {"gflops": 50.0, "share_of_gemm": share, "tokens_per_s": 1.0}
        return {"name": name, **{k: {"min_ms": ms, "median_ms": ms, **rest} for k, ms in passes.items()}} | {
            "peak_bytes": peak
        }

    steps, batch, n_in, n = map(int, size.split(","))
    return {
        "cell": cell,
        "size": {"T": steps, "B": batch, "I": n_in, "H": n},
        "path": path,
        "flop": {"forward": steps * batch * n, "forward_backward": 3 * steps * batch * n},
        "ours": measured("numpy", (10.0, 10.0), memory and memory[0]),
        "peer": measured("torch.nn.LSTM", (10 * forward, 10 * both), memory and memory[1]),
        "speed_in_peers": {"forward": forward, "forward_backward": both},
    }


def run(*results, part="torch", threads=1):
    machine = {"processor": "P", "cores": 2, "system": "S", "python": "3", "versions": {"numpy": "2"}, "blas": "B"}
    about = {"date": "2020-01-01", "repeats": 6, "machine": machine | {"environment": {"OMP_NUM_THREADS": "1"}}}
    size = ",".join(map(str, results[0]["size"].values()))
    return {"part": part, "threads": threads, "size": size, **about, "results": list(results)}


def rows(text, start):
    """The cells of the table's rows that begin with some words."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def target(text, what):
    (row,) = rows(text, what)
    return row[1:]


@pytest.mark.parametrize(
    ("part", "size", "speeds", "marks"),
    [
        ("torch", "100,32,64,128", (1.0, 1.0), (False, False)),
        ("torch", "100,32,64,128", (0.999, 0.999), (True, True)),
        ("torch", "100,32,64,512", (0.95, 1.0), (False, False)),
        ("torch", "100,32,64,512", (0.949, 0.99), (True, True)),
        ("torch", "200,1,32,64", (1.0, 2.99), (False, True)),
        ("torch", "200,1,32,64", (1.0, 3.0), (False, False)),
        ("jax", "100,32,64,128", (0.1, 0.1), (False, False)),
        ("loop", "100,32,64,128", (0.1, 9.99), (False, True)),
        ("loop", "100,32,64,128", (0.1, 10.0), (False, False)),
        ("portable", "100,32,64,128", (0.1, 0.79), (False, True)),
        ("portable", "100,32,64,128", (0.1, 0.8), (False, False)),
    ],
)
def test_a_point_below_its_target_is_marked_and_no_other(part, size, speeds, marks):
    from cpu_tables import table

    text = table([run(result(size=size, forward=speeds[0], both=speeds[1]), part=part)])
    (row,) = rows(text, "1 | lstm")
    assert row[2:4] == [size, "numba"]
    assert tuple(cell.endswith("✗") for cell in row[-2:]) == marks
    assert row[-1].startswith(f"{speeds[1]:.2f} ({speeds[1]:.2f})")


def test_share_and_memory_are_marked_where_they_are_asked_for():
    from cpu_tables import table

    large, small = "100,32,64,512", "100,32,64,128"
    bad = {"share": 0.849, "memory": (2**21 + 1, 2**21)}
    marked, not_asked = (rows(table([run(result(size=s, **bad))]), "1 | lstm")[0] for s in (large, small))
    assert (marked[9], marked[10]) == ("85 % ✗", "2.00 ✗") and not_asked[9:11] == ["85 %", "2.00 ✗"]
    fine = rows(table([run(result(size=large, share=0.85, memory=(1, 1)))]), "1 | lstm")[0]
    assert not any("✗" in cell for cell in fine)
    (unknown,) = rows(table([run(result(size=large, memory=None))]), "1 | lstm")
    assert unknown[10:12] == ["–", "–"]


def test_a_geometric_mean_is_capped_at_four():
    from cpu_tables import table
    from cpu_targets import geometric_mean

    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0) and geometric_mean([1.0, 1e9]) == pytest.approx(2.0)
    runs = [run(result(both=0.25)), run(result(size="50,64,128,256", both=400.0))]
    assert target(table(runs), "torch.nn: LSTM, geometric mean") == ["1.25", "1.00 ✗", "–"]
    runs = [run(result(both=1.0)), run(result(size="50,64,128,256", both=400.0))]
    assert target(table(runs), "torch.nn: LSTM, geometric mean") == ["1.25", "2.00", "–"]
    assert target(table(runs), "torch.nn: GRU, geometric mean") == ["2", "not measured", "–"]


def test_the_summary_takes_the_worst_of_each_number_of_threads():
    from cpu_tables import table

    one = run(result(both=0.5), result("gru", both=2.0), result("rnn", size="200,1,32,64", both=2.5))
    two = run(result(both=1.5, memory=(2, 4)), result("gru", both=3.0, share=0.1), threads=2)
    text = table([one, two])
    assert "| what | at least | 1 thread | 2 threads | points below |" in text
    assert target(text, "torch.nn: fwd+bwd, slowest") == ["1", "0.50 ✗", "1.50", "1 of 5"]
    assert target(text, "torch.nn: fwd+bwd at B = 1") == ["3", "2.50 ✗", "not measured", "1 of 1"]
    assert target(text, "share of GEMM") == ["0.85", "not measured", "not measured", "0 of 0"]
    assert target(text, "torch.nn: its peak memory") == ["1", "1.00", "1.00", "0 of 5"]
    assert target(text, "portable path") == ["0.8", "not measured", "not measured", "0 of 0"]
    jax = table([run(result(both=0.5), part="jax")])
    assert target(jax, "jax.lax.scan: LSTM") == ["–", "0.50", "–"]


def test_every_point_is_listed_and_so_is_what_failed():
    from cpu_tables import table

    cells, sizes = ("lstm", "gru", "rnn"), ("200,1,32,64", "100,8,64,128")
    runs = [run(*(result(cell, size) for cell in cells), threads=n) for size in sizes for n in (1, 2)]
    failed = {"part": "jax", "threads": 1, "size": "9,9,9,9", "cells": ["lstm", "gru"], "error": "rnnbp: they disagree"}
    missing = {**run(result("lstm:peepholes=true"), part="loop"), "missing": "it is not there"}
    text = table([*runs, failed, missing])
    found = [row[:3] for n in (1, 2) for row in rows(text, f"{n} | ")]
    wanted = [[str(n), cell, size] for n in (1, 2) for size in sizes for cell in cells]
    assert sorted(found) == sorted([*wanted, ["1", "lstm:peepholes=true", "100,32,64,128"]])
    assert "Failed: lstm, gru, 9,9,9,9, threads 1: rnnbp: they disagree." in text and "No MGU: it is not there." in text
    assert "P, S; Python 3, numpy 2; NumPy's BLAS: B; environment: nothing set" in text


def test_a_part_that_is_measured_again_replaces_its_own_runs_only():
    from cpu import merged

    runs = []
    for n, part in ((2, "torch"), (1, "jax"), (1, "torch")):
        runs = merged(runs, run(result(), part=part, threads=n))
    again = run(result(both=7.0), part="torch", threads=2)
    after = merged(runs, again)
    assert [(r["part"], r["threads"]) for r in after] == [("torch", 1), ("torch", 2), ("jax", 1)] and after[1] is again
    larger = merged(after, run(result(size="64,64,512,1024")))
    assert [r["size"] for r in larger if r["threads"] == 1][:2] == ["100,32,64,128", "64,64,512,1024"]


def test_fewer_rounds_for_what_takes_long():
    from cpu import PARTS, rounds

    assert [rounds(PARTS["torch"], f"1,1,1,{n}", 10) for n in (512, 1024)] == [10, 5]
    assert [rounds(PARTS["jax"], f"1,1,1,{n}", 10) for n in (512, 1024)] == [5, 3]
    assert rounds(PARTS["jax"], "1,1,1,1024", 1) == 1


def test_the_picture_has_a_panel_for_each_cell_and_part(tmp_path):
    from cpu_tables import panels

    runs = [run(result("gru", size, 0.5, 2.0)) for size in ("100,32,64,128", "1,1,1,1")]
    found = panels([*runs, run(result("mgu", both=20.0), part="loop", threads=2)])
    gru, loop = found[1], found[4]
    assert [panel.title.partition(" ")[0] for panel in found] == [
        "LSTM",
        "GRU",
        "tanh-RNN",
        "Against",
        "Against",
        "Portable",
    ]
    assert gru.labels == ("1,1,1,1", "100,32,64,128") and gru.lines["fwd+bwd, threads 1"] == [2.0, 2.0]
    assert gru.lines["forward, threads 1"] == [0.5, 0.5] and gru.lines["forward, threads 2"] == [None, None]
    assert loop.lines["MGU, threads 2"] == [20.0] and loop.levels == {"target 10": 10.0}
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from rnnbp.benching.plotting import draw

    draw(tmp_path / "p.png", "made up", found)
    assert imread(tmp_path / "p.png").std() > 0.01


def test_the_plugin_is_found_though_it_is_not_installed_and_a_part_runs(tmp_path):
    """One tiny run of the whole command, in processes of their own."""
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    words = ["--part", "loop", "--threads", "1", "--repeats", "1", "--size", "2,3,4,5", "--name", str(tmp_path / "cpu")]
    command = [sys.executable, str(BENCHMARKS / "cpu.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.match(r"\[1/1\] loop, 1 thread, 2,3,4,5: lstm:peepholes=true [\d.]+, mgu [\d.]+ ", done.stderr)
    (found,) = json.loads((tmp_path / "cpu.json").read_text())["runs"]
    assert [r["cell"] for r in found["results"]] == ["lstm:peepholes=true", "mgu"]
    assert all(r["peer"]["name"] == "torch loop" and r["difference"] <= r["tolerance"] for r in found["results"])
    assert found["results"][1]["cell"] in (tmp_path / "cpu.md").read_text() and (tmp_path / "cpu.png").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu.json", "cpu.md", "cpu.png"]


def test_a_mistake_is_told_before_anything_is_timed(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "cpu.py"), "--size", "1,2", "--name", str(tmp_path / "cpu")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "four whole numbers of at least 1; got '1,2'" in done.stderr
    assert list(tmp_path.iterdir()) == []
