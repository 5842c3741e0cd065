"""The flow of the gradient, recorded while a run trains: true numbers, the same bits, and nothing lost on the way."""

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from rnnbp_cli import main

import rnnbp
from rnnbp import UserError
from rnnbp.flow import measures
from rnnbp.flow.measures.found import Measured
from rnnbp.runs import read_checkpoint, read_flow_rows, read_rows
from rnnbp.training import Config, loop, resume, train
from rnnbp.training.flow import MEASURES, SEQUENCES, FlowConfig, flow_row
from rnnbp.training.setup import set_up
from rnnbp.training.state import begin

TEXT = "the cat sat on the mat, the dog sat on the log. " * 40
SMALL = {"hidden": 6, "time_steps": 7, "batch": 3, "steps": 6, "save_every": 3, "dtype": "float64"}
EPS = float(np.finfo(np.float64).eps)


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return {"files": (str(tmp_path / "text.txt"),)}


def arrays(folder):
    return read_checkpoint(folder / "last.safetensors").arrays


def by_hand(folder, sequences):
    """The numbers of the last checkpoint of a run of one LSTM, from its arrays and the batch that is next, by a scan
    that records everything.
    """
    found = read_checkpoint(folder / "last.safetensors")
    config = Config.from_dict(found.meta["config"])
    setup = set_up(config)
    w = {name.removeprefix("params/"): np.float64(a) for name, a in found.arrays.items() if name.startswith("params/")}
    batch, _ = setup.source.batch(found.meta["cursor"], setup.batch, setup.time_steps)
    xs, targets, s0 = batch.xs[:, :sequences], batch.targets, None
    if config.task is None:
        xs = np.eye(setup.source.input_size)[xs]
        s0 = tuple(np.float64(found.arrays[f"state/0/{j}"][:sequences]) for j in range(2))
    (_, cell), *_ = setup.model.stack.cells
    ys, _, back = rnnbp.scan(cell, {n: w[f"0.{n}"] for n in cell.params}, xs, s0, record=True)
    y = ys[-1] @ w["readout.W"] + w["readout.b"]
    if config.task is None:  # cross-entropy, the mean over steps and sequences
        p = np.exp(y) / np.sum(np.exp(y), axis=-1, keepdims=True)
        d = (p - np.eye(p.shape[-1])[targets[-1, :sequences]]) / (len(xs) * sequences)
    else:  # the squared error of the last step, the mean over sequences
        d = 2 * (y - targets[:sequences]) / sequences
    dys = np.zeros_like(ys)
    dys[-1] = d @ w["readout.W"].T
    ds = back(dys)[2]
    record = back.record
    behind = [np.sqrt(np.sum(record["dh"][t] ** 2) + np.sum(record["dc"][t] ** 2)) for t in range(len(xs))]
    sizes = np.array([np.sqrt(sum(np.sum(d**2) for d in ds)), *behind])[::-1]
    rate = -np.polyfit(np.arange(len(sizes)), np.log(sizes), 1)[0]
    row = {"step": found.meta["step"], "states.half-life": np.log(2) / rate}
    row["states.log10 error left"] = np.log10(sizes[-1] / sizes[0])
    row |= {"states.|h|": np.mean(np.abs(record["h"])), "states.|c|": np.mean(np.abs(record["c"]))}
    for gate in "ifgo":
        low, high = (-0.8, 0.8) if gate == "g" else (0.1, 0.9)
        row |= {f"saturation.{gate} left": np.mean(record[gate] < low)}
        row |= {f"saturation.{gate} right": np.mean(record[gate] > high)}
    return row


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", ["text", "adding"])
def test_rows_are_what_the_weights_and_the_batch_of_that_step_say(tmp_path, text, data, dtype):
    given = SMALL | {"dtype": dtype, "save_every": 1, "lr": 0.1, "flow": "every=2,sequences=2"}
    given |= text if data == "text" else {"task": "adding"}
    train(Config(**given), tmp_path / "run")
    rows = read_flow_rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 2, 4, 6]
    for row in rows[1:]:
        train(Config(**given | {"steps": row["step"]}), tmp_path / f"to {row['step']}")
        wanted = by_hand(tmp_path / f"to {row['step']}", 2)
        assert list(row) == list(wanted)
        for name, value in wanted.items():
            # some 10 roundings in each of the 7 steps, there and back, and a slope through their logarithms
            assert np.isclose(row[name], value, rtol=1e3 * EPS, atol=0), name
    assert len({row["states.half-life"] for row in rows}) == 4


WHOLE = {"cell": "lstm", "layers": 2, "residual": True, "dropout": 0.3, "clip_norm": 0.1, "flow": "every=2"}


