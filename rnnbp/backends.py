"""Array libraries, picked at run time: the `Backend` contract, and how one is found by name or by its arrays."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from rnnbp.errors import UserError
from rnnbp.numerics import Array, HostArray, Namespace
from rnnbp.registry import BACKENDS, distribution

ENVIRONMENT_VARIABLE = "RNNBP_BACKEND"


@dataclass(frozen=True)
class Backend(ABC):
    """An array library on one device. A plugin subclasses this; its library is imported on first use, not before."""

    device: str | None = None  # one of `devices()`; None is the first

    name: ClassVar[str]
    path: ClassVar[str] = "portable"  # which code scans run through; equal bits are promised within one path only
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64", "complex64", "complex128")
    decays: ClassVar[bool] = False  # whether its scan honours a window's decay; else the portable one stands in
    recomputes: ClassVar[bool] = False  # whether its scan takes `remat`; else the portable loop does
    target: ClassVar[str | None] = None  # the language that its fast scan generates from a cell, if it does
    api: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def available(cls) -> str | None:
        """None if arrays can be made here, else the reason why not and how to get it, in one line."""

    @classmethod
    @abstractmethod
    def version(cls) -> str | None:
        """The library's version, or None where it is not installed."""

    @classmethod
    @abstractmethod
    def devices(cls) -> tuple[str, ...]:
        """The devices that can be asked for; the first is the default."""

    @property
    def xp(self) -> Namespace:
        """The namespace with the functions of the standard."""
        return _namespace_of(self)

    @abstractmethod
    def _namespace(self) -> Namespace:
        """Import the library and give its namespace; called once."""

    @abstractmethod
    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        """An array on this device, from a host array or anything like one; never narrower than asked for."""

    @abstractmethod
    def to_numpy(self, x: Array) -> HostArray:
        """The same numbers on the host."""

    def synchronize(self) -> None:
        """Wait until all that was asked of the device is done."""
        return None

    def seconds(self, call: Callable[[], Any]) -> float:
        """How long one call takes, with the device idle before and after it."""
        self.synchronize()
        start = time.perf_counter()
        call()
        self.synchronize()
        return time.perf_counter() - start

    def peak_bytes(self, call: Callable[[], Any]) -> int | None:
        """How far the device's allocator rises above its level during a call; None where arrays are in host memory."""
        del call
        return None

    def scan(self, cell: Any, params: Any, xs: Array, s0: Any, **options: Any) -> Any:
        """A faster scan with the contract of `rnnbp.scan`, or NotImplemented: then the portable loop runs."""
        del cell, params, xs, s0, options
        return NotImplemented

    @classmethod
    def generated(cls, cell: Any, dtype: str) -> str:
        """The source of the kernel that the fast scan runs for a cell; a UserError where there is none."""
        del cell, dtype
        raise UserError(f"backend {cls.name} generates no code: targets are those of backends with a `target`")

    def require_dtype(self, dtype: str | None) -> None:
        """A dtype that this backend does not hold is a UserError."""
        if dtype is not None and dtype not in self.dtypes:
            raise UserError(f"dtype must be one of {', '.join(self.dtypes)} on backend {self.name}; got {dtype!r}")

    def require_device(self) -> None:
        """A device that is not there is a UserError."""
        if self.device is not None and self.device not in self.devices():
            raise UserError(
                f"device of backend {self.name} must be one of {', '.join(self.devices())}; got {self.device!r}"
            )


def default_name() -> str:
    """The backend that is meant where none is named: $RNNBP_BACKEND, else numpy."""
    return os.environ.get(ENVIRONMENT_VARIABLE) or "numpy"


def backend(name: str | None = None, device: str | None = None) -> Backend:
    """The backend of that name, on that device. Without a name: $RNNBP_BACKEND, else numpy.

    An unknown name or device, or a library that is missing or lacks its hardware, is a UserError that says what to do.
    """
    chosen = name or default_name()
    kind = BACKENDS.load(chosen)
    if not isinstance(kind, type) or not issubclass(kind, Backend):
        raise UserError(f"backend {chosen!r} of {distribution(BACKENDS[chosen])} must be a subclass of rnnbp.Backend")
    reason = kind.available()
    if reason is not None:
        raise UserError(f"backend {chosen} cannot be used: {reason}")
    found: Backend = kind(device)
    found.require_device()
    _namespace_of(found)
    return found


@cache
def _namespace_of(found: Backend) -> Namespace:
    return found._namespace()


@cache
def installed_version(distribution: str) -> str | None:
    """The version of a distribution, or None; nothing is imported."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


# the package in which an array's type lives -> the backend that made it
_OWNERS = {
    "numpy": "numpy",
    "cupy": "cupy",
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "array_api_strict": "strict",
}


def backend_of(x: Array) -> Backend | None:
    """The backend that an array belongs to, or None for a library that has none: it takes the portable path."""
    name = _OWNERS.get(type(x).__module__.partition(".")[0])
    return _by_name(name) if name else None


@cache
def _by_name(name: str) -> Backend:
    return backend(name)


def backend_for(x: Array, asked: Backend | None) -> Backend | None:
    """The backend that was asked for, or else the array's own. One that makes other arrays than x is a UserError."""
    if asked is None:
        return backend_of(x)
    if not isinstance(asked, Backend):
        raise UserError(f"backend must be a Backend; got {asked!r}: rnnbp.backend(name) gives one")
    owner = _OWNERS.get(type(x).__module__.partition(".")[0])
    if owner not in (None, asked.name) and asked.name in _OWNERS.values():
        raise UserError(f"backend {asked.name} got arrays of {owner}: convert them with backend.asarray")
    return asked
