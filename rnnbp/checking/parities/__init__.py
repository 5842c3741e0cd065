"""Parity: the same problem on several array libraries, and whether every number that comes out is the same.

`quantities` says what is compared, `comparison` runs it on each backend, `report` holds what was found.
"""

from rnnbp.checking.parities.comparison import parity as parity
from rnnbp.checking.parities.report import Agreement as Agreement
from rnnbp.checking.parities.report import ParityReport as ParityReport