@pytest.mark.parametrize("options", [WHOLE, {"cell": "gru/zoneout:rate=0.1/learned-start", "flow": "every=1"}])
def test_a_run_has_the_same_bits_with_it_and_without(tmp_path, text, options):
    train(Config(**SMALL, **text, **options), tmp_path / "with")
    train(Config(**SMALL, **text, **options | {"flow": None}), tmp_path / "without")
    one, two = arrays(tmp_path / "with"), arrays(tmp_path / "without")
    assert one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one)
    rows = [[{**row, "tokens_per_second": None} for row in read_rows(tmp_path / n)] for n in ("with", "without")]
    assert rows[0] == rows[1]
    assert read_flow_rows(tmp_path / "with") and not (tmp_path / "without" / "flow.csv").exists()


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("at", [2, 3, 4, 5])
def test_killed_and_resumed_it_has_the_same_rows(tmp_path, text, monkeypatch, at):
    """At step `at`, behind its row of flow.csv; at 3, which has none, before its checkpoint. Half a row is left."""
    config = Config(**SMALL, **text, flow="every=2")
    train(config, tmp_path / "whole")

    def killed(*_):
        raise Killed

    def due(row):
        return row.step == at and killed()

    monkeypatch.setattr(loop, "write_checkpoint", killed if at == 3 else loop.write_checkpoint)
    with pytest.raises(Killed):
        train(config, tmp_path / "parts", report=due)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "parts" / "last.safetensors").meta["step"] == (0 if at <= 3 else 3)
    with open(tmp_path / "parts" / "flow.csv", "a") as file:
        file.write(f"{at},0.5,")
    assert [row["step"] for row in read_flow_rows(tmp_path / "parts")] == [0, 2] + [4] * (at > 3)
    resume(tmp_path / "parts")
    assert (tmp_path / "parts" / "flow.csv").read_bytes() == (tmp_path / "whole" / "flow.csv").read_bytes()
    assert len(read_flow_rows(tmp_path / "parts")) == 4


def test_a_row_is_there_before_the_checkpoint_that_stands_for_it(tmp_path, text, monkeypatch):
    config = Config(**SMALL, **text, flow="every=3")
    train(config, tmp_path / "whole")

    def killed(*_):
        raise Killed

    monkeypatch.setattr(loop, "append_flow_row", killed)
    with pytest.raises(Killed):
        train(config, tmp_path / "parts")
    monkeypatch.undo()
    resume(tmp_path / "parts")
    assert (tmp_path / "parts" / "flow.csv").read_bytes() == (tmp_path / "whole" / "flow.csv").read_bytes()


def test_a_run_that_is_stopped_and_goes_on_has_the_same_rows(tmp_path, text):
    train(Config(**SMALL, **text, flow="every=2"), tmp_path / "whole")
    asked = iter(range(100))
    train(Config(**SMALL, **text, flow="every=2"), tmp_path / "parts", stop=lambda: next(asked) >= 4)
    assert [row["step"] for row in read_flow_rows(tmp_path / "parts")] == [0, 2, 4]
    resume(tmp_path / "parts")
    assert (tmp_path / "parts" / "flow.csv").read_bytes() == (tmp_path / "whole" / "flow.csv").read_bytes()


@pytest.mark.parametrize("left", [None, "", "step,states.half", "step,states.half-life\n0"])
def test_a_run_whose_rows_are_lost_begins_them_anew(tmp_path, text, left):
    train(Config(**SMALL | {"steps": 3}, **text, flow="every=2"), tmp_path / "run")
    (tmp_path / "run" / "flow.csv").unlink()
    if left is not None:
        (tmp_path / "run" / "flow.csv").write_text(left)
    resume(tmp_path / "run", {"steps": 6})
    assert [row["step"] for row in read_flow_rows(tmp_path / "run")] == [4, 6]


@pytest.mark.parametrize("damage", ["9,much" + ",1" * 11 + "\n", "9,1\n", "\xff\n"])
def test_damaged_rows_are_refused_and_nothing_is_lost(tmp_path, text, damage):
    train(Config(**SMALL, **text, flow="every=2"), tmp_path / "run")
    path = tmp_path / "run" / "flow.csv"
    path.write_bytes(path.read_bytes() + damage.encode("latin-1"))
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(UserError, match=r"flow.csv must hold the numbers that the run wrote .*: move it away to go on"):
        resume(tmp_path / "run", {"steps": 8})
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}


def test_force_takes_the_rows_of_the_old_run_with_it(tmp_path, text):
    train(Config(**SMALL, **text, flow="every=2"), tmp_path / "run")
    train(Config(**SMALL, **text), tmp_path / "run", force=True)
    assert not (tmp_path / "run" / "flow.csv").exists() and read_flow_rows(tmp_path / "run") == []


