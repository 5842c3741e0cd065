"""Gradient checks: numeric derivatives of a forward against the backward that was written by hand.

`subjects` says what is compared, `differences` how the numeric side is made, `metric` and `tolerances` how it is
judged; `cells` checks a cell over a sequence, `models` a whole model, `catalogue` many cells.
"""

from rnnbp.checking.catalogue import all_specs as all_specs
from rnnbp.checking.catalogue import builtin_specs as builtin_specs
from rnnbp.checking.catalogue import check_cells as check_cells
from rnnbp.checking.cells import gradcheck as gradcheck
from rnnbp.checking.losses import check_losses as check_losses
from rnnbp.checking.models import check_model as check_model
from rnnbp.checking.models import check_task as check_task
from rnnbp.checking.parities import ParityReport as ParityReport
from rnnbp.checking.parities import parity as parity
from rnnbp.checking.report import Check as Check
from rnnbp.checking.report import Report as Report
