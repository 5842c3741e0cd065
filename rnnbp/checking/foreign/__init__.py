"""Gradient checks of anybody's code: a forward and a backward written by hand, on the arrays of any backend.

`inputs`, `structures` and `calls` call the code and take what it returns apart; `slopes`, `onesided` and `noise` make
the numeric side, `loops` and `stepping` step by step, where the code has a step to give; `verdicts` and `measures`
compare; `conditioning` tells rounding from faults; `properties` checks what needs no derivative; `causes` and `fits`
name plain faults; `findings`, `bystep` and `wording` are what the report says; `check` puts them together.
"""
