"""Gradient checks of anybody's code: a forward and a backward written by hand, on the arrays of any backend.

`calls` calls the code and takes what it returns apart, `slopes` makes the numeric side, `properties` checks what needs
no derivative, `causes` names plain faults, `findings` words what the report adds, `check` puts them together.
"""

from rnnbp.checking.foreign.causes import simple_causes as simple_causes
from rnnbp.checking.foreign.check import check_function as check_function
