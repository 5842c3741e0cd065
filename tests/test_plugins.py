"""The plugins that lie in the checkout pass the conformance suite on every backend; they need not be installed.

Their own tests, which run in an environment of their own, go further, on numpy and strict.
"""

from __future__ import annotations

from functools import partial

import pytest
import rnnbp_mgu
from rnnbp_recent.mingru import mingru
from rnnbp_recent.minlstm import minlstm
from rnnbp_recent.slstm import SLSTM
from test_conformance import ON_JAX

from rnnbp.testing import check_cell

FORMS = {
    "mgu": rnnbp_mgu.mgu,
    "slstm": SLSTM,
    "slstm:forget=exp": partial(SLSTM, forget="exp"),
    "mingru": mingru,
    "mingru:parallel=false,positive=true": partial(mingru, parallel=False, positive=True),
    "minlstm": minlstm,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_plugins_cell(backend, form):
    check_cell(FORMS[form], backend=backend, checks=ON_JAX if backend.name == "jax" else None)
