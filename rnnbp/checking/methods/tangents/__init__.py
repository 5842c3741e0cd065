"""Exact slopes in real arithmetic: tangents follow the forward by the rules of calculus.

`space` records a forward once as a tape of linear maps, `tape` holds these maps, `sparse` the tangents of single
entries that need no array of their own size, and `method` sends tangents through the tape.
"""

from rnnbp.checking.methods.tangents.method import Tangents as Tangents
