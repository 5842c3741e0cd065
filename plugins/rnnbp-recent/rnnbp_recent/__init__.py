"""Recurrent cells of 2024 as a plugin, written with rnnbp's public names only: sLSTM, minGRU and minLSTM.

`slstm` has four states, one of them a running maximum; `mingru` and `minlstm` bring a scan of their own (`parallel`).
"""
