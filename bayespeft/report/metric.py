"""A number with its interval, and how numbers are said in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

UNKNOWN = "-"
"""What stands where a number is not known."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number with its interval; `low <= value <= high`. What the interval covers, its report says.

    One example tells nothing of how far a number may be off, nor do a few that are all alike tell of others: such an interval
    reaches as far as others could move the number, up to infinite ends.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        # JSON has no number for an end that is not bounded, and reports write None there.
        object.__setattr__(self, "low", -math.inf if self.low is None else self.low)
        object.__setattr__(self, "high", math.inf if self.high is None else self.high)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def through(self, rising: Callable[[float], float]) -> Metric:
        """Return what a rising function makes of the number; the ends of its interval are what it makes of these ends."""
        return Metric(rising(self.value), rising(self.low), rising(self.high))


Figure = Metric | float | None
"""A number with its interval, or without one, or none: these examples do not define it."""


def value_of(figure: Figure) -> float | None:
    """Return the number alone."""
    return figure.value if isinstance(figure, Metric) else figure


def cells(figure: Figure, form: Callable[[float], str]) -> tuple[str, str]:
    """Return value and interval as they are shown, each number written by `form`; of what is unknown a dash."""
    value = value_of(figure)
    ends = f"[{form(figure.low)}, {form(figure.high)}]" if isinstance(figure, Metric) else ""
    return UNKNOWN if value is None else form(value), ends


def counted(count: int, noun: str) -> str:
    """Return a count and its noun, such as "1 row", "2,000 rows" or "2 classes"."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def measured(value: float) -> str:
    """Return a number in units that may be any, such as those of targets: four digits, and more where they are all whole."""
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"
