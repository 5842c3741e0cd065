"""Calling a function that rnnbp does not know: its arguments, its value, its gradients by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rnnbp.backends import Backend
from rnnbp.checking.foreign.inputs import Inputs
from rnnbp.checking.foreign.structures import Values, by_name, described, hosts, like
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

OWN = "own"  # each input in the dtype that it came in


@dataclass(frozen=True)
class Foreign:
    """Somebody's forward and backward, and the inputs at which they are checked."""

    fn: Callable[..., Any]
    backward: Callable[..., Any] | None  # of a separate pair: backward(cotangent, cache)
    inputs: Inputs
    backend: Backend

    def values(self, point: Mapping[str, HostArray], dtype: str) -> Values:
        """The outputs at a point, the inputs cast to a dtype, or each to its own where that is `OWN`."""
        return hosts(self._forward(self.arguments(point, dtype))[0])

    def pulled(self, point: Mapping[str, HostArray] | None = None) -> Pulled:
        """One forward at the inputs as they are, or at another point, with its backward."""
        given = self.arguments(self.inputs.point if point is None else point, OWN)
        pulled = Pulled(self, given, *self._forward(given))
        several = len(pulled.values) > 1
        for k, v in enumerate(pulled.values):
            _check_value(v, f"output {k}" if several else "the value")
        if not pulled.takes_cotangent and (several or pulled.values[0].ndim):
            got = ", ".join(str(v.shape) for v in pulled.values)
            raise UserError(
                f"a backward that takes no cotangent needs a scalar value; got shape {got}: let it take one"
            )
        return pulled

    def arguments(self, point: Mapping[str, HostArray], dtype: str) -> dict[str, Any]:
        """Arrays of their own for one call, so that code that writes to them harms nobody else."""
        given = dict(self.inputs.given)
        for name, value in point.items():
            wanted = self.inputs.dtypes[name] if dtype == OWN else dtype
            given[name] = self.backend.asarray(np.array(value, dtype=wanted), wanted)
            if getattr(self.inputs.given[name], "requires_grad", False):
                given[name].requires_grad_()
        return given

    def call(self, function: Callable[..., Any], given: Mapping[str, Any], *first: Any) -> Any:
        """A function of the same inputs, by name or in order as fn takes them, with others in front of them."""
        return function(*first, **given) if self.inputs.keyword else function(*first, *given.values())

    def _forward(self, given: Mapping[str, Any]) -> tuple[Any, Any]:
        found = self.call(self.fn, given)
        want = "(value, backward)" if self.backward is None else "(value, cache), with backward= given"
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise UserError(f"fn must return {want}; got {described(found)}")
        if self.backward is None and not callable(found[1]):
            raise UserError(
                f"fn must return {want}, backward a function; got {described(found[1])} there: "
                "give a separate backward(cotangent, cache) as backward="
            )
        return found[0], found[1]


@dataclass(frozen=True)
class Pulled:
    """What one forward returned, and the calls of its backward."""

    foreign: Foreign
    given: Mapping[str, Any]  # the very arrays that fn and backward were called with
    value: Any
    kept: Any  # the backward or, of a separate pair, its cache
    passed: list[tuple[Any, Values]] = field(default_factory=list)  # cotangents as they were passed, and as they were

    @cached_property
    def values(self) -> Values:
        """The outputs on the host."""
        return hosts(self.value)

    @cached_property
    def takes_cotangent(self) -> bool:
        """Whether the backward has an argument."""
        return self.foreign.backward is not None or _takes_argument(self.kept)

    def pull(self, cotangents: Values) -> dict[str, Array | None]:
        """The gradients by input name, None where none is claimed."""
        inputs, backward = self.foreign.inputs, self.foreign.backward
        if not self.takes_cotangent:
            return by_name(self.kept(), [*inputs.given], [*inputs.point])
        given = like(self.value, cotangents, self.foreign.backend)
        self.passed.append((given, cotangents))
        found = self.kept(given) if backward is None else backward(given, self.kept)
        return by_name(found, [*inputs.given], [*inputs.point])

    def written(self) -> list[str]:
        """Which of the inputs, and of the cotangents, were changed by the calls."""
        inputs, home = self.foreign.inputs, self.foreign.backend
        was = {name: v.astype(inputs.dtypes[name]) for name, v in inputs.point.items()}
        changed = [name for name, v in was.items() if not np.array_equal(home.to_numpy(self.given[name]), v)]
        same = all(np.array_equal(a, b) for now, cs in self.passed for a, b in zip(hosts(now), cs, strict=True))
        return changed if same else [*changed, "the cotangent"]


def _check_value(value: HostArray, what: str) -> None:
    if value.dtype.kind != "f":
        raise UserError(f"{what} must be of a real floating dtype; got {value.dtype}")
    if not np.isfinite(value).all():
        raise UserError(f"{what} must be finite at the given inputs; got {value[~np.isfinite(value)][0]}")


def _takes_argument(backward: Callable[..., Any]) -> bool:
    try:
        inspect.signature(backward).bind(None)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say
        return True
    return True
