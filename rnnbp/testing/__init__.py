"""The conformance suite for cells: what a plugin's author runs over a cell, with pytest or without.

    from rnnbp.testing import check_cell, parametrize_with_checks

    check_cell("mgu")                                   # raises AssertionError with all that is wrong

    @parametrize_with_checks(["mgu", "mgu:reset=before", MyCell(3, 5)])
    def test_my_cells(cell, check):                     # one test for each cell and check
        check(cell)

`CHECKS` holds the checks by name; the docstring of each says what it wants.
"""

from rnnbp.testing.catalogue import CHECKS as CHECKS
from rnnbp.testing.runner import CellCheck as CellCheck
from rnnbp.testing.runner import Conformance as Conformance
from rnnbp.testing.runner import check_cell as check_cell
from rnnbp.testing.runner import parametrize_with_checks as parametrize_with_checks
