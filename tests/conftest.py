"""The `backend` fixture: every test that takes it runs on every built-in backend.

A backend that is not there is skipped with its reason. The environment variable RNNBP_TEST_BACKENDS (a comma between
names) says which must be there: without one of them its tests fail.
"""

import os
from importlib.util import find_spec

import pytest

import rnnbp
from rnnbp.registry import BACKENDS

NAMES = ("numpy", "strict", "torch", "jax", "cupy")
REQUIRED = frozenset(filter(None, map(str.strip, os.environ.get("RNNBP_TEST_BACKENDS", "").split(","))))


def pytest_configure(config: pytest.Config):
    if cache := getattr(config, "cache", None):  # JAX compiles every operation for every shape: once for all workers
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache.mkdir("jax")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if strangers := REQUIRED - set(NAMES):
        raise pytest.UsageError(f"RNNBP_TEST_BACKENDS may name {', '.join(NAMES)}; got {', '.join(sorted(strangers))}")


def backend_or_skip(name: str) -> rnnbp.Backend:
    """The backend of that name; where it is not available a skip, or a failure if it must be there."""
    reason = BACKENDS.load(name).available()
    if reason is None:
        found = rnnbp.backend(name)
        if name == "torch":
            import torch

            torch.set_num_threads(1)  # on arrays as small as the tests' its threads only wait for each other
        return found
    if name in REQUIRED:
        pytest.fail(f"RNNBP_TEST_BACKENDS asks for {name}: {reason}", pytrace=False)
    pytest.skip(f"backend {name}: {reason}")


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> rnnbp.Backend:
    """Each built-in backend in turn, on its first device."""
    return backend_or_skip(request.param)


@pytest.fixture
def device1() -> rnnbp.Backend:
    """array-api-strict on a device that is not its first: whatever forgets `device=` fails there."""
    backend_or_skip("strict")
    return rnnbp.backend("strict", "device1")


@pytest.fixture
def one_thread():
    """PyTorch, where it is, on one thread: on arrays as small as the tests' its threads only wait for each other."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch):
    """Every call of NumPy's own scan: the arrays that it got, the options and what it gave."""
    from rnnbp_numpy import NumpyBackend

    calls, own = [], NumpyBackend.scan

    def scan(self, cell, params, xs, s0, **options):
        calls.append(((xs, *s0, *params.values()), options, own(self, cell, params, xs, s0, **options)))
        return calls[-1][2]

    monkeypatch.setattr(NumpyBackend, "scan", scan)
    return calls
