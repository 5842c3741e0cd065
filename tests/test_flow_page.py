"""The page of a report: whole, self-contained, and as a browser shows it on a desk and on a phone, light and dark."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape, unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from flow_reports import NAMES, RATES, T, layered, report
from flow_reports import PICTURES as MADE

from rnnbp import colours
from rnnbp.flow import measures
from rnnbp.flow.measures.found import Line, Panel
from rnnbp.flow.pictures.numbers import image_table, lines_table, thinned
from rnnbp.pages import Section, document, table

pytest.importorskip("matplotlib")
from matplotlib.image import imread  # noqa: E402

from rnnbp.flow.pictures.page import page  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "br", "hr", "img", "link"}


class Whole(HTMLParser):
    """Every tag that opens closes, in turn; tags with their attributes, and the text within each section."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id", "")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        within = next((name for tag, name in self.open if tag == "section"), "")
        self.texts[within] = self.texts.get(within, "") + data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


@pytest.fixture(scope="module")
def pages():
    """The pages of one subject and of four."""
    with pytest.MonkeyPatch.context() as patch:
        for name, picture in MADE.items():
            patch.setitem(measures.PICTURES, name, picture)
        yield {n: page(report(n)) for n in (1, 4)}


@pytest.fixture(params=[1, 4])
def text(pages, request):
    return pages[request.param]


def anchors():
    return [name.replace(" ", "-") for name in MADE]


def test_it_is_whole_and_needs_nothing_else(text):
    found = Whole(text)
    assert not {"script", "link", "img", "iframe", "object", "audio", "video", "form"} & {tag for tag, _ in found.tags}
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    links = found.attributes("href") + found.attributes("src") + found.attributes("xlink:href")
    assert links and all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "@import" not in text and "http" not in re.sub('base64,[^"]*', "", text).replace("http-equiv", "")
    assert any("default-src 'none'" in content for content in found.attributes("content"))


def test_every_reference_finds_its_id_and_ids_differ(text):
    found = Whole(text)
    ids = found.attributes("id")
    assert len(set(ids)) == len(ids) and not any(" " in name for name in ids)
    wanted = {link[1:] for link in found.attributes("href") if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", text)
    )
    wanted |= {name for key in ("aria-labelledby", "aria-describedby") for name in found.attributes(key)}
    assert len(wanted) > 20 and wanted <= set(ids)


def test_sections_come_in_order_and_the_contents_lead_to_each(text):
    found = Whole(text)
    sections = [attrs["id"] for tag, attrs in found.tags if tag == "section"]
    assert sections == ["reading", *anchors(), "numbers", "rest"]
    assert [attrs["href"] for tag, attrs in found.tags if tag == "a"] == ["#main", *(f"#{name}" for name in sections)]


def test_each_picture_has_its_words_and_its_numbers(pages):
    for n, text in pages.items():
        found = Whole(text)
        for (name, what), anchor in zip(MADE.items(), anchors(), strict=True):
            words = found.texts[anchor]
            assert what.title in words and what.formula in words and what.y.label in words
            for label, one in report(n).found.items():
                seen = next(p.seen for p in one["made"].panels if p.picture == name)
                assert (f"{label}: {seen}" if n > 1 else seen) in words
        assert text.count("<svg") == text.count("</details>") == len(MADE)
        assert text.count('role="img"') == len(MADE)


def test_names_are_escaped(pages):
    assert "<b>" not in pages[4] and "Made by <hand>" in unescape(pages[4]) and "Made by <hand>" not in pages[4]
    assert escape(NAMES[1]) in pages[4] and "$x_1$" in pages[4]


def test_the_tables_hold_the_values_thinned(pages):
    rows = re.findall(r"<tr>(.*?)</tr>", re.search(r'<section id="made-decay">.*?</section>', pages[4], re.S)[0])
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    assert [unescape(c) for c in cells[0]] == ["lag u, steps back", *NAMES]
    assert [row[0] for row in cells[1:]] == [str(u) for u in range(T)]
    for u, row in enumerate(cells[1:]):
        assert row[1:] == [f"{rate**u:.4g}" for rate in RATES]
    assert all(section.count("<tr>") <= 26 for section in re.findall(r"<table>.*?</table>", pages[4], re.S))


def test_long_curves_are_thinned_and_said():
    assert thinned(7, 25) == list(range(7)) and thinned(1, 25) == [0]
    found = thinned(1000, 25)
    assert len(found) == 25 and (found[0], found[-1]) == (0, 999) and max(np.diff(found)) - min(np.diff(found)) <= 1
    x = np.arange(1000)
    panel = Panel("made decay", "", (Line("a", x, 2.0 * x), Line("b", x[::2], 3.0 * x[::2])))
    text = lines_table({"s": panel}, MADE["made decay"])
    assert "25 of 1000 points" in text and "<td>1998</td><td></td>" in text and text.count("<tr>") == 26
    text = image_table(np.arange(900.0).reshape(30, 30), MADE["made map"], "s")
    assert text.count("<tr>") == 26 and "<td>899</td>" in text and text.count('scope="col"') == 13


def test_all_numbers_refusals_and_notes_are_there(pages):
    for n, text in pages.items():
        found = Whole(text)
        numbers = found.texts["numbers"]
        assert "made: kept" in numbers and "made: half-life" in numbers and numbers.count("∞") == n
        assert all(f"{rate:g}" in numbers for rate in RATES[:n])
        assert all(f"this is not for <{name}>" in found.texts["rest"] for name in NAMES[:n])
        assert sum("Every second step." in words for words in found.texts.values()) == 1  # under its first picture


