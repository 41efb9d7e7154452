"""A chart as inline SVG. Colours are classes of the page's style, so that it reads in light and dark, and in print.

Every text is escaped. Sizes are in units that are about a pixel on a phone; the page scales the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

LEFT, RIGHT, TOP, BOTTOM = 42, 18, 24, 36

Range = tuple[float, float]


class Chart:
    """Axes, and what is drawn into them, in their own units.

    Args:
        x: range from left to right.
        y: range from bottom to top.
        x_label: what x is, below.
        y_label: what y is, above.
        description: what the chart says, for those who can't see it.
        height: of the whole.
        x_ticks: position -> label; round numbers where it is left out.
        y_ticks: the same.
    """

    width = 360

    def __init__(
        self,
        x: Range,
        y: Range,
        *,
        x_label: str,
        y_label: str,
        description: str,
        height: int = 260,
        x_ticks: Mapping[float, str] | None = None,
        y_ticks: Mapping[float, str] | None = None,
    ) -> None:
        self.x, self.y = _wide(x), _wide(y)
        self.height, self.description = height, description
        self._parts: list[Markup] = []
        self._axes(x_label, y_label, ticks(self.x) if x_ticks is None else x_ticks, y_ticks)

    def at_x(self, x: float) -> float:
        """Place of x in the drawing."""
        low, high = self.x
        return LEFT + (x - low) / (high - low) * (self.width - LEFT - RIGHT)

    def at_y(self, y: float) -> float:
        """Place of y in the drawing."""
        low, high = self.y
        return self.height - BOTTOM - (y - low) / (high - low) * (self.height - TOP - BOTTOM)

    def bar(self, x: Range, y: Range, kind: str, tip: str) -> None:
        """Draw a rectangle of a class, with a tip that shows when it is pointed at."""
        left, right, low, high = self.at_x(x[0]), self.at_x(x[1]), self.at_y(min(y)), self.at_y(max(y))
        self._add(
            '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>',
            kind, left, high, right - left, low - high, tip,
        )  # fmt: skip

    def line(self, points: Sequence[tuple[float, float | None]], kind: str, width: float | None = None) -> None:
        """Draw a line of a class and a width, which is the class's if left out; it is broken where y is not a finite number."""
        path, pen = [], "M"
        for x, y in points:
            if y is None or not math.isfinite(y):
                pen = "M"
                continue
            path.append(f"{pen}{self.at_x(x):.1f} {self.at_y(y):.1f}")
            pen = "L"
        style = Markup() if width is None else Markup(' style="stroke-width:{:.1f}"').format(width)
        self._add('<path class="line {}"{} d="{}"/>', kind, style, " ".join(path))

    def band(self, points: Sequence[tuple[float, float, float]]) -> None:
        """Fill between low and high of points (x, low, high)."""
        edge = [(x, high) for x, _, high in points] + [(x, low) for x, low, _ in reversed(points)]
        path = " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in edge)
        self._add('<polygon class="band" points="{}"/>', path)

    def dot(self, x: float, y: float, kind: str, tip: str, radius: float = 4) -> None:
        """Draw a dot of a class, with a tip that shows when it is pointed at."""
        self._add(
            '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>',
            kind, self.at_x(x), self.at_y(y), radius, tip,
        )  # fmt: skip

    def text(self, x: float, y: float, text: str, kind: str) -> None:
        """Write a text of a class, centred just above a point."""
        self._label(self.at_x(x), self.at_y(y) - 4, text, "middle", kind)

    def svg(self) -> Markup:
        """Return the element."""
        size = (self.width, self.height)
        return Markup('<svg viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">\n{}\n</svg>').format(
            *size, *size, self.description, Markup("\n").join(self._parts)
        )

    def _axes(
        self, x_label: str, y_label: str, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str] | None
    ) -> None:
        foot = self.height - BOTTOM
        for y, label in (ticks(self.y) if y_ticks is None else y_ticks).items():
            self.line([(self.x[0], y), (self.x[1], y)], "grid")
            self._label(LEFT - 6, self.at_y(y) + 3.5, label, "end")
        for x, label in x_ticks.items():
            place = self.at_x(x)
            self._add('<path class="line axis" d="M{:.1f} {} V{}"/>', place, foot, foot + 4)
            self._label(place, foot + 15, label, "middle")
        self.line([(self.x[0], self.y[0]), (self.x[1], self.y[0])], "axis")
        self._label(self.width - RIGHT, self.height - 4, x_label, "end", "label")
        self._label(4, 12, y_label, "start", "label")

    def _label(self, x: float, y: float, text: str, anchor: str, kind: str = "tick") -> None:
        self._add('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', kind, x, y, anchor, text)

    def _add(self, template: str, *values: object) -> None:
        self._parts.append(Markup(template).format(*values))


def ticks(span: Range) -> dict[float, str]:
    """Return six round numbers at most within a range, with their labels."""
    low, high = span
    raw = (high - low) / 5
    scale = 10.0 ** math.floor(math.log10(raw))
    step = scale * next((s for s in (1, 2, 5) if s * scale >= raw * (1 - 1e-9)), 10)
    first = math.ceil(low / step - 1e-9)
    values = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    big = max(map(abs, values), default=0) >= 1e6
    return {value: f"{value:.3g}" if big else f"{value:,.{digits}f}" for value in values}


def percent(values: Sequence[float]) -> dict[float, str]:
    """Return shares with their labels in percent."""
    return {value: f"{100 * value:g} %" for value in values}


def percent_ticks(high: float, low: float = 0.0) -> dict[float, str]:
    """Return round shares within a range, with their labels in percent."""
    return {value / 100: f"{label} %" for value, label in ticks((100 * low, 100 * high)).items()}


SHARES = percent((0, 0.2, 0.4, 0.6, 0.8, 1))
"""Ticks of an axis from 0 to 100 %."""


def _wide(span: Range) -> Range:
    low, high = span
    return (low, high) if high - low > 1e-12 * max(abs(low), abs(high), 1e-300) else (low - 0.5, low + 0.5)