def test_every_backend_records_the_same(backend, tmp_path, text):
    given = SMALL | text | {"steps": 2, "save_every": 2, "flow": "every=2", "layers": 2}
    train(Config(**given), tmp_path / "numpy")
    train(Config(**given, backend=backend.name), tmp_path / "other")
    for one, two in zip(*(read_flow_rows(tmp_path / name) for name in ("numpy", "other")), strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert np.isclose(two[name], value, rtol=1e-9, atol=1e-12), name


BARE = {"cell": "elman:activation=identity", "init": "U=identity:3", "lr": 1e-9}


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        (BARE, {"states.half-life", "states.log10 error left", "states.|h|"}),
        ({"cell": "elman", "flow": "every=6,measures=bounds+lags"}, {"lags.half-life"}),
        ({"clip_step": 0.01, "truncation": "gates:i+f"}, {"states.|c|", "saturation.f left"}),
        ({"remat": 2, "truncation": "tbptt:2,4"}, {"states.|c|", "saturation.f left"}),
        ({"layers": 2}, {"states.|1.c|", "saturation.0.f left"}),
        ({"cell": "rhn"}, {"states.|h|"}),
    ],
)
def test_any_run_can_be_recorded(tmp_path, options, columns):
    """By default a measurement that a cell has nothing for is left out: a linear network has no gates."""
    train(Config(**SMALL | {"task": "adding", "flow": "every=6"} | options), tmp_path / "run")
    first, last = read_flow_rows(tmp_path / "run")
    assert columns <= set(first) and first.keys() == last.keys()
    if options == BARE:
        assert set(first) == columns | {"step"}
    assert all(value is not None for value in (*first.values(), *last.values()))


def test_it_is_the_flow_of_the_loss_alone():
    """Penalties and clipping are the training's; what --truncation stops within the cells does not flow."""

    def row(*measures, **options):
        setup = set_up(Config(**SMALL | {"task": "adding"} | options))
        return flow_row(setup, begin(setup), FlowConfig(1, measures=measures))

    both, plain = ("states", "curvature"), {"truncation": "tbptt:2,4", "remat": 2}
    assert row(*both, **plain, ar=2.0, tar=3.0, l2=0.5, clip_step=1e-3, clip_norm=1e-3) == row(*both)
    assert row("states", truncation="gates:g")["states.half-life"] != row("states")["states.half-life"]
    zones, tight = "zoneout:rate=0.2", "clip-errors:limit=1e-6"
    for around in (f"{tight}/{zones}", f"{zones}/{tight}"):
        for options in ({}, {"clip_step": 1e-6}):
            assert row("states", cell=f"lstm/{around}", **options) == row("states", cell=f"lstm/{zones}")


