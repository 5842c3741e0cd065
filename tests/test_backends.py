"""Backends by name and by array, what they hold and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys

import conftest
import numpy as np
import pytest
from helpers import frozen, refusal

import rnnbp
from rnnbp.backends import Backend, backend_for, backend_of, installed_version
from rnnbp.registry import BACKENDS

DTYPES = ("float32", "float64", "complex64", "complex128")


# ---- arrays ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_go_there_and_back(backend, dtype):
    host = frozen(np.arange(6).reshape(2, 3) + 0.5, dtype)
    there = backend.asarray(host)
    assert there.dtype == getattr(backend.xp, dtype) and tuple(there.shape) == (2, 3)
    back = backend.to_numpy(there)
    assert type(back) is np.ndarray and back.dtype == dtype and np.array_equal(back, host)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dtype_that_is_asked_for_is_given(backend, dtype):
    assert backend.asarray([1.0, 2.0], dtype).dtype == getattr(backend.xp, dtype)
    assert backend.to_numpy(backend.asarray(np.float32(1.5), dtype)).item() == 1.5


def test_nothing_is_narrowed(backend):
    host = np.array([1 + 2**-52, 2**-1000])
    assert np.array_equal(backend.to_numpy(backend.asarray(host)), host)
    assert np.array_equal(backend.to_numpy(backend.asarray(host.tolist())), host)
    large = np.array([2**40 + 1])
    assert np.array_equal(backend.to_numpy(backend.asarray(large)), large)
    assert backend.to_numpy(backend.asarray(np.array([True, False]))).dtype == bool


def test_arrays_of_the_backend_itself_go_through(backend):
    host = frozen([1.0, 2.0])
    again = backend.asarray(backend.asarray(host), "float64")
    assert np.array_equal(backend.to_numpy(again), host)


@pytest.mark.parametrize("view", [lambda a: a[::-1], lambda a: a.T, lambda a: a[:, ::2], lambda a: np.imag(1j * a)])
def test_views_are_taken(backend, view):
    host = view(np.arange(12.0).reshape(3, 4))
    assert np.array_equal(backend.to_numpy(backend.asarray(host)), host)


def test_arrays_move_between_pretended_devices(device1):
    first = rnnbp.backend("strict")
    there = device1.asarray(first.asarray([1.0]))
    assert str(there.device) == str(device1.xp.Device("device1"))
    assert first.to_numpy(first.asarray(there)) == [1.0] == device1.to_numpy(there)


def test_other_dtypes_are_refused(backend):
    assert refusal(lambda: backend.asarray([1.0], "float16")) == (
        f"dtype must be one of float32, float64, complex64, complex128 on backend {backend.name}; got 'float16'"
    )


def test_waiting_and_timing(backend):
    backend.synchronize()
    a = backend.asarray(np.ones((50, 50)))
    assert 0 < backend.seconds(lambda: a @ a) < 60


# ---- by name ---------------------------------------------------------------------------------------------------------
def test_every_builtin_backend_is_tested():
    assert sorted(conftest.NAMES) == sorted(entry.name for entry in BACKENDS.candidates if entry.dist is None)


def test_by_name(backend):
    same = rnnbp.backend(backend.name)
    assert isinstance(same, Backend) and same == backend and same.xp is backend.xp
    assert same.version() and same.devices() and same.available() is None
    on_it = rnnbp.backend(backend.name, backend.devices()[0])
    assert np.array_equal(on_it.to_numpy(on_it.asarray([1.0])), [1.0])


def test_a_name_or_the_environment_or_numpy(monkeypatch):
    monkeypatch.delenv("RNNBP_BACKEND", raising=False)
    assert rnnbp.backend().name == "numpy"
    monkeypatch.setenv("RNNBP_BACKEND", "")
    assert rnnbp.backend().name == "numpy"
    conftest.backend_or_skip("strict")
    monkeypatch.setenv("RNNBP_BACKEND", "strict")
    assert rnnbp.backend().name == "strict" and rnnbp.backend("numpy").name == "numpy"


def test_an_unknown_name_shows_the_nearest_and_all(monkeypatch):
    known = ", ".join(BACKENDS)
    assert refusal(lambda: rnnbp.backend("numyp")) == f"unknown backend 'numyp': did you mean numpy? known are {known}"
    assert refusal(lambda: rnnbp.backend("wxyz")) == f"unknown backend 'wxyz': known are {known}"
    monkeypatch.setenv("RNNBP_BACKEND", "nump")
    assert "did you mean numpy" in refusal(rnnbp.backend)


def test_an_unknown_device_is_refused_with_the_known_ones(backend):
    known = ", ".join(backend.devices())
    assert refusal(lambda: rnnbp.backend(backend.name, "moon")) == (
        f"device of backend {backend.name} must be one of {known}; got 'moon'"
    )


MISSING = {
    "torch": "backend torch cannot be used: PyTorch is not installed: pip install torch (or rnnbp[torch])",
    "jax": "backend jax cannot be used: JAX is not installed: pip install jax (or rnnbp[jax])",
    "strict": "backend strict cannot be used: array-api-strict is not installed: pip install array-api-strict",
}


@pytest.mark.parametrize("name", MISSING)
def test_a_library_that_is_missing_is_told_with_how_to_get_it(monkeypatch, name):
    module = sys.modules[BACKENDS.load(name).__module__]
    monkeypatch.setattr(module, "installed_version", lambda _: None)
    kind = BACKENDS.load(name)
    assert kind.version() is None
    if name != "strict":
        assert kind.devices() == ()
    assert refusal(lambda: rnnbp.backend(name)) == MISSING[name]


def test_cupy_without_a_gpu_says_why():
    kind = BACKENDS.load("cupy")
    reason = kind.available()
    if reason is None:
        assert kind.devices()
        return
    assert kind.devices() == () and "\n" not in reason
    assert reason.startswith(
        "CuPy is not installed: pip install" if kind.version() is None else f"cupy {kind.version()} is"
    )
    assert refusal(lambda: rnnbp.backend("cupy")) == f"backend cupy cannot be used: {reason}"


def test_versions_of_distributions():
    assert installed_version("numpy") == np.__version__ and installed_version("no-such-thing-as-this") is None


# ---- by array --------------------------------------------------------------------------------------------------------
def test_arrays_tell_their_backend(backend):
    found = backend_of(backend.asarray([1.0]))
    assert found is not None and found.name == backend.name


def test_arrays_of_a_library_without_backend_have_none():
    assert backend_of([1.0]) is None and backend_of(3.0) is None
    asked = rnnbp.backend("numpy")
    assert backend_for([1.0], asked) is asked


def test_a_backend_of_a_plugin_may_use_arrays_of_another_library():
    class Mine(type(rnnbp.backend("numpy"))):
        name = "mine"

    mine = Mine()
    assert backend_for(np.ones(2), mine) is mine and backend_for(np.ones(2), None).name == "numpy"


# ---- jax without 64-bit numbers --------------------------------------------------------------------------------------
WITHOUT_64_BIT = """
import numpy as np, rnnbp

