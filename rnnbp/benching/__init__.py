"""Timing: how fast is a cell on a backend, beside its peer in another library and the machine's own matrix product?"""

from rnnbp.benching.plans import Plan as Plan
from rnnbp.benching.plans import Size as Size
from rnnbp.benching.plans import parse_sizes as parse_sizes
from rnnbp.benching.plans import split_specs as split_specs
from rnnbp.benching.reports import Case as Case
from rnnbp.benching.reports import Report as Report
from rnnbp.benching.runner import Mismatch as Mismatch
from rnnbp.benching.runner import bench as bench
