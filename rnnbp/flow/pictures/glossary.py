"""What a reader who knows the chain rule needs besides."""

LEAD = (
    "A recurrent network uses the same weights at every step. The gradient of its loss is a sum over all pairs of a "
    "step that errs and an earlier step that is to blame. This page shows how large the parts of that sum are, and why."
)
GLOSSARY = (
    (
        "What to look at first",
        "How much of an error is left some steps back, in the first picture where lags are measured. On a logarithmic "
        "axis equal distances are equal factors, so a straight line that falls is an exponential decay: the gradient "
        "vanishes, and the network hardly learns from what lies further back. A line that rises explodes. The pictures "
        "of Jacobians say how fast; those of gates and terms say why.",
    ),
    ("T, t", "The length of the sequence, and the number of a step, 1 … T. s_0 is the state before the first."),
    (
        "s_t",
        "The state after step t: all that the network hands on to the next step. Of an LSTM that is h and c, of a "
        "stack the states of all layers. In a picture with two steps, t is the one that errs and s an earlier one.",
    ),
    ("u", "The lag: how many steps an error has gone back, u = t − s."),
    ("L_t", "The loss of step t; the whole loss L is the sum over t."),
    (
        "W, U, b",
        "The weights of the input, the weights of the previous output, the bias. W_s is their use at step s: the "
        "derivative by W is the sum of those by all W_s.",
    ),
    (
        "J_t = ∂s_t/∂s_{t−1}",
        "The Jacobian of one step: a matrix that says how the state answers to a small change of the one before. The "
        "chain rule has ∂s_t/∂s_k = J_t ··· J_{k+1}; all that is said here of far steps comes from this product.",
    ),
    (
        "‖x‖",
        "The length of a vector or matrix, the root of the sum of its squares. The largest singular value of a matrix "
        "is the most by which it lengthens any vector.",
    ),
)