jax = rnnbp.backend("jax")
wide = [np.ones(2), [1.0], np.ones(2) + 0j, np.array([2**40]), np.array([2**63], dtype="uint64"), np.array([-(2**40)])]
for host, dtype in [*((host, None) for host in wide), (np.ones(2, dtype="float32"), "float64")]:
    try:
        print("narrowed", jax.asarray(host, dtype))
    except rnnbp.UserError as error:
        print(error)
print(jax.asarray(np.array([7, -7])), jax.asarray(np.array([True])))
cell = rnnbp.cell("lstm", 3, 4)
p = {n: jax.asarray(w, "float32") for n, w in cell.init(np.random.default_rng(0)).items()}
ys, _, backward = rnnbp.scan(cell, p, jax.asarray(np.ones((5, 2, 3)), "float32"))
print({str(a.dtype) for a in (ys, *backward(ys)[0].values())})
"""


def output(code, **environment):
    """What a Python of its own prints, $JAX_ENABLE_X64 being as said, or not set."""
    inherited = {n: v for n, v in os.environ.items() if n != "JAX_ENABLE_X64"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=inherited | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("word", ["0", "False"])
def test_jax_refuses_64_bit_numbers_where_they_are_switched_off(word):
    conftest.backend_or_skip("jax")
    refused = [
        f"backend jax has 64-bit numbers switched off and would narrow {dtype} in silence: unset JAX_ENABLE_X64, "
        "or use dtype float32"
        for dtype in ("float64", "float64", "complex128", "int64", "uint64", "int64", "float64")
    ]
    assert output(WITHOUT_64_BIT, JAX_ENABLE_X64=word) == [*refused, "[ 7 -7] [ True]", "{'float32'}"]


def test_jax_switches_them_on_by_itself():
    conftest.backend_or_skip("jax")
    code = "import numpy as np, rnnbp; print(rnnbp.backend('jax').asarray(np.ones(1)).dtype)"
    assert output(code) == ["float64"]


# ---- the fixture -----------------------------------------------------------------------------------------------------
def test_a_backend_that_must_be_there_fails_the_tests(monkeypatch):
    class Absent:
        @classmethod
        def available(cls):
            return "it went away"

    monkeypatch.setattr(BACKENDS, "load", lambda _: Absent)
    monkeypatch.setattr(conftest, "REQUIRED", frozenset({"jax"}))
    with pytest.raises(pytest.skip.Exception, match="backend torch: it went away"):
        conftest.backend_or_skip("torch")
    with pytest.raises(pytest.fail.Exception, match="RNNBP_TEST_BACKENDS asks for jax: it went away"):
        conftest.backend_or_skip("jax")


def test_strangers_in_the_environment_variable_stop_the_tests(monkeypatch):
    monkeypatch.setattr(conftest, "REQUIRED", frozenset({"numpy", "tourch"}))
    with pytest.raises(pytest.UsageError, match="may name numpy, strict, torch, jax, cupy; got tourch"):
        conftest.pytest_configure(None)
