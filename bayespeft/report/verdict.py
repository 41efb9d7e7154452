"""What a report comes to: a kind that code can act on, few words, and one plain sentence of why.

The test of calibration is one-sided, at 5 %: is the calibration error larger than what sampling noise alone reaches in 95 of
100 samples of a calibrated model? Where it is not, that says something only if an error of 5 points would have been noticed:
the power against it is simulated, and where it is below one half there are too few rows to tell. A model whose error is within
noise is called calibrated only if it is also better than the trivial answer, which gives every row the base rates. However few
the rows, that it is hardly better may be clear already, and is then what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bayespeft.report.metric import Metric, counted

Kind = Literal["calibrated", "over", "under", "both", "high", "low", "no_skill", "too_few"]

POINTS = 0.05
"""The miscalibration that a report should be able to notice."""

LEAST_POWER = 0.5

LEAST_SKILL, LEAST_ROWS = 0.1, 50
"""A skill whose interval is from 0 or less to less than this is none, by rows that are too few to tell more; by fewer than so
many rows, intervals that resample them are too narrow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the figures say.

    Attributes:
        kind: "calibrated": within noise, with enough rows, and better than base rates. "over" or "under": claims more than it
            keeps, or less. "both": either, in different places. "high" or "low": of quantities, predictions lie above or
            below most targets; of several labels, these are expected more or less often than they occur. "no_skill": within
            noise, but not shown to be better than base rates. "too_few": within noise, in which an error of 5 points would
            more often than not be, too.
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


def too_few(n: int, noise: float, power: float, off: str) -> Verdict:
    """Return the verdict where a miscalibration of 5 points, `off`, would more often be missed than noticed."""
    reason = (
        f"Chance alone makes a calibration error of up to {100 * noise:.1f} % among {counted(n, 'row')}, and {off} would be "
        f"noticed in only {100 * power:.0f} of 100 such test sets."
    )
    return Verdict("too_few", f"too few rows to tell: {n:,}", reason)


def one_sided(gap: float, error: float, subject: str) -> Verdict | None:
    """Return "over" or "under" where confidence is off by at least half of the calibration error, else None.

    At least half means that three quarters of all gap between confidence and accuracy has one sign.

    Args:
        gap: mean confidence less accuracy.
        error: the calibration error.
        subject: whose confidence it is, with its verb, such as "It is".
    """
    if abs(gap) < error / 2:
        return None
    kind: Kind = "over" if gap > 0 else "under"
    reason = f"{subject} {'less' if gap > 0 else 'more'} often right than it claims."
    return Verdict(kind, f"{kind}-confident by {100 * abs(gap):.1f} points", reason, abs(gap))


def two_sided(error: float, what: str) -> Verdict:
    """Return "both", by the calibration error: too much is claimed for some of `what`, and too little for others."""
    text = f"over- and under-confident by {100 * error:.1f} points"
    return Verdict("both", text, f"It claims too much for some {what} and too little for others.", error)


def worthless(skill: Metric | None, n: int) -> bool:
    """Say whether n rows show that predictions are hardly better than the trivial ones, be they too few for calibration."""
    return n >= LEAST_ROWS and skill is not None and skill.low <= 0 and skill.high < LEAST_SKILL


def within_noise(n: int, noise: float, power: float, skill: Metric | None, trivial: str) -> Verdict:
    """Return the verdict where the calibration error is within noise.

    Args:
        n: rows.
        noise: what chance alone makes of the calibration error, as a fraction.
        power: share of samples in which an error of 5 points would be noticed.
        skill: over base rates; None where these can't be beaten.
        trivial: what giving base rates is, after "are not shown to be better than giving".
    """
    if power < LEAST_POWER and not worthless(skill, n):
        return too_few(n, noise, power, "a model that claims 5 points too much")
    if skill is None or skill.low <= 0:
        reason = f"Its probabilities are not shown to be better than giving {trivial}."
        return Verdict("no_skill", "no better than the base rates", reason)
    reason = f"What it claims is what it keeps, as far as {counted(n, 'row')} can show."
    return Verdict("calibrated", f"well calibrated, as far as {counted(n, 'row')} show{'s' * (n == 1)}", reason)
