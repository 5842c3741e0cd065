"""Cells, backends, losses and tasks by name: built-in ones and those that installed distributions bring.

A registry is a read-only Mapping of entry points; nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from math import isfinite
from numbers import Integral, Real
from typing import Any

from rnnbp.errors import UserError, unknown

API = 1  # the version of the plugin contracts


class Registry(Mapping[str, EntryPoint]):
    """The entry points of one group. Built-ins come first: a plugin cannot take the name of one."""

    def __init__(self, kind: str, **builtin: str) -> None:
        self.kind, self.group = kind, f"rnnbp.{kind}s" if kind != "loss" else "rnnbp.losses"
        self._builtin = [EntryPoint(name.replace("_", "-"), target, self.group) for name, target in builtin.items()]

    @cached_property
    def candidates(self) -> tuple[EntryPoint, ...]:
        """Every entry point found, those that lost their name to another one included."""
        plugins = sorted(entry_points(group=self.group), key=lambda e: (e.name, distribution(e)))
        return (*self._builtin, *plugins)

    @cached_property
    def _winners(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in reversed(self.candidates)}  # the first of a name wins

    def __getitem__(self, name: str) -> EntryPoint:
        if name not in self._winners:
            raise unknown(self.kind, name, self)
        return self._winners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._winners))

    def __len__(self) -> int:
        return len(self._winners)

    def load(self, name: str) -> Any:
        """The object behind a name; a plugin that fails to import, or has another contract, is a UserError."""
        entry = self[name]
        try:
            found = entry.load()
        except Exception as error:  # whatever a plugin raises while it is imported is the plugin's fault
            why = f"{type(error).__name__}: {error}"
            raise UserError(f"{self.kind} {name!r} of {distribution(entry)} cannot be loaded: {why}") from error
        self._check_contract(name, found)
        return found

    def _check_contract(self, name: str, found: Any) -> None:
        """A plugin that was written for another contract is a UserError."""
        source, api = distribution(self[name]), getattr(found, "api", API)
        if api != API:
            raise UserError(
                f"{self.kind} {name!r} of {source} is written for contract {api}, this is contract {API}: "
                f"install the version of {source} that matches"
            )

    def make(self, spec: str, *args: Any, **options: Any) -> Any:
        """What NAME[:option=value,…] names, called with the arguments and the options."""
        name, typed = parse_spec(spec)
        found, given = self.load(name), typed | options
        if not callable(found):
            raise UserError(f"{self.kind} {name!r} of {distribution(self[name])} must be callable; got {found!r}")
        taken = [p for p in inspect.signature(found).parameters.values() if p.kind is not p.VAR_KEYWORD]
        allowed = {p.name: p for p in taken[len(args) :]}
        for option, value in given.items():
            if option not in allowed:
                raise unknown(f"option of {self.kind} {name}", option, allowed)
            check_option(f"option {option} of {self.kind} {name}", value, allowed[option].annotation)
        for option, p in allowed.items():
            if p.default is p.empty and option not in given:
                raise UserError(f"{self.kind} {name} needs the option {option}: write {name}:{option}=value")
        try:
            made = found(*args, **given)
        except Exception as error:
            if isinstance(error, UserError) or self[name].dist is None:
                raise
            why = f"{type(error).__name__}: {error}"  # the plugin's fault
            raise UserError(f"{self.kind} {name!r} of {distribution(self[name])} cannot be made: {why}") from error
        self._check_contract(name, made)  # where a function makes it, only this says which contract
        return made


def parse_spec(spec: str) -> tuple[str, dict[str, Any]]:
    """`lstm:peepholes=true,forget_bias=1` -> ("lstm", {"peepholes": True, "forget_bias": 1})."""
    name, _, rest = spec.partition(":")
    options: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        option, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"options are written NAME:option=value,option=value; got {item!r} in {spec!r}")
        if option.strip() in options:
            raise UserError(f"an option is given once; {option.strip()} is there twice in {spec!r}: leave one out")
        options[option.strip()] = _value(value.strip())
    return name, options


# annotation -> what a value must be, in words and as a type
_PLAIN: dict[Any, tuple[str, type]] = {
    "bool": ("true or false", bool),
    "int": ("a whole number", Integral),
    "float": ("a number", Real),
    "str": ("a word", str),
}


def check_option(what: str, value: Any, annotation: Any) -> None:
    """An option annotated as bool, int, float or str, or as one of them or None, has such a value: `bias=no` must not
    pass for true.
    """
    annotated = str(getattr(annotation, "__name__", annotation))
    words, kind = _PLAIN.get(annotated.removesuffix(" | None"), ("", object))
    if annotated.endswith(" | None"):
        if value is None:
            return
        words += ", or none"
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (Integral, Real)):  # a bool is an int
        raise UserError(f"{what} must be {words}; got {value!r}")
    if isinstance(value, Real) and not isfinite(value):
        raise UserError(f"{what} must be finite; got {value!r}")


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


def distribution(entry: EntryPoint) -> str:
    """Which distribution an entry point comes from."""
    return entry.dist.name if entry.dist else "rnnbp"


BACKENDS = Registry(
    "backend",
    numpy="rnnbp_numpy:NumpyBackend",
    cupy="rnnbp_cupy:CupyBackend",
    torch="rnnbp_torch:TorchBackend",
    jax="rnnbp_jax:JaxBackend",
    strict="rnnbp_strict:StrictBackend",
)
CELLS = Registry(
    "cell",
    elman="rnnbp.cells.elman:Elman",
    rnn="rnnbp.cells.elman:rnn",
    lstm="rnnbp.cells.lstm:LSTM",
    lstm_1997="rnnbp.cells.lstms:lstm_1997",
    lstm_peephole="rnnbp.cells.lstms:lstm_peephole",
    lstm_nig="rnnbp.cells.lstms:lstm_nig",
    lstm_nfg="rnnbp.cells.lstms:lstm_nfg",
    lstm_nog="rnnbp.cells.lstms:lstm_nog",
    lstm_niaf="rnnbp.cells.lstms:lstm_niaf",
    lstm_noaf="rnnbp.cells.lstms:lstm_noaf",
    lstm_cifg="rnnbp.cells.lstms:lstm_cifg",
    lstm_np="rnnbp.cells.lstms:lstm_np",
    lstm_fgr="rnnbp.cells.lstms:lstm_fgr",
    gru="rnnbp.cells.gru:gru",
    indrnn="rnnbp.cells.indrnn:IndRNN",
    irnn="rnnbp.cells.irnn:IRNN",
    ugrnn="rnnbp.cells.ugrnn:UGRNN",
    rhn="rnnbp.cells.rhn:RHN",
    fastgrnn="rnnbp.cells.fastgrnn:FastGRNN",
    lstm_layernorm="rnnbp.cells.lstm_layernorm:LayerNormLSTM",
    lstm_projected="rnnbp.cells.lstm_projected:ProjectedLSTM",
)
WRAPPERS = Registry(
    "wrapper",
    zoneout="rnnbp.around.zoneout:zoneout",
    recurrent_dropout="rnnbp.around.recurrent_dropout:recurrent_dropout",
    learned_start="rnnbp.around.learned_start:learned_start",
    clip_errors="rnnbp.around.clipping:clipped",
)
LOSSES = Registry("loss", mse="rnnbp.losses:MeanSquaredError", cross_entropy="rnnbp.losses:CrossEntropy")
OPTIMIZERS = Registry("optimizer", sgd="rnnbp.optim:SGD", rmsprop="rnnbp.optim:RMSProp", adamw="rnnbp.optim:AdamW")
TASKS = Registry(
    "task",
    four_steps="rnnbp.tasks.four_steps:FourSteps",
    adding="rnnbp.tasks.adding:Adding",
    copy="rnnbp.tasks.copying:Copying",
    temporal_order="rnnbp.tasks.temporal_order:TemporalOrder",
)


def cell(spec: str, input_size: int, hidden_size: int, **options: Any) -> Any:
    """The cell that NAME[:option=value,…] names, with its sizes and options, in the wrappers that follow after slashes.

    Example: `cell("lstm:peepholes=true/zoneout:rate=0.1", input_size=3, hidden_size=5)`.
    """
    name, *around = spec.split("/")
    made = CELLS.make(name, input_size, hidden_size, **options)
    for wrapper in around:
        made = WRAPPERS.make(wrapper, made)
    return made
