"""A picture as a piece of a page: SVG whose text is text and whose colours are the page's."""

from __future__ import annotations

import re
from io import StringIO
from xml.etree import ElementTree

from rnnbp.benching.plotting import require_matplotlib
from rnnbp.colours import FAINT, INK, LIGHT, PAPER
from rnnbp.flow.pictures.figures import figure_of, settings
from rnnbp.flow.pictures.looks import SCREEN
from rnnbp.flow.reports import Report

NAMED = {INK["light"]: "currentColor", FAINT["light"]: "var(--faint)", PAPER["light"]: "var(--paper)"}
NAMED |= {colour: f"var(--s{k + 1})" for k, colour in enumerate(LIGHT)}
NAMESPACE = re.compile(r"\{[^}]*\}")
FONTS = re.compile(r"font-family: [^;]*;\s*")
# matplotlib writes the first rule into each picture, for all of a page, and the fonts into each word
STYLE = """figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: "DejaVu Sans", Verdana, sans-serif; white-space: pre; }
figure svg { display: block; width: 100%; max-width: 34rem; }
"""


def anchor(picture: str) -> str:
    """The id that a picture has on a page."""
    return picture.replace(" ", "-")


def svg(report: Report, picture: str, title: str, description: str) -> str:
    """The picture in the colours of the page, with a title and a description for who cannot see it."""
    require_matplotlib()
    import matplotlib

    name, text = anchor(picture), StringIO()
    with matplotlib.rc_context(settings(SCREEN)):
        figure_of(report, picture, SCREEN).savefig(text, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    used = set(re.findall(r"#([\w.-]+)", text.getvalue()))
    for element in list(root.iter()):
        element.tag = NAMESPACE.sub("", element.tag)
        for child in list(element):
            if NAMESPACE.sub("", child.tag) in ("metadata", "style"):
                element.remove(child)
        element.attrib = {NAMESPACE.sub("", key): _own(value, name) for key, value in element.attrib.items()}
        if (own := element.attrib.pop("id", "")) in used:  # ids of a page differ
            element.set("id", f"{name}-{own}")
        if element.get("href", "").startswith("#"):
            element.set("href", f"#{name}-{element.get('href', '')[1:]}")
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"}
    for place, (tag, words) in enumerate((("title", title), ("desc", description))):
        said = ElementTree.Element(tag, {"id": f"{name}-{tag}"})
        said.text = words
        root.insert(place, said)
    return ElementTree.tostring(root, encoding="unicode")


def _own(value: str, name: str) -> str:
    """An attribute with references to this picture's ids and the page's colours."""
    if value.startswith("data:"):
        return value
    value = FONTS.sub("", value.replace("url(#", f"url(#{name}-"))
    return re.sub("#[0-9a-f]{6}", lambda found: NAMED.get(found[0], found[0]), value)
