"""`rnnbp train` and `rnnbp sample` as typed: what a mistake costs is one line and exit code 2."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rnnbp_cli import main

from rnnbp.runs import read_checkpoint, write_checkpoint
from rnnbp.training import Config

TEXT = "the cat sat on the mat, the dog sat on the log. " * 40
SMALL = "--hidden 6 --time-steps 5 --batch 3 --steps 4 --save-every 2".split()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with good and bad files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("too short for a window")
    (tmp_path / "latin.txt").write_bytes("déjà vu ".encode("latin-1") * 50)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    return tmp_path


def call(capsys, *words):
    """Exit code, stdout and stderr of a command typed so."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


MISTAKES = [
    ("nothing.txt", "text file not found: .*nothing.txt"),
    ("empty.txt", "text file is empty"),
    ("latin.txt", "must be UTF-8; .*latin.txt is not, at byte 1: convert it first"),
    ("short.txt", r"one window, batch × time steps \+ 1 = 1601 characters; got 20: use more text"),
    ("mine", "a text is a file; .*mine is a folder"),
    ("text.txt --cell lstn", "unknown cell 'lstn': did you mean lstm"),
    ("text.txt --cell lstm:peepholes", "written NAME:option=value,option=value; got 'peepholes'"),
    ("text.txt --cell lstm:peephole=true", "unknown option of cell lstm 'peephole': did you mean peepholes"),
    ("text.txt --backend numpi", "unknown backend 'numpi': did you mean numpy"),
    ("text.txt --device gpu", "device of backend numpy must be one of cpu; got 'gpu'"),
    ("text.txt --loss hinge", "unknown loss 'hinge': known are cross-entropy, mse"),
    ("text.txt --loss mse", "target of mse must be floating"),
    ("text.txt --optimizer adam", "unknown optimizer 'adam': did you mean adamw"),
    ("text.txt --optimizer adamw:momentum=1", "unknown option of optimizer adamw 'momentum'"),
    ("--task addition", "unknown task 'addition': did you mean adding"),
    ("text.txt --task adding", "text files and --task adding exclude each other"),
    ("--task four-steps --time-steps 5", "one sequence of 4 steps; got 1 sequences of 5"),
    ("text.txt --hidden 0", "--hidden must be a whole number of at least 1; got 0"),
    ("text.txt --batch -3", "--batch must be a whole number of at least 1; got -3"),
    ("text.txt --steps 0", "--steps must be a whole number of at least 1; got 0"),
    ("text.txt --layers 0", "--layers must be a whole number of at least 1; got 0"),
    ("text.txt --hidden many", "Invalid value for '--hidden'"),
    ("text.txt --lr nan", "--lr must be a number above 0; got nan"),
    ("text.txt --lr 0", "--lr must be a number above 0; got 0.0"),
    ("text.txt --clip-norm -1", "--clip-norm must be a number above 0; got -1.0"),
    ("text.txt --clip-value inf", "--clip-value must be a number above 0; got inf"),
    ("text.txt --init orthogonl", "unknown scheme of initialisation 'orthogonl': did you mean orthogonal"),
    ("text.txt --init b.q=1", r"unknown parameter or gate to initialise 'b.q': did you mean"),
    ("text.txt --l2 -1", "--l2 must be a number >= 0; got -1.0"),
    ("text.txt --weight-decay nan", "--weight-decay must be a number >= 0; got nan"),
    ("text.txt --weight-decay 1 --optimizer sgd:weight_decay=1", "say the same: leave one of them out"),
    ("text.txt --ar -0.1", "--ar must be a number >= 0; got -0.1"),
    ("text.txt --tar inf", "--tar must be a number >= 0; got inf"),
    ("text.txt --clip-tensor 0", "--clip-tensor must be a number above 0; got 0.0"),
    ("text.txt --clip-step -1", "--clip-step must be a number above 0; got -1.0"),
    ("text.txt --clip-step 1 --cell gru:reset=before", "needs a cell that is affine, then pointwise; .* is none"),
    ("text.txt --dtype float16", "--dtype must be float32 or float64 for training; got 'float16'"),
    ("text.txt --truncation tbptt:5,2", "needs K2 >= K1"),
    ("text.txt --truncation some", "truncation must be full, tbptt:K1,K2, steps:K"),
    ("text.txt --threads 0", "--threads must be at least 1; got 0"),
    ("text.txt --threads 1 --backend jax", "--threads has no effect on backend jax"),
    ("text.txt --out mine", "mine exists and is not a run: name another folder"),
    ("text.txt --out .", "a run needs a folder of its own, not the one you are in"),
    ("text.txt --optimizer adamw:beta1=1", "beta1 of AdamW must be a number >= 0 and < 1; got 1"),
    ("text.txt --out mine --force", "mine exists and is not a run: name another folder"),
    ("text.txt --out text.txt/run", "(Not a directory|File exists)"),
    ("--resume nothing", "no checkpoint at nothing/last.safetensors"),
    ("--resume mine", "no checkpoint at mine/last.safetensors"),
    ("--resume mine --out other", "--resume goes on in its own folder"),
    ("text.txt --speed 3", "No such option: --speed"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_line(folder, capsys, words, message):
    before = sorted(str(path) for path in folder.rglob("*"))
    code, out, err = call(capsys, "train", *words.split())
    assert code == 2 and out == "", (code, out, err)
    assert err.startswith("rnnbp: ") and err.count("\n") == 1 and re.search(message, err), err
    assert sorted(str(path) for path in folder.rglob("*")) == before, "something was written or lost"


@pytest.mark.usefixtures("folder")
def test_no_permission_to_write_is_one_line(capsys, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    code, _, err = call(capsys, "train", "text.txt", *SMALL, "--out", "run")
    assert code == 2 and "rnnbp: Permission denied: " in err and "Traceback" not in err


def test_a_run_is_not_overwritten(folder, capsys):
    assert call(capsys, "train", "text.txt", *SMALL, "--out", "run")[0] == 0
    before = (folder / "run" / "last.safetensors").read_bytes()
    code, _, err = call(capsys, "train", "text.txt", *SMALL, "--out", "run")
    assert code == 2 and "--resume run goes on with it, --force starts it anew" in err
    assert (folder / "run" / "last.safetensors").read_bytes() == before
    assert call(capsys, "train", "text.txt", *SMALL, "--seed", "1", "--out", "run", "--force")[0] == 0
    assert (folder / "run" / "last.safetensors").read_bytes() != before


def test_resume_refuses_what_does_not_fit(folder, capsys):
    assert call(capsys, "train", "text.txt", *SMALL, "--out", "run")[0] == 0
    code, _, err = call(capsys, "train", "--resume", "run", "--cell", "gru")
    assert code == 2 and "--cell gru conflicts with the run's lstm: leave it out to resume" in err
    path = folder / "run" / "last.safetensors"
    whole, checkpoint = path.read_bytes(), read_checkpoint(path)
    path.write_bytes(whole[: len(whole) // 2])
    code, _, err = call(capsys, "train", "--resume", "run")
    assert code == 2 and "damaged or cut short" in err and err.count("\n") == 1
    meta = json.loads(json.dumps(dict(checkpoint.meta)))
    meta["config"]["cell"] = "cell-of-a-plugin"
    write_checkpoint(path, type(checkpoint)(checkpoint.arrays, meta))
    code, _, err = call(capsys, "train", "--resume", "run")
    assert code == 2 and "unknown cell 'cell-of-a-plugin'" in err
    path.write_bytes(whole)
    (folder / "text.txt").write_text(TEXT + "!")
    code, _, err = call(capsys, "train", "--resume", "run")
    assert code == 2 and "the data have changed" in err


def test_a_lost_loss_exits_1_and_keeps_the_checkpoint(folder, capsys):
    words = ["--cell", "elman:activation=identity", "--optimizer", "sgd", "--lr", "1e30", "--steps", "60"]
    code, _, err = call(capsys, "train", "text.txt", *SMALL, *words, "--save-every", "50", "--out", "run")
    assert code == 1 and re.search(r"rnnbp: the (loss|gradient's norm) is (nan|inf) at step \d+: the checkpoint", err)
    assert read_checkpoint(folder / "run" / "last.safetensors").meta["step"] == 0


def test_a_run_leaves_what_the_readme_says(folder, capsys):
    pytest.importorskip("matplotlib")
    code, out, err = call(capsys, "train", "text.txt", *SMALL, "--out", "run")
    assert code == 0 and out == "" and "best validation loss" in err
    names = {"config.json", "metrics.csv", "last.safetensors", "best.safetensors", "curve.png"}
    assert {path.name for path in (folder / "run").iterdir()} == names
    assert (folder / "run" / "curve.png").read_bytes()[1:4] == b"PNG"
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["hidden"] == 6 and config["files"] == [str(folder / "text.txt")] and config["threads"] >= 1
    code, out, err = call(capsys, "sample", "run", "--prompt", "the ", "--length", "20", "--temperature", "0.5")
    assert code == 0 and err == "" and out.startswith("the ") and len(out) == 4 + 20 + 1
    code, out, err = call(capsys, "sample", "run", "--prompt", "ß")
    assert code == 2 and out == "" and "only characters that the run has seen; got 'ß'" in err


def test_what_regularises_and_clips_is_told(folder, capsys):
    """On stderr in words, with --json on stdout as the last row of metrics; and a run goes on with it."""
    words = "--l2 0.01 --weight-decay 0.1 --ar 1 --tar 1 --clip-step 0.001 --clip-value 0.001 --clip-tensor 0.01"
    words += " --clip-norm 0.001 --init orthogonal,b.f=2 --json --out run"
    code, out, err = call(capsys, "train", "text.txt", *SMALL, *words.split())
    assert code == 0 and "Traceback" not in err
    said = json.loads(out)
    row = said["last_row"]
    assert said["run"] == "run" and said["step"] == row["step"] == 4 and said["best_valid_loss"] <= row["valid_loss"]
    assert row["penalty"] > 0 and row["clip_value"] == row["clip_norm"] == 1 and row["cosine_min"] <= row["cosine"] < 1
    told = f"clipped, in the last row's steps: value 100%, tensor {row['clip_tensor']:.0%}, norm 100%; "
    assert f"{told}{row['norm_ratio']:.1%} of the norm left; cosine to the" in err
    assert f"every step: {row['norm_ratio_step']:.1%} of the norm left; cosine to the gradient" in err
    assert f"without {row['cosine_step']:.4f}, at the last row's step" in err
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["init"] == "orthogonal,b.f=2" and config["clip_step"] == 0.001 and config["weight_decay"] == 0.1
    assert call(capsys, "train", "--resume", "run", "--steps", "6", "--clip-norm", "0.001")[0] == 0
    code, _, err = call(capsys, "train", "--resume", "run", "--clip-norm", "0.1")
    assert code == 2 and "--clip-norm 0.1 conflicts with the run's 0.001: leave it out to resume" in err
    code, _, err = call(capsys, "sample", "run", "--prompt", "the ", "--length", "5")
    assert code == 0 and err == ""


@pytest.mark.usefixtures("folder")
def test_the_default_corpus_trains(capsys):
    code, _, err = call(capsys, "train", "--hidden", "4", "--steps", "1", "--batch", "400", "--time-steps", "20")
    assert code == 0 and "run folder runs/text" in err


def test_help_names_the_library_s_defaults(capsys):
    _, out, _ = call(capsys, "train", "--help")
    words, config = " ".join(out.split()), Config()
    for value in (config.cell, config.layers, config.hidden, config.steps, config.optimizer, config.lr):
        assert f"[default: {value}]" in words
    for value in (config.truncation, config.dtype, config.seed, config.save_every):
        assert f"[default: {value}]" in words


def test_a_run_on_numpy_resumes_with_threads_whatever_the_environment_names(folder, capsys, monkeypatch):
    """JAX takes every core, and --threads is refused there; but the run's own backend decides."""
    assert call(capsys, "train", "text.txt", *SMALL, "--backend", "numpy", "--out", "run")[0] == 0
    monkeypatch.setenv("RNNBP_BACKEND", "jax")
    threads = str(json.loads((folder / "run" / "config.json").read_text())["threads"])
    _, _, err = call(capsys, "train", "--resume", "run", "--threads", threads)
    assert "jax" not in err


@pytest.mark.usefixtures("folder")
def test_a_terminal_without_the_characters_shows_question_marks():
    (Path("text.txt")).write_text("zß€ über alles, " * 200, encoding="utf-8")
    command = [sys.executable, "-m", "rnnbp_cli"]
    subprocess.run([*command, "train", "text.txt", *SMALL, "--out", "run"], check=True, capture_output=True)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = ["sample", "run", "--prompt", "ß", "--length", "5"]
    done = subprocess.run([*command, *words], check=True, capture_output=True, text=True, env=ascii_only)
    assert done.stdout.startswith("?") and done.stderr == ""


def test_threads_are_set_before_numpy_loads(folder):
    """In a process of its own: the number reaches the BLAS that NumPy loads, and the checkpoint."""
    code = (
        "import sys; from rnnbp_cli import main\n"
        "assert 'numpy' not in sys.modules\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: assert not left.code\n"
        "import os; print(os.environ['OPENBLAS_NUM_THREADS'])\n"
    )
    words = ["train", "text.txt", *SMALL, "--out", "run", "--threads", "1"]
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]
    words = ["train", "--resume", "run", "--steps", "6"]
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]
    assert json.loads((folder / "run" / "config.json").read_text())["threads"] == 1
