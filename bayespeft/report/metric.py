"""A number with its interval."""

from __future__ import annotations

import math
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
        # JSON has no number for an end that is not bounded, and `to_dict` writes None there.
        object.__setattr__(self, "low", -math.inf if self.low is None else self.low)
        object.__setattr__(self, "high", math.inf if self.high is None else self.high)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float | None]:
        """Return value, low and high; None for an end that is not bounded, which JSON has no number for."""
        ends = {"low": self.low, "high": self.high}
        return {"value": self.value, **{name: end if math.isfinite(end) else None for name, end in ends.items()}}


Figure = Metric | float | None
"""A number with its interval, or without one, or none: these examples do not define it."""


def value_of(figure: Figure) -> float | None:
    """Return the number alone."""
    return figure.value if isinstance(figure, Metric) else figure


def measured(value: float) -> str:
    """Return a number in units that may be any, such as those of targets: four digits, and more where they are all whole."""
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 3 - math.floor(math.log10(size)))}f}"
