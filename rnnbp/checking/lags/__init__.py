"""Per time step and lag: the matrix of dL_t/dv_s, numeric and analytic, so that a fault is located in time.

`numeric` perturbs a tensor at one step alone, `analytic` takes the backward's windows apart, `table` judges every
block, `patterns` says where the wrong ones lie, `pages` shows it.
"""

from rnnbp.checking.lags.making import lag_findings as lag_findings
from rnnbp.checking.lags.making import lag_tables as lag_tables
from rnnbp.checking.lags.numeric import numeric_blocks as numeric_blocks
from rnnbp.checking.lags.table import LagTable as LagTable
