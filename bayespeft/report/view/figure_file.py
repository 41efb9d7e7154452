"""A chart of a page as an SVG file of its own: with its title and the meaning of its colours, which the page says around it."""

from __future__ import annotations

import re
import textwrap

from markupsafe import Markup

from bayespeft.report.view.page import Picture
from bayespeft.report.view.pages import render
from bayespeft.report.view.svg import Chart

# Heights of lines, and how many characters are as wide as a chart.
TITLE, LINE = 20, 15
TITLE_CHARACTERS, CHARACTERS = 44, 52


def figure_file(title: str, picture: Picture) -> str:
    """Return the file. Its colours are those of the page in light: not all that reads SVG knows variables of CSS."""
    colours = dict(re.findall(r"--(\w+): (#\w+)", render("style").partition("@media")[0]))
    style = re.sub(r"var\(--(\w+)\)", lambda name: colours[name[1]], render("chart_style"))
    heading = textwrap.wrap(title, TITLE_CHARACTERS)
    top = TITLE * len(heading) + 8
    y = top + picture.height + LINE
    key = []
    for kind, words in picture.key.items():
        lines = textwrap.wrap(words, CHARACTERS)
        key.append((y, kind, lines))
        y += LINE * len(lines)
    return render(
        "figure",
        width=Chart.width,
        height=y,
        style=Markup(style),  # our own, without any text of the data
        ink=colours["ink"],
        paper=colours["paper"],
        title=[(TITLE * i, line) for i, line in enumerate(heading, 1)],
        top=top,
        chart=picture.svg,
        key=key,
    )