def test_the_number_of_sequences():
    """1 and 3 differ; by default as many as there are, and at most four."""
    setup = set_up(Config(**SMALL | {"task": "adding"}))
    state = begin(setup)

    def half_life(flow):
        return flow_row(setup, state, FlowConfig.parse(flow))["states.half-life"]

    assert half_life("every=9,sequences=1") != half_life("every=9,sequences=3") == half_life("every=9")
    with pytest.raises(UserError, match="sequences of --flow are among the 3 of a batch; got 4"):
        half_life("every=9,sequences=4")
    wide = set_up(Config(**SMALL | {"task": "adding", "batch": 5}))
    four, default = (flow_row(wide, begin(wide), FlowConfig(1, n)) for n in (4, None))
    assert four == default != flow_row(wide, begin(wide), FlowConfig(1, 5))


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("100", r"--flow is every=N\[,sequences=B\]\[,measures=NAME\+NAME\]; got '100'"),
        ("", "--flow is every=N"),
        ("every=1,", "--flow is every=N"),
        ("sequences=2", "got 'sequences=2', which does not say every how many steps"),
        ("every=0", "every of --flow must be a whole number of at least 1; got 0"),
        ("every=2.5", "every of --flow must be a whole number of at least 1; got 2.5"),
        ("every=true", "every of --flow must be a whole number of at least 1; got True"),
        ("every=none", "every of --flow must be a whole number of at least 1; got None"),
        ("every=1,sequences=few", "sequences of --flow must be a whole number of at least 1; got 'few'"),
        ("every=1,every=2", "every is there twice"),
        ("every=1,mesures=lags", "unknown option of --flow 'mesures': did you mean measures"),
        ("every=1,measures=lag", "unknown measurement 'lag': did you mean lags"),
        ("every=1,measures=lags+", "unknown measurement ''"),
        ("every=1,measures=lags+lags", "named once each; got lags\\+lags"),
        ("every=1,measures=lags+training", "--flow measures weights; training is of what a run has recorded"),
        ("every=1,measures=clipping", "clipping is of what a run has recorded: `rnnbp flow RUN` shows it"),
    ],
)
def test_bad_options_are_refused(flow, message):
    with pytest.raises(UserError, match=message):
        Config(flow=flow)


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("every=1,measures=states+bounds", "--flow cannot record bounds of this run: these bounds are those of"),
        ("every=1,sequences=4", "sequences of --flow are among the 3 of a batch; got 4"),
    ],
)
def test_what_does_not_fit_the_run_is_refused_before_anything_is_written(tmp_path, flow, message):
    with pytest.raises(UserError, match=message):
        train(Config(**SMALL | {"task": "adding"}, flow=flow), tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_conflicts_with_the_run_are_refused(tmp_path):
    train(Config(**SMALL | {"task": "adding"}, flow="every=2"), tmp_path / "run")
    train(Config(**SMALL | {"task": "adding"}), tmp_path / "other")
    with pytest.raises(UserError, match="--flow every=3 conflicts with the run's every=2: leave it out to resume"):
        resume(tmp_path / "run", {"flow": "every=3"})
    with pytest.raises(UserError, match="--flow every=2 conflicts with the run, which has none: leave it out"):
        resume(tmp_path / "other", {"flow": "every=2"})
    resume(tmp_path / "run", {"flow": "every=2"})


def test_columns_are_those_of_the_first_row(tmp_path, monkeypatch):
    """What comes later is left out, what is missing, refused or not a number is empty, and nothing ends the run."""
    found = iter(
        [
            Measured("lags", {"a, b": 1.0, 'c "d"': float("inf")}),
            Measured("lags", {"new": 2.0, "a, b": float("nan")}),
            UserError("not now"),
            np.linalg.LinAlgError("did not converge"),
            OverflowError("math range error"),
            Measured("lags", {'c "d"': 0.1 + 0.2}),
        ]
    )

    def measure(_):
        one = next(found)
        if isinstance(one, Exception):
            raise one
        return one

    monkeypatch.setitem(measures.MEASURES, "lags", measure)
    train(Config(**SMALL | {"task": "adding", "steps": 5}, flow="every=1,measures=lags"), tmp_path / "run")
    rows = read_flow_rows(tmp_path / "run")
    assert [list(row) for row in rows] == [["step", "lags.a, b", 'lags.c "d"']] * 6
    values = [tuple(row.values()) for row in rows]
    nothing = [(k, None, None) for k in range(1, 5)]
    assert values == [(0, 1.0, float("inf")), *nothing, (5, None, 0.1 + 0.2)]


def test_weights_that_are_lost_leave_the_row_empty():
    setup = set_up(Config(**SMALL | {"task": "adding"}))
    state = begin(setup)
    lost = {name: np.full_like(w, np.nan) for name, w in state.params.items()}
    row = flow_row(setup, replace(state, step=5, params=lost), FlowConfig(1))
    assert row["step"] == 5 and {value for name, value in row.items() if name != "step"} <= {None}


def test_its_time_is_not_the_training_s(tmp_path, monkeypatch):
    def slow(_):
        time.sleep(0.1)
        return Measured("lags", {"a": 1.0})

    monkeypatch.setitem(measures.MEASURES, "lags", slow)
    train(Config(**SMALL | {"task": "adding"}, flow="every=1,measures=lags"), tmp_path / "run")
    steps_per_second = [row["tokens_per_second"] / (7 * 3) for row in read_rows(tmp_path / "run")[1:]]
    assert min(steps_per_second) > 1 / 0.1


def call(capsys, *words):
    """Exit code, stdout and stderr of a command typed so."""
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    return left.value.code or 0, out, err


def test_the_command_says_where_the_rows_are(tmp_path, capsys):
    run = tmp_path / "run"
    words = "train --task adding --hidden 4 --time-steps 6 --batch 3 --steps 4 --save-every 2 --json --out".split()
    code, out, err = call(capsys, *words, str(run), "--flow", "every=2,sequences=1,measures=states")
    rows = read_flow_rows(run)
    assert code == 0 and json.loads(out)["last_flow_row"] == rows[-1] and len(rows) == 3
    assert f"flow of the gradient, 3 rows in {run / 'flow.csv'}: rnnbp flow {run} shows it" in err
    assert json.loads((run / "config.json").read_text())["flow"] == "every=2,sequences=1,measures=states"
    code, out, err = call(capsys, "train", "--resume", str(run), "--flow", "every=4")
    assert code == 2 and out == "" and err.startswith("rnnbp: --flow every=4 conflicts with the run's every=2")
    code, out, err = call(capsys, *words, str(tmp_path / "other"), "--flow", "every=2,measures=bounds")
    assert code == 2 and out == "" and err.startswith("rnnbp: --flow cannot record bounds") and err.count("\n") == 1
    _, out, _ = call(capsys, "train", "--help")
    assert f"{SEQUENCES} sequences, {'+'.join(MEASURES)}]" in " ".join(out.split())
    code, out, err = call(capsys, *words, str(tmp_path / "plain"))
    assert code == 0 and "last_flow_row" not in json.loads(out) and "flow of" not in err
