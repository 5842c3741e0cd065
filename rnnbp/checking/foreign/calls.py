"""Calling a function that rnnbp does not know: its arguments, its value, its gradients by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbp.backends import Backend, backend_of
from rnnbp.checking.foreign.inputs import Inputs
from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray

Values = tuple[HostArray, ...]  # the outputs on the host, one array each
OWN = "own"  # each input in the dtype that it came in


@dataclass(frozen=True)
class Pulled:
    """A value with its backward: `pull(cotangents)` gives the gradients by input name, None where none is claimed."""

    values: Values
    takes_cotangent: bool
    given: Mapping[str, Any]  # the very arrays that fn and backward were called with
    pull: Callable[[Values], dict[str, Array | None]]
    written: Callable[[], list[str]]  # which of those arrays, and of the cotangents, were changed by the calls


@dataclass(frozen=True)
class Foreign:
    """Somebody's forward and backward, and the inputs at which they are checked."""

    fn: Callable[..., Any]
    backward: Callable[..., Any] | None  # of a separate pair: backward(cotangent, cache)
    inputs: Inputs
    backend: Backend

    def values(self, point: Mapping[str, HostArray], dtype: str) -> Values:
        """The outputs at a point, the inputs cast to a dtype, or each to its own where that is `OWN`."""
        given = self._arguments(point, dtype)
        return hosts(self._call(given)[0])

    def pulled(self) -> Pulled:
        """One forward at the inputs as they are, with its backward."""
        given = self._arguments(self.inputs.point, OWN)
        value, kept = self._call(given)
        values = hosts(value)
        for k, v in enumerate(values):
            _check_value(v, f"output {k}" if len(values) > 1 else "the value")

        def call(*cotangent: Any) -> Any:
            return kept(*cotangent) if self.backward is None else self.backward(*cotangent, kept)

        takes = self.backward is not None or _takes_argument(kept)
        if not takes and (len(values) > 1 or values[0].ndim):
            shapes = ", ".join(str(v.shape) for v in values)
            raise UserError(
                f"a backward that takes no cotangent needs a scalar value; got shape {shapes}: let it take one"
            )

        passed: list[tuple[Any, Values]] = []

        def pull(cotangents: Values) -> dict[str, Array | None]:
            if not takes:
                return self._named(call())
            passed.append((self._like(value, cotangents), cotangents))
            return self._named(call(passed[-1][0]))

        def written() -> list[str]:
            now = {name: self.backend.to_numpy(given[name]) for name in self.inputs.point}
            was = {name: v.astype(self.inputs.dtypes[name]) for name, v in self.inputs.point.items()}
            changed = [name for name, v in now.items() if not np.array_equal(v, was[name])]
            same = all(np.array_equal(a, b) for like, cs in passed for a, b in zip(hosts(like), cs, strict=True))
            return changed if same else [*changed, "the cotangent"]

        return Pulled(values, takes, given, pull, written)

    def _arguments(self, point: Mapping[str, HostArray], dtype: str) -> dict[str, Any]:
        """Arrays of their own for one call, so that code that writes to them harms nobody else."""
        given = dict(self.inputs.given)
        for name, value in point.items():
            wanted = self.inputs.dtypes[name] if dtype == OWN else dtype
            given[name] = self.backend.asarray(np.array(value, dtype=wanted), wanted)
            if getattr(self.inputs.given[name], "requires_grad", False):
                given[name].requires_grad_()
        return given

    def _call(self, given: Mapping[str, Any]) -> tuple[Any, Any]:
        found = self.fn(**given) if self.inputs.keyword else self.fn(*given.values())
        want = "(value, backward)" if self.backward is None else "(value, cache), with backward= given"
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise UserError(f"fn must return {want}; got {_described(found)}")
        if self.backward is None and not callable(found[1]):
            raise UserError(
                f"fn must return {want}, backward a function; got {_described(found[1])} there: "
                "give a separate backward(cotangent, cache) as backward="
            )
        return found[0], found[1]

    def _like(self, value: Any, cotangents: Values) -> Any:
        """Cotangents of their own in the structure, dtype and library of the value."""
        if isinstance(value, (tuple, list)):
            several = [self._like(v, (c,)) for v, c in zip(value, cotangents, strict=True)]
            return several if isinstance(value, list) else tuple(several)
        if isinstance(value, float):
            return float(cotangents[0])
        home = self.backend if isinstance(self.backend, type(backend_of(value))) else backend_of(value)
        assert home is not None
        return home.asarray(np.array(cotangents[0]), str(cotangents[0].dtype))

    def _named(self, found: Any) -> dict[str, Array | None]:
        """The gradients by name of the inputs that have one."""
        names, wanted = list(self.inputs.given), list(self.inputs.point)
        if isinstance(found, Mapping):
            if strangers := [str(key) for key in found if key not in names]:
                raise UserError(
                    f"backward returned a gradient of {', '.join(strangers)}; the inputs are {_list(names)}"
                )
            return {name: found.get(name) for name in wanted}
        if isinstance(found, (tuple, list)):
            for order in (names, wanted):
                if len(found) == len(order):
                    by_name = dict(zip(order, found, strict=True))
                    return {name: by_name[name] for name in wanted}
            raise UserError(f"backward returned {len(found)} gradients; the inputs are {len(names)}: {_list(names)}")
        if len(wanted) == 1 and _is_array(found):
            return {wanted[0]: found}
        raise UserError(
            f"backward must return gradients by name, or a sequence in the order of the inputs {_list(names)}; "
            f"got {_described(found)}"
        )


def host(x: Any, what: str) -> HostArray:
    """A number or an array of any backend, on the host."""
    owner = backend_of(x)
    if owner is not None and _is_array(x):
        return owner.to_numpy(x)
    if isinstance(x, (float, int, complex)):
        return np.asarray(x)
    raise UserError(f"{what} must be a number or an array; got {_described(x)}")


def hosts(value: Any) -> Values:
    """A value, or the tuple of them, on the host."""
    several = value if isinstance(value, (tuple, list)) else (value,)
    if not several:
        raise UserError("the value must be a number, an array or a tuple of them; got an empty tuple")
    return tuple(host(v, "the value") for v in several)


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


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") or isinstance(x, float)


def _described(x: Any) -> str:
    if isinstance(x, (tuple, list)):
        return f"a {type(x).__name__} of {len(x)}"
    if _is_array(x) and not isinstance(x, float):
        return f"one array of shape {tuple(x.shape)}"
    return f"{type(x).__name__} {x!r}" if isinstance(x, (str, int, float, type(None))) else type(x).__name__


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
