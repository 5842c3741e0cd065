"""Gradient checks of anybody's code: a forward and a backward written by hand, on the arrays of any backend.

`calls` calls the code and takes what it returns apart, `slopes` makes the numeric side, `properties` checks what needs
no derivative, `causes` names plain faults, `findings` words what the report adds, `check` puts them together.
"""
