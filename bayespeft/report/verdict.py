"""What a report comes to: a kind that code can act on, few words, and one plain sentence of why.

The test of calibration is one-sided, at 5 %: is the calibration error larger than what sampling noise alone reaches in 95 of
100 samples of a calibrated model? Where it is not, that says something only if an error of 5 points would have been noticed:
the power against it is simulated, and where it is below one half there are too few rows to tell. A model that keeps its word
is called calibrated only if it is also better than the trivial answer, which gives every row the base rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["calibrated", "over", "under", "both", "high", "low", "no_skill", "too_few"]

POINTS = 0.05
"""The miscalibration that a report should be able to notice."""

LEAST_POWER = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures say.

    Attributes:
        kind: "calibrated": within noise, with enough rows, and better than base rates. "over" or "under": claims more than it
            keeps, or less. "both": either, in different places. "high" or "low", of quantities: predictions lie above or
            below most targets. "no_skill": within noise, but not shown to be better than base rates. "too_few": within noise,
            which an error of 5 points would be, too.
        text: it in a few words.
        reason: one sentence of why.
        points: by how much, as a fraction; None where nothing is wrong that can be measured.
    """

    kind: Kind
    text: str
    reason: str
    points: float | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def tone(self) -> str:
        """Class of the page's headline: "good", "over", "under" or "mixed"."""
        return {"calibrated": "good", "over": "over", "under": "under"}.get(self.kind, "mixed")


def rows(n: int) -> str:
    """Return so many rows, in words."""
    return f"{n:,} row{'s' * (n != 1)}"


def too_few(n: int, noise: float, power: float, off: str) -> Verdict:
    """Return the verdict where a miscalibration of 5 points, `off`, would more often be missed than noticed."""
    reason = (
        f"Chance alone makes a calibration error of up to {100 * noise:.1f} % among {rows(n)}, and {off} would be noticed in "
        f"only {100 * power:.0f} of 100 such test sets."
    )
    return Verdict("too_few", f"too few rows to tell: {n:,}", reason)