def test_layers_and_where_a_batch_comes_from_are_named(monkeypatch, pages):
    assert f"{NAMES[0]}: a batch <of> noise" in Whole(pages[4]).texts[""] and "<of>" not in pages[4]
    for name, picture in MADE.items():
        monkeypatch.setitem(measures.PICTURES, name, picture)
    text = page(layered())
    assert all(f"lstm, layer {k}: Bars of {k}." in Whole(text).texts["made-bars"] for k in range(2))
    assert text.count("background: var(--s1)") == 3 and "lstm, layer 1: i" in Whole(text).texts["made-bars"]


def test_what_is_left_out_is_said_in_words(pages):
    found = Whole(pages[1])
    assert (
        "Values not drawn: 16 zero or less" in found.texts["made-gates"]
        and "not drawn" not in found.texts["made-decay"]
    )


def test_colours_are_the_pages_own(pages):
    """No colour is left that a dark screen could not change, but for heat maps."""
    drawn = "".join(re.findall(r"<svg.*?</svg>", re.sub('base64,[^"]*', "", pages[4]), re.S))
    assert not re.findall(r"(?:fill|stroke): ?(?:#|rgb)", drawn)
    used = set(re.findall(r"var\(--\w+\)", drawn)) | ({"currentColor"} & set(re.findall("currentColor", drawn)))
    assert used == {"var(--s1)", "var(--s2)", "var(--s3)", "var(--s4)", "var(--faint)", "var(--paper)", "currentColor"}
    light, dark = re.findall(r":root \{(--ink[^}]*)\}", pages[4])
    for k in range(7):
        assert f"--s{k + 1}:{colours.LIGHT[k]};" in light and f"--s{k + 1}:{colours.DARK[k]};" in dark
    assert f"--paper:{colours.PAPER['dark']}" in dark and "prefers-color-scheme: dark" in pages[4]
    assert "@media print" in pages[4]


def test_a_page_of_its_own_making():
    """What other pages are made of, too."""
    text = document("A < B", "<p>intro</p>", [Section("one", "1 < 2", table(("", "a&b"), [("r<s", "3<4")], "what"))])
    found = Whole(text)
    assert "A < B" in found.texts[""] and "1 < 2" in found.texts["one"] and "3<4" in found.texts["one"]
    assert 'tabindex="0"' in text and 'scope="row"' in text


# a browser


class Browser:
    """Headless Chromium with a page in a frame as wide as wanted: a window of its own is never narrower than 500."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0

    def show(self, text, width, dark=False):
        """What is on its screen, the frame's measures, and what its console says."""
        self.count += 1
        source, shot = (self.folder / f"{self.count}.{ending}" for ending in ("html", "png"))
        look = (
            "d=this.contentDocument;document.body.dataset.found=[d.documentElement.scrollWidth,"
            "this.contentWindow.innerWidth,d.querySelectorAll('svg').length,"
            "Math.min(...[...d.querySelectorAll('svg')].map(e=>e.getBoundingClientRect().height)),"
            "this.contentWindow.matchMedia('(prefers-color-scheme: dark)').matches].join(' ')"
        )
        frame = (
            f'<iframe style="border:0;width:{width}px;height:3000px" srcdoc="{escape(text)}" onload="{escape(look)}">'
        )
        source.write_text(
            f'<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
            f'<body style="margin:0">{frame}</iframe></body>',
            encoding="utf-8",
        )
        call = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        call += ["--no-first-run", f"--user-data-dir={self.folder / 'profile'}", "--hide-scrollbars"]
        call += [f"--window-size={width},3000", "--enable-logging=stderr", "--v=0"]
        call += ["--blink-settings=preferredColorScheme=0"] * dark + [f"--screenshot={shot}", "--dump-dom"]
        done = subprocess.run([*call, source.as_uri()], check=True, timeout=120, capture_output=True, text=True)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return imread(shot)[..., :3], re.search('data-found="([^"]*)"', done.stdout)[1].split(), console


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome: apt install chromium")
    return Browser(tmp_path_factory.mktemp("browser"))


def near(pixels, colour):
    """How many pixels have a colour, but for rounding."""
    wanted = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return int(np.sum(np.max(np.abs(pixels - wanted), axis=-1) < 0.02))


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, False), (375, True)])
def test_a_browser_shows_it(pages, browser, width, dark):
    pixels, (wide, inner, charts, height, seen_dark), console = browser.show(pages[4], width, dark)
    assert console == []
    assert int(inner) == width and int(wide) <= width  # nothing sticks out
    assert int(charts) == len(MADE) and float(height) > 150
    assert seen_dark == str(dark).lower()
    theme, subjects = ("dark", colours.DARK) if dark else ("light", colours.LIGHT)
    assert near(pixels[:, :width], colours.PAPER[theme]) > 0.5 * pixels[:, :width].shape[0] * width
    assert min(near(pixels, colour) for colour in subjects[:4]) > 100  # swatches and lines
    assert near(pixels, colours.INK[theme]) > 500


def test_a_browser_would_say_what_is_wrong(pages, browser):
    """A picture from elsewhere and a script are refused by the page itself, and a wide part is noticed."""
    wrong = pages[1].replace(
        "</main>", '<img src="https://example.org/a.png"><script>1</script><p style="width:999px">w</main>'
    )
    _, (wide, inner, *_), console = browser.show(wrong, 375)
    assert int(wide) > int(inner) and len([line for line in console if "Content Security Policy" in line]) == 2
