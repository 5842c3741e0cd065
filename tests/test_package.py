"""What `import rnnbp` brings with it, and how long it takes."""

from __future__ import annotations

import subprocess
import sys

LIMIT = 0.3  # seconds beyond NumPy's own import

# packages that importing rnnbp loads, beyond the standard library, NumPy and array-api-compat
BEYOND = """
import sys
import numpy, array_api_compat.numpy
before = {name.partition(".")[0] for name in sys.modules}
import rnnbp
added = {name.partition(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)
print(*sorted(added))
"""

SECONDS = """
import numpy, time
start = time.process_time()
import rnnbp
print(time.process_time() - start)
"""

# a session as in the README's example, on the default backend
FIRST_USE = """
import sys
import numpy as np, rnnbp
cell = rnnbp.cell("lstm", input_size=3, hidden_size=4)
ys, _, backward = rnnbp.scan(cell, cell.init(np.random.default_rng(0)), np.ones((5, 2, 3)))
backward(ys)
print(*[name for name in ("cupy", "torch", "jax", "array_api_strict", "typer", "rich") if name in sys.modules])
"""


def output(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_brings_nothing_but_itself():
    assert output(BEYOND) == "rnnbp"


def test_a_scan_on_numpy_brings_no_other_array_library():
    assert output(FIRST_USE) == ""


def test_the_import_is_fast():
    """Processor time, and the best of several: the others tell of a busy machine."""
    assert min(float(output(SECONDS)) for _ in range(5)) < LIMIT


def test_the_public_names_are_sorted_and_each_is_there():
    import rnnbp

    with open(rnnbp.__file__, encoding="utf-8") as source:
        exported = [line.split(" as ")[1].strip() for line in source if line.startswith("from ") and " as " in line]
    assert len(exported) == len(set(exported)) > 20
    assert all(hasattr(rnnbp, name) for name in exported)
    private = {name for name in vars(rnnbp) if not name.startswith("_")} - set(exported)
    modules = {name for name in private if type(vars(rnnbp)[name]).__name__ == "module"}
    assert private == modules, "names that came in without being exported"
