"""Names: lazy, read-only, plugins beside built-ins, and how a mistyped name, option or value is answered."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint

import pytest
from helpers import H, I, refusal

import rnnbp
from rnnbp import UserError
from rnnbp.cells.lstm import LSTM
from rnnbp.registry import BACKENDS, CELLS, LOSSES, OPTIMIZERS, TASKS, Registry, check_option, distribution, parse_spec

LSTM_OPTIONS = ", ".join(sorted(f.name for f in fields(LSTM) if not f.name.endswith("_size")))
BUILTIN = {"lstm": "rnnbp.cells.lstm:LSTM", "gru": "rnnbp.cells.gru:gru"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution: its name, the source of its one module, and its entry points for cells."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, source, **cells):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{cell} = {module}:{attribute}" for cell, attribute in cells.items()]
        (info / "entry_points.txt").write_text("\n".join(["[rnnbp.cells]", *lines, ""]))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return install


CELL = """
from rnnbp.cells.elman import Elman

class Mine(Elman):
    pass

class Newer(Elman):
    api = 2

class Fragile(Elman):
    def __post_init__(self):
        raise RuntimeError("glass")

number = 3

def makes_newer(input_size, hidden_size):
    return Newer(input_size, hidden_size)
"""


# ---- names -----------------------------------------------------------------------------------------------------------
def test_a_registry_is_a_mapping_of_entry_points():
    cells = Registry("cell", **BUILTIN)
    assert set(BUILTIN) <= set(cells) and len(cells) == len(list(cells)) and list(cells) == sorted(cells)
    assert isinstance(cells["lstm"], EntryPoint) and cells["lstm"].value == BUILTIN["lstm"]
    assert "lstm" in cells and "lstn" not in cells and cells.get("lstn") is None
    assert not hasattr(cells, "__setitem__")


def test_the_groups_that_plugins_name():
    assert {r.kind: r.group for r in (CELLS, BACKENDS, LOSSES, TASKS, OPTIMIZERS)} == {
        "cell": "rnnbp.cells",
        "backend": "rnnbp.backends",
        "loss": "rnnbp.losses",
        "task": "rnnbp.tasks",
        "optimizer": "rnnbp.optimizers",
    }


@pytest.mark.parametrize("registry", [CELLS, BACKENDS, LOSSES, TASKS, OPTIMIZERS], ids=lambda r: r.kind)
def test_every_builtin_loads(registry):
    builtin = [e.name for e in registry.candidates if e.dist is None]
    assert builtin and all(callable(registry.load(name)) for name in builtin)
    assert not any("_" in name for name in builtin)


def test_an_unknown_name_shows_the_nearest_and_all():
    known = ", ".join(CELLS)
    assert "did you mean lstm or " in refusal(lambda: CELLS["LSTM"])
    assert refusal(lambda: CELLS["lsmt"]) == f"unknown cell 'lsmt': did you mean lstm? known are {known}"
    assert refusal(lambda: rnnbp.cell("xyz", I, H)) == f"unknown cell 'xyz': known are {known}"
    assert refusal(lambda: rnnbp.cell("", I, H)) == f"unknown cell '': known are {known}"
    with pytest.raises(KeyError):  # so that a Mapping behaves as one
        CELLS["lsmt"]


# ---- plugins ---------------------------------------------------------------------------------------------------------
def test_a_plugin_is_found_and_imported_only_when_asked_for(install):
    module = install("toy-cells", CELL, mine="Mine")
    cells = Registry("cell", **BUILTIN)
    assert "mine" in cells and distribution(cells["mine"]) == "toy-cells" and distribution(cells["lstm"]) == "rnnbp"
    assert module not in sys.modules
    made = cells.make("mine:activation=relu", I, H)
    assert type(made).__module__ == module and made.activation == "relu"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import no_such_module_as_this", "ModuleNotFoundError: No module named 'no_such_module_as_this'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("pass", "AttributeError: module 'broken_cells' has no attribute 'Mine'"),
    ],
)
def test_a_broken_plugin_is_listed_and_an_error_only_when_asked_for(install, source, why):
    install("broken-cells", source, mine="Mine")
    cells = Registry("cell", **BUILTIN)
    assert "mine" in cells and cells.make("lstm", I, H)
    assert refusal(lambda: cells.load("mine")) == f"cell 'mine' of broken-cells cannot be loaded: {why}"


def test_a_plugin_for_another_contract_is_refused(install):
    install("toy-cells", CELL, mine="Mine", newer="Newer", made="makes_newer")
    cells = Registry("cell", **BUILTIN)
    assert cells.load("mine").api == 1
    calls = {"newer": lambda: cells.load("newer"), "made": lambda: cells.make("made", I, H)}
    for name, call in calls.items():
        assert refusal(call) == (
            f"cell {name!r} of toy-cells is written for contract 2, this is contract 1: "
            "install the version of toy-cells that matches"
        )


def test_a_plugin_that_cannot_be_made_is_one_line(install):
    install("toy-cells", CELL, fragile="Fragile", number="number")
    cells = Registry("cell", **BUILTIN)
    why = "cell 'fragile' of toy-cells cannot be made: RuntimeError: glass"
    assert refusal(lambda: cells.make("fragile", I, H)) == why
    assert refusal(lambda: cells.make("number", I, H)) == "cell 'number' of toy-cells must be callable; got 3"


def test_an_option_is_finite():
    assert "must be finite; got inf" in refusal(lambda: rnnbp.cell("lstm:forget_bias=1e400", I, H))


def test_of_two_with_one_name_a_builtin_wins_and_both_are_shown(install):
    install("a-cells", CELL, lstm="Mine", mine="Mine")
    install("b-cells", CELL, mine="Mine")
    cells = Registry("cell", **BUILTIN)
    assert cells.load("lstm") is LSTM and distribution(cells["mine"]) == "a-cells"
    shown = [(e.name, distribution(e)) for e in cells.candidates if e.name in ("lstm", "mine")]
    assert shown == [("lstm", "rnnbp"), ("lstm", "a-cells"), ("mine", "a-cells"), ("mine", "b-cells")]
    assert list(cells).count("lstm") == 1


# ---- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("lstm", ("lstm", {})),
        ("lstm:", ("lstm", {})),
        ("lstm:peepholes=true,forget_bias=1", ("lstm", {"peepholes": True, "forget_bias": 1})),
        ("lstm:peepholes=False, forget_bias=-1.5e-1", ("lstm", {"peepholes": False, "forget_bias": -0.15})),
        ("gru:reset=before", ("gru", {"reset": "before"})),
        ("x:a=none,b=,c=x=y,d='true',e={[]:1}", ("x", {"a": None, "b": "", "c": "x=y", "d": "true", "e": "{[]:1}"})),
    ],
)
def test_specs(spec, parsed):
    assert parse_spec(spec) == parsed


def test_an_option_without_a_value_is_refused():
    assert refusal(lambda: parse_spec("lstm:peepholes")) == (
        "options are written NAME:option=value,option=value; got 'peepholes' in 'lstm:peepholes'"
    )


def test_options_reach_the_cell():
    assert rnnbp.cell("lstm:peepholes=true,forget_bias=2", I, H) == LSTM(I, H, peepholes=True, forget_bias=2)
    assert rnnbp.cell("lstm", input_size=I, hidden_size=H, bias=False) == LSTM(I, H, bias=False)
    assert rnnbp.cell("lstm:bias=true", I, H, bias=False) == LSTM(I, H, bias=False)  # Python's word is the last


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "lstm:peephole=true",
            "unknown option of cell lstm 'peephole': did you mean peepholes or peephole_error? "
            f"known are {LSTM_OPTIONS}",
        ),
        ("lstm:input_size=3", f"unknown option of cell lstm 'input_size': known are {LSTM_OPTIONS}"),
        ("gru:peepholes=true", "unknown option of cell gru 'peepholes': known are bias, clip, reset"),
        ("lstm:bias=no", "option bias of cell lstm must be true or false; got 'no'"),
        ("lstm:bias=1", "option bias of cell lstm must be true or false; got 1"),
        ("lstm:forget_bias=much", "option forget_bias of cell lstm must be a number; got 'much'"),
        ("lstm:forget_bias=true", "option forget_bias of cell lstm must be a number; got True"),
        ("lstm:clip=much", "option clip of cell lstm must be a number, or none; got 'much'"),
        ("lstm:clip=nan", "option clip of cell lstm must be a number, or none; got 'nan'"),
        (
            "lstm-projected:projection=2.5",
            "option projection of cell lstm-projected must be a whole number, or none; got 2.5",
        ),
        (
            "lstm:bias=true,bias=false",
            "an option is given once; bias is there twice in 'lstm:bias=true,bias=false': leave one out",
        ),
        ("gru:reset=1", "option reset of cell gru must be a word; got 1"),
        ("gru:reset=befor", "unknown reset 'befor': did you mean before? known are after, before"),
        (
            "elman:activation=gelu",
            "unknown activation 'gelu': did you mean relu? known are bipolar, bipolar2, identity, relu, sigmoid, tanh",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(spec, message):
    assert refusal(lambda: rnnbp.cell(spec, I, H)) == message


def test_an_option_that_a_plugin_needs_is_asked_for(install):
    install(
        "toy-cells", "def mine(input_size, hidden_size, order: int, more=None):\n    return order, more", mine="mine"
    )
    cells = Registry("cell", **BUILTIN)
    assert refusal(lambda: cells.make("mine", I, H)) == "cell mine needs the option order: write mine:order=value"
    assert refusal(lambda: cells.make("mine:order=1.5", I, H)).endswith("must be a whole number; got 1.5")
    assert cells.make("mine:order=2,more=anything", I, H) == (2, "anything")


@pytest.mark.parametrize("annotation", [bool, "bool", int, "int", float, "float", str, "str"])
def test_annotations_may_be_types_or_their_names(annotation):
    right = {"bool": True, "int": 3, "float": 0.5, "str": "x"}[getattr(annotation, "__name__", annotation)]
    check_option("it", right, annotation)
    for value in (True, 3, 0.5, "x", None):
        if type(value) is not type(right) and not (value == 3 and annotation in (float, "float")):
            with pytest.raises(UserError, match="^it must be "):
                check_option("it", value, annotation)


def test_other_annotations_are_not_looked_at():
    @dataclass
    class Other:
        pass

    for annotation in (Other, "int | str", "Other", "Other | None"):
        check_option("it", "anything", annotation)


def test_none_passes_where_the_annotation_has_it():
    for annotation in ("int | None", int | None):
        check_option("it", None, annotation)
        check_option("it", 3, annotation)
        assert refusal(lambda a=annotation: check_option("it", "3", a)) == "it must be a whole number, or none; got '3'"
    assert refusal(lambda: check_option("it", None, "int")) == "it must be a whole number; got None"
