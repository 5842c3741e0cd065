"""The named members of the LSTM family: each is `LSTM` with other options, which can be changed by name as ever.

The eight of "LSTM: A Search Space Odyssey" (Greff et al. 2017, arXiv 1503.04069, section 3) are the vanilla LSTM, with
peepholes, less one thing or with one more.
"""

from __future__ import annotations

from functools import partial

from rnnbp.cells.lstm import LSTM

lstm_peephole = partial(LSTM, peepholes=True)  # Gers & Schmidhuber 2000; the Odyssey's vanilla LSTM

lstm_nig = partial(lstm_peephole, without=("i",))  # no input gate
lstm_nfg = partial(lstm_peephole, without=("f",))  # no forget gate
lstm_nog = partial(lstm_peephole, without=("o",))  # no output gate
lstm_niaf = partial(lstm_peephole, input_activation="identity")  # no input activation function
lstm_noaf = partial(lstm_peephole, output_activation="identity")  # no output activation function
lstm_cifg = partial(lstm_peephole, coupled=True)  # coupled input and forget gate: f = 1 − i
lstm_np = partial(lstm_peephole, peepholes=False)  # no peepholes
lstm_fgr = partial(lstm_peephole, gate_recurrence=True)  # full gate recurrence: i, f, o see each other's last values


def lstm_1997(input_size: int, hidden_size: int, truncated: bool = True, bias: bool = True) -> LSTM:
    """The LSTM of Hochreiter & Schmidhuber 1997, memory cell blocks of size 1: no forget gate, no peepholes, 4σ − 2 on
    the candidate, 2σ − 1 on the output.

    Its gradient is the paper's, truncated: the error of gates and candidate goes to the weights (and to x), and back in
    time along the cell state alone, where it stays as it is. truncated=False: the whole gradient.
    """
    squashed = partial(LSTM, input_activation="bipolar2", output_activation="bipolar")
    return squashed(input_size, hidden_size, bias, without=("f",), stopped=("i", "g", "o") if truncated else ())
