"""The flow of the gradient while a run trains: a few measurements every so many steps."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbp.around.masks import in_evaluation
from rnnbp.errors import UserError, unknown
from rnnbp.registry import parse_spec

if TYPE_CHECKING:  # what a run without --flow need not load
    from rnnbp.flow.measures.found import Measured
    from rnnbp.flow.subjects import Subject
    from rnnbp.training.setup import Setup
    from rnnbp.training.state import State

GRAMMAR = "every=N[,sequences=B][,measures=NAME+NAME]"
SEQUENCES = 4  # by default, or as many as there are: two cost as much
MEASURES = ("states", "saturation")  # by default, where they fit the cell


@dataclass(frozen=True)
class FlowConfig:
    """What is measured every so many steps, and of how many sequences of a batch, the first ones."""

    every: int
    sequences: int | None = None
    measures: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> FlowConfig:
        """every=N[,sequences=B][,measures=NAME+NAME], the names being those of `rnnbp.flow.measures.MEASURES`."""
        from rnnbp.flow.measures import MEASURES as KNOWN
        from rnnbp.flow.measures import OF_RECORDS

        if not all("=" in item for item in text.split(",")):
            raise UserError(f"--flow is {GRAMMAR}; got {text!r}")
        given = parse_spec(f"flow:{text}")[1]
        for option in given:
            if option not in (known := [field.name for field in fields(cls)]):
                raise unknown("option of --flow", option, known)
        if "every" not in given:
            raise UserError(f"--flow is {GRAMMAR}; got {text!r}, which does not say every how many steps")
        for option in ("every", "sequences"):
            value = given.get(option, 1)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{option} of --flow must be a whole number of at least 1; got {value!r}")
        if "measures" not in given:
            return cls(**given)
        names = tuple(str(given.pop("measures")).split("+"))
        for name in names:
            if name not in KNOWN:
                raise unknown("measurement", name, KNOWN)
            if name in OF_RECORDS:
                raise UserError(
                    f"--flow measures weights; {name} is of what a run has recorded: `rnnbp flow RUN` shows it"
                )
        if len(set(names)) < len(names):
            raise UserError(f"measures of --flow are named once each; got {'+'.join(names)}")
        return cls(measures=names, **given)


def subject(setup: Setup, state: State, sequences: int | None = None) -> Subject:
    """The run as it stands, on the first sequences of the batch that is next: what its weights do to it, from the state
    that the batch before left, in float64. The flow is that of the loss alone, as `run_subject` has it: without
    penalties, --clip-step and the windows of --truncation; nothing is dropped, and zoneout is at its mean.
    """
    from rnnbp.flow.subjects import Subject
    from rnnbp.training.trained import bare

    config, host = setup.config, setup.backend.to_numpy
    if sequences is not None and sequences > setup.batch:
        raise UserError(f"sequences of --flow are among the {setup.batch} of a batch; got {sequences}")
    n = min(SEQUENCES, setup.batch) if sequences is None else sequences
    batch, _ = setup.source.batch(state.cursor, setup.batch, setup.time_steps)
    carried = None if batch.fresh or state.carried is None else state.carried
    every = setup.model.loss.steps == "every"  # else the targets have no time axis
    return Subject(
        config.cell,
        bare(setup.model),
        {name: host(w).astype(np.float64) for name, w in state.params.items()},
        batch.xs[:, :n],
        batch.targets[:, :n] if every else batch.targets[:n],
        f"the training batch after step {state.step}",
        in_evaluation(setup.model.stack, setup.time_steps, n) or None,
        s0=None if carried is None else tuple(tuple(host(z)[:n].astype(np.float64) for z in s) for s in carried),
        config=config.to_dict(),
    )


def flow_row(setup: Setup, state: State, flow: FlowConfig) -> dict[str, Any]:
    """A row of flow.csv: "step", and "<measure>.<number>" for every number that the measurements find, None for nan.

    One that is refused has none; at step 0 that is a UserError if it was asked for by name: it does not fit the run.
    """
    row: dict[str, Any] = {"step": state.step}
    one = subject(setup, state, flow.sequences)
    for name in MEASURES if flow.measures is None else flow.measures:
        found = _measured(one, name)
        if flow.measures and not found.numbers and not state.step:
            why = found.refused or "it has no numbers"
            raise UserError(f"--flow cannot record {name} of this run: {why}")
        row |= {f"{name}.{key}": None if isnan(value) else float(value) for key, value in found.numbers.items()}
    return row


def _measured(one: Subject, name: str) -> Measured:
    """What is found; a measurement that numbers out of range defeat is refused, and does not end a run."""
    from rnnbp.flow.measures import MEASURES as KNOWN
    from rnnbp.flow.measures.found import Measured

    try:
        with np.errstate(all="ignore"), _one_thread():
            return KNOWN[name](one)
    except (UserError, ArithmeticError, np.linalg.LinAlgError) as error:
        return Measured(name, refused=str(error))


def _one_thread() -> AbstractContextManager[Any]:
    """BLAS on one thread: two gain little on products of a few rows, and lose much where the cores are busy."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
