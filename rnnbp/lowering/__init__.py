"""From a cell's one definition to the graphs that backends make kernels of.

`trace(cell)` gives the forward and the hand-written backward as graphs of elementwise operations, `saved(trace)` what
the forward must leave for the backward. `statements(roots, …)` are lines of a language, in the cell's own names;
`evaluate(roots, inputs, xp)` is the graph on arrays, to the bits of the cell; `derivative(roots, errors, by)` follows
the rules of calculus, an oracle for the backward; `dot(trace)` is a drawing.
"""

from rnnbp.lowering.deriving import derivative as derivative
from rnnbp.lowering.drawing import dot as dot
from rnnbp.lowering.evaluating import evaluate as evaluate
from rnnbp.lowering.nodes import FUNCTIONS as FUNCTIONS
from rnnbp.lowering.nodes import Node as Node
from rnnbp.lowering.nodes import Untraceable as Untraceable
from rnnbp.lowering.nodes import reach as reach
from rnnbp.lowering.saving import saved as saved
from rnnbp.lowering.tracing import Trace as Trace
from rnnbp.lowering.tracing import random_inputs as random_inputs
from rnnbp.lowering.tracing import run_on as run_on
from rnnbp.lowering.tracing import trace as trace
from rnnbp.lowering.tracing import untraceable as untraceable
from rnnbp.lowering.writing import FORMS as FORMS
from rnnbp.lowering.writing import Language as Language
from rnnbp.lowering.writing import statements as statements
