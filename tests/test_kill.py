"""A run killed without warning, again and again, ends with the same bits as one left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rnnbp.runs import read_checkpoint, read_flow_rows, read_rows

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")

KILLS = 20
OPTIONS = "--hidden 12 --time-steps 8 --batch 4 --steps 1500 --save-every 15 --threads 1 --seed 5".split()
FLOW = ["--flow", "every=10,sequences=1,measures=states"]


def start(*words):
    command = [sys.executable, "-m", "rnnbp_cli", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_a_checkpoint(process, folder):
    path = folder / "last.safetensors"
    before = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


def test_kill_and_resume(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("so shaken as we are, so wan with care, find we a time for frighted peace to pant. " * 20)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start(str(text), *OPTIONS, *FLOW, "--out", str(whole))
    assert process.wait(timeout=300) == 0, process.stderr.read()
    process.stderr.close()

    process = start(str(text), *OPTIONS, *FLOW, "--out", str(parts))
    while not (parts / "last.safetensors").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    moments, seen = random.Random(0), set()
    for kill in range(KILLS):
        if kill % 2:  # at any moment, mostly while it starts
            time.sleep(moments.uniform(0.0, 0.5))
        else:  # while it trains: soon after it wrote
            wait_for_a_checkpoint(process, parts)
            time.sleep(moments.uniform(0.0, 0.03))
        assert process.poll() is None, "the run ended before it was killed often enough"
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL, process.stderr.read()
        process.stderr.close()
        seen.add(read_checkpoint(parts / "last.safetensors").meta["step"])  # always loadable
        read_checkpoint(parts / "best.safetensors")
        process = start("--resume", str(parts))
    assert process.wait(timeout=300) == 0, process.stderr.read()
    process.stderr.close()
    # every second kill waits for a new checkpoint; the others may all fall into a start, which loads a compiler
    assert len(seen) >= KILLS // 2, "the kills met the run at too few checkpoints"

    a, b = (read_checkpoint(folder / "last.safetensors") for folder in (whole, parts))
    assert a.meta["step"] == b.meta["step"] == 1500
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    rows = [[{**row, "tokens_per_second": None} for row in read_rows(folder)] for folder in (whole, parts)]
    assert rows[0] == rows[1]
    assert len(read_flow_rows(whole)) == 151
    assert (whole / "flow.csv").read_bytes() == (parts / "flow.csv").read_bytes()


def test_interrupt_saves_and_exits_130(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("full many a glorious morning have I seen " * 40)
    process = start(str(text), *OPTIONS, "--steps", "1000000", "--save-every", "100000", "--out", str(tmp_path / "run"))
    while not (tmp_path / "run" / "last.safetensors").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    message = process.stderr.read().decode()
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    assert "--resume" in message and "Traceback" not in message
    assert read_checkpoint(tmp_path / "run" / "last.safetensors").meta["step"] > 0
