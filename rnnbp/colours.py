"""The colours of pictures and pages: told apart by every eye, on white paper and on a dark screen.

Okabe & Ito, "Color universal design" (2008), with black last. On white their orange and sky are too light for a thin
line (WCAG 2.2, 1.4.11 asks for a contrast of 3 : 1), so the light list has the nearest colours that have this contrast
and stay apart for eyes without red, green or blue cones. On a dark ground theirs have it; the blue alone is lighter.
"""

LIGHT = ("#006dae", "#be4900", "#009164", "#c37baa", "#c48600", "#089bdf", "#161616")
DARK = ("#5a8af0", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f2f2f2")
INK = {"light": "#1f1f1f", "dark": "#e6e6e6"}  # text, axes
FAINT = {"light": "#d9d9d9", "dark": "#3a3f45"}  # grids
PAPER = {"light": "#ffffff", "dark": "#14171a"}
LINK = {"light": "#0058a3", "dark": "#7ab8f5"}
