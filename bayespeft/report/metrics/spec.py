"""`MetricSpec`: all there is to say of one metric of predicted probabilities, and the table of them.

A file of this room registers its metrics by ending in `METRICS = (MetricSpec(...), ...)`; other packages by an entry point of
the group `bayespeft.report.metrics` that points to such a tuple. Reports, their intervals, errors over draws, tables, pages,
and comparisons of methods are made from the table: nothing else knows which metrics there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bayespeft import registry
from bayespeft.errors import ConfigError
from bayespeft.report.binning import Floats
from bayespeft.report.metric import Figure, cells
from bayespeft.report.metrics.examples import Scores
from bayespeft.report.metrics.intervals import Interval
from bayespeft.report.metrics.tally import Function, Tally

Words = str | Callable[[Any], str]
"""A remark, or report -> remark."""

FIRST = ("proper", "calibration", "cells", "selective")
"""Files whose metrics come first, in this order; others follow by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: its key in `CalibrationReport.metrics`, JSON, CSV and errors over draws.
        title: what it is called within a sentence.
        contribution: what each example contributes, (n,), where the metric is the mean of that; it is then tested between
            methods by pairs of examples.
        function: the metric in each resample, (R,), where it is no such mean; NaN where a resample does not define it.
        interval: how its interval is made; None where it is a figure of these rows alone.
        higher_is_better: which way it goes; None where that means nothing.
        unit: "%" of a share, which is shown times 100, "nats", or none.
        remark: what it is in a few words, for the table of all figures.
        printed: remark where the report is printed as text; None: it is not among the figures that are.
        short: title there, if another one.
        tile: remark where it is among the few numbers that come first on the page; None: it is not.
        compared: it is a column of comparisons of methods.
        untested: why methods are not tested by it, where each example has no contribution.
        by_draws: it is drawn against the number of draws.
        of_labels: it depends on labels alone, and draws can't change it.
        classwise: it takes n K numbers in each resample.
    """

    name: str
    title: str
    contribution: Callable[[Scores], Floats] | None = None
    function: Function | None = None
    interval: Interval | None = None
    higher_is_better: bool | None = None
    unit: Literal["%", "nats", ""] = ""
    remark: str = ""
    printed: Words | None = None
    short: str = ""
    tile: Words | None = None
    compared: bool = False
    untested: str = "it is no mean over examples"
    by_draws: bool = False
    of_labels: bool = False
    classwise: bool = False

    def __post_init__(self) -> None:
        if (self.contribution is None) == (self.function is None):
            raise ConfigError(
                f"metric {self.name!r}: a contribution of each example or a function of tallies, one of both."
            )

    def __call__(self, tally: Tally) -> Floats:
        """Return the metric in each resample, (R,)."""
        if self.function is not None:
            return self.function(tally)
        assert self.contribution is not None
        return tally.mean(self.contribution(tally.ordered.scores))

    @property
    def scale(self) -> int:
        """What it is shown times."""
        return 100 if self.unit == "%" else 1

    @property
    def heading(self) -> str:
        """Title and unit, of a column or an axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def number(self, value: float) -> str:
        """Return a value as it is shown, without its unit."""
        return f"{self.scale * value:.{self.digits}f}"

    @property
    def digits(self) -> int:
        """How many are shown after the point."""
        return 1 if self.unit == "%" else 3

    def cells(self, figure: Figure) -> tuple[str, str]:
        """Return value and interval as they are shown, without a unit; of what is unknown a dash."""
        return cells(figure, self.number)


def table(files: Sequence[str] | None = None) -> tuple[MetricSpec, ...]:
    """Return the metrics of some files, or all there are, in the order in which they are shown.

    Raises:
        ConfigError: two have one name.
    """
    if files is None:
        files = (*FIRST, *(name for name in registry.names("report.metrics") if name not in FIRST))
    specs = tuple(spec for name in files for spec in registry.get("report.metrics", name))
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise ConfigError(f"two metrics have the name {twice}: rename one, or uninstall its package.")
    return specs
