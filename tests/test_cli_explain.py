"""`rnnbp explain`: the tour, one answer, the list, the page; and the FAQ, which is made of the same answers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from time import sleep

import pytest
from rnnbp_cli import explain as command
from rnnbp_cli import main

from rnnbp.explaining import QUESTIONS, Answer, Table, html, markdown

FAQ = Path(__file__).parent.parent / "docs" / "faq.md"
NUMBER = re.compile(r"[−-]?\d+(?:\.\d+)?(?:e[+-]\d+)?|∞")
ROUNDING = 1e-12  # numbers below it are different on every machine


@pytest.fixture
def explain(capsys, monkeypatch):
    """Run the command, on a machine that need not be quick: exit code, stdout and stderr."""
    monkeypatch.setattr(command, "PATIENCE", 600.0)

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["explain", *words])
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def quick(monkeypatch):
    """Answers that need no computing, and which of them were asked for."""
    asked = []

    def plain(name):
        def answer():
            asked.append(name)
            part = Table(("what|", "value"), (("a|<b>", "1.5"),), words=1)
            return Answer(
                name, f"About [{name}]?", "`So` & so.", ("Text.", part), {"x": 1.5}, ("rnnbp cells",), "cells.md"
            )

        return answer

    for name, one in QUESTIONS.items():
        monkeypatch.setitem(QUESTIONS, name, one._replace(answer=plain(name)))
    return asked


def test_the_tour_has_every_answer_and_does_not_wait_in_a_pipe(explain, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it waited"))
    code, out, err = explain()
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    for one in QUESTIONS.values():
        assert said.count(one.text) == 2  # in the list, and above its answer
    assert said.count("To go on with:") == len(QUESTIONS) and max(map(len, out.splitlines())) <= 120


def test_in_a_terminal_enter_leads_on(explain, quick, monkeypatch):
    waited = []
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda said: waited.append((said, len(quick))))
    code, _, _ = explain()
    assert code == 0 and quick == list(QUESTIONS)
    assert [k for _, k in waited] == list(range(1, len(QUESTIONS))) and "Enter" in waited[0][0]


@pytest.mark.parametrize(("end", "code"), [(EOFError, 0), (KeyboardInterrupt, 130)])
def test_the_tour_can_be_left(explain, quick, monkeypatch, end, code):
    def leave(_):
        raise end

    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", leave)
    assert explain()[0] == code and quick == [next(iter(QUESTIONS))]


def test_one_question_alone(explain, quick):
    code, out, err = explain("deltas")
    assert (code, err, quick) == (0, "", ["deltas"])
    for text in ("About [deltas]?", "`So` & so.", "Text.", "a|<b>", "rnnbp cells", "docs/cells.md"):
        assert text in out
    assert QUESTIONS["bptt"].text not in out


def test_the_list_computes_nothing(explain, quick):
    code, out, err = explain("--list")
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert (code, err, quick) == (0, "", []) and rows == [[name, one.text] for name, one in QUESTIONS.items()]
    found = json.loads(explain("--list", "--json")[1])["questions"]
    assert found == [{"name": name, "question": one.text} for name, one in QUESTIONS.items()] and quick == []


def test_json_alone_on_stdout_has_the_numbers(explain):
    code, out, err = explain("deltas", "--json")
    (answer,) = json.loads(out)["answers"]
    assert (code, err) == (0, "") and answer["name"] == "deltas" and answer["numbers"]["5.many"] == 15
    tables = [part for part in answer["parts"] if "rows" in part]
    assert ["5", "5", "15"] == tables[0]["rows"][0][:3] and answer["commands"] and answer["page"] == "truncation.md"


@pytest.mark.usefixtures("quick")
def test_what_takes_long_says_so_on_stderr(explain, monkeypatch):
    assert explain("bptt")[2] == ""
    slow = QUESTIONS["bptt"].answer
    monkeypatch.setattr(command, "PATIENCE", 0.01)
    monkeypatch.setitem(QUESTIONS, "bptt", QUESTIONS["bptt"]._replace(answer=lambda: (sleep(0.2), slow())[1]))
    assert explain("bptt")[2] == f"computing: {QUESTIONS['bptt'].text}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["delta"], "unknown question 'delta': did you mean deltas"),
        (["deltas", "--list"], "--list computes nothing; got deltas"),
        (["--list", "--report", "a.html"], "--list computes nothing; got --report"),
        (["--force"], "got no --report"),
        (["--report", "a.pdf"], "--report writes HTML; got a.pdf"),
        (["--report", "nowhere/a.html"], "needs a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(explain, quick, words, message):
    code, out, err = explain(*words)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1 and quick == []


class Reader(HTMLParser):
    """The tags of a page, what they refer to, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text += data


def test_the_report_is_a_page_that_needs_nothing_else(explain, tmp_path):
    path = tmp_path / "faq.html"
    code, out, err = explain("--report", str(path))
    assert (code, out, err) == (0, "", f"report {path}\n")
    page = Reader(path.read_text(encoding="utf-8"))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert page.links and all(link.startswith("#") for link in page.links)
    assert all(one.text in page.text for one in QUESTIONS.values()) and page.tags.count("table") > len(QUESTIONS)
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")


def test_the_report_replaces_nothing_unasked(explain, quick, tmp_path):
    path = tmp_path / "faq.html"
    path.write_text("mine", encoding="utf-8")
    code, _, err = explain("deltas", "--report", str(path))
    assert code == 2 and "say --force" in err and path.read_text(encoding="utf-8") == "mine" and quick == []
    assert explain("deltas", "--report", str(path), "--force", "--json")[0] == 0
    assert quick == ["deltas"] and "About [deltas]?" in path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick")
def test_what_has_a_meaning_in_markdown_or_html_is_text():
    answer = QUESTIONS["deltas"].answer()
    assert r"| a\|<b> | 1.5 |" in markdown([answer]) and "| :--- | ---: |" in markdown([answer])
    page = html([answer])
    assert "<code>So</code> &amp; so." in page and "a|&lt;b&gt;" in page and "<b>" not in page


def value(text):
    return float(text.replace("−", "-").replace("∞", "inf"))


def same(shown, today):
    """The same number to two digits, or both rounding."""
    a, b = value(shown), value(today)
    return a == b or max(abs(a), abs(b)) < ROUNDING or abs(a - b) <= 0.02 * max(abs(a), abs(b))


@pytest.fixture(scope="module")
def today():
    """The FAQ as it is made now."""
    return markdown([one.answer() for one in QUESTIONS.values()])


def test_the_faq_has_the_numbers_of_today(today):
    shown = FAQ.read_text(encoding="utf-8").partition("<!-- faq -->")[2].partition("<!-- /faq -->")[0]
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, today)]
    assert words[0] == words[1], "python docs/refresh.py faq makes the page anew"
    pairs = list(zip(NUMBER.findall(shown), NUMBER.findall(today), strict=True))
    assert len(pairs) > 200 and [pair for pair in pairs if not same(*pair)] == []


@pytest.mark.parametrize(
    ("shown", "now", "wanted"),
    [("0.537", "0.536", True), ("0.537", "0.6", False), ("1e-16", "4.4e-16", True), ("0", "1e-3", False)]
    + [("−0.42", "0.42", False), ("−∞", "−∞", True)],
)
def test_numbers_agree_to_two_digits(shown, now, wanted):
    assert same(shown, now) is wanted


def test_the_faq_asks_every_question():
    assert re.findall(r"^## (.*)$", FAQ.read_text(encoding="utf-8"), re.M) == [one.text for one in QUESTIONS.values()]
