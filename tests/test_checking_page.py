"""The report as a page: whole, self-contained, and as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from faulty_cells import LoopedLSTM

import rnnbp
from rnnbp.checking.page import ORDER, page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "br", "hr", "img", "line", "circle", "rect", "path", "polyline"}


class Balance(HTMLParser):
    """Every tag that opens closes, in turn."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def failing():
    """The page of a loop that stops before t = 0."""
    return page(rnnbp.gradcheck(LoopedLSTM(4, 6, "t = 0 skipped"), lags=True))


def test_the_page_is_whole_and_needs_nothing_else(failing):
    found = Balance()
    found.feed(failing)
    assert found.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in found.seen}
    links = [value for _, attributes in found.seen for key, value in attributes.items() if key in ("href", "src")]
    names = {attributes["id"] for _, attributes in found.seen if "id" in attributes}
    assert {link.removeprefix("#") for link in links} <= names and "url(" not in failing and "@import" not in failing


def test_the_page_says_what_is_wrong_first(failing):
    places = [failing.index(f'id="{kind}"') for kind in ORDER if f'id="{kind}"' in failing]
    assert places == sorted(places) and failing.index('id="diagnosis"') < failing.index('id="tensors"')
    assert "first-step-skipped" in failing and 'class="banner fail"' in failing
    assert "<svg" in failing
    assert failing.count('<tr class="fail">') == failing.count("<td>FAIL</td>") > 0


def test_names_are_escaped():
    report = rnnbp.gradcheck("rnn")
    odd = type(report)(tuple(type(c)(**{**vars(c), "cell": "<b>&"}) for c in report.checks), 0)
    assert "<b>&" not in page(odd) and "&lt;b&gt;&amp;" in page(odd)


def test_the_slopes_are_drawn():
    text = page(rnnbp.gradcheck("rnn", method="taylor"))
    assert 'id="taylor"' in text and "<svg" in text and 'class="banner pass"' in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome: apt install chromium")
def test_a_browser_shows_it(failing, tmp_path):
    """The browser's own idea of the document, and a picture of it that is not blank."""
    imread = pytest.importorskip("matplotlib.image").imread
    source, picture = tmp_path / "report.html", tmp_path / "report.png"
    source.write_text(failing, encoding="utf-8")
    call = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    call += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,2400", "--hide-scrollbars"]
    shot = [*call, f"--screenshot={picture}", source.as_uri()]
    subprocess.run(shot, check=True, timeout=120, capture_output=True)
    pixels = imread(picture)[..., :3]
    colours = np.unique((pixels.reshape(-1, 3) * 15).astype(int), axis=0)
    assert pixels.shape[0] >= 2000 and len(colours) > 30  # text, a red verdict, the shades of a heat map
    reds = (pixels[..., 0] > 0.6) & (pixels[..., 1] < 0.4) & (pixels[..., 2] < 0.4)
    assert np.sum(reds) > 200
    dom = subprocess.run(
        [*call, "--dump-dom", source.as_uri()], check=True, timeout=120, capture_output=True, text=True
    )
    assert "FAILED" in dom.stdout and dom.stdout.count("<svg") == failing.count("<svg")
