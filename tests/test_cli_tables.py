"""Tables in narrow terminals."""

import re

import pytest
from rnnbp_cli.tables import column_widths, show_sections

HEAD = ["measure", "number", "lstm:forget_bias=5", "gru"]
ROWS = [["lags", "half-life W", "0.937", "-1.59e-129"], ["", "kept", "17.8", "∞"]]


@pytest.mark.parametrize("columns", [20, 44, 56, 200])
def test_no_number_is_cut_and_all_of_a_head_is_there(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    show_sections("", HEAD, [ROWS], (), names=2)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    rule = next(k for k, line in enumerate(lines) if "──" in line)
    assert [line.split() for line in lines[rule + 1 :] if line.strip()] == [
        ["lags", "half-life", "W", "0.937", "-1.59e-129"],
        ["kept", "17.8", "∞"],
    ]
    of_lstm = slice(lines[rule + 1].index("0.937") + 5 - 18, lines[rule + 1].index("0.937") + 5)
    head = "".join(line[of_lstm].rpartition("  ")[2].strip() for line in lines[:rule])
    assert head.endswith("lstm:forget_bias=5")
    if columns >= 44:
        assert max(map(len, lines)) <= columns


def test_where_there_is_room_nothing_is_broken():
    assert column_widths(HEAD, ROWS, 200) == [7, 11, 18, 10]


def test_the_widest_head_gives_way_first_and_no_row_does():
    assert column_widths(HEAD, ROWS, 42) == [7, 11, 14, 10]
    assert column_widths(HEAD, ROWS, 1) == [6, 11, 6, 10]
