"""What a regression report looks like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from markupsafe import Markup

from bayespeft.report.metric import counted, measured
from bayespeft.report.regression import RegressionReport
from bayespeft.report.series import pit, quantiles
from bayespeft.report.view.page import Figure, Picture, Section
from bayespeft.report.view.svg import SHARES, Chart, percent_ticks
from bayespeft.report.view.table import measured_cells, percent_cells, plain_cells
from bayespeft.report.view.view import Row, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

KEY = {"band": "sampling noise, 95 %", "ideal": "perfect calibration"}


def rows(report: RegressionReport) -> Iterator[Row]:
    """Yield the figures."""
    several = report.outputs > 1
    nats = f"nats, {report.outputs} outputs together" if several else "nats"
    per = f", mean over {report.outputs} outputs" if several else ""
    yield Row("NLL", plain_cells(report.nll), nats, f"{nats}, per example", nats)
    units = "in the targets' units"
    yield Row("RMSE", measured_cells(report.rmse), f"{units}{per}", "of the predicted mean", units)
    if report.skill is not None:
        mean, zero = "by the predicted mean", "0 % is no better than the targets' mean"
        yield Row("Variance explained", percent_cells(report.skill), mean, mean, zero)
    yield Row("MAE", measured_cells(report.mae), "of the median", "of the predicted median")
    yield Row("CRPS", measured_cells(report.crps), "", "", "")
    for c in report.coverage:
        width = f"mean width {measured(c.width)}"
        yield Row(f"Coverage at {100 * c.level:g} %", percent_cells(c.observed), width, width, width)
    noise = f"sampling noise alone reaches {100 * report.calibration_noise:.1f} %"
    yield Row("Calibration error", percent_cells(report.calibration_error), noise, noise)
    yield Row("Epistemic std", measured_cells(report.epistemic), "root mean square", "root mean square")
    yield Row("Noise", measured_cells(report.noise), "of the likelihood", "of the likelihood")


def examples(report: RegressionReport) -> str:
    """Return how many there are."""
    return f"{report.n:,} with {counted(report.outputs, 'output')}"


def lede(report: RegressionReport) -> Iterator[str]:
    """Yield what the verdict rests on."""
    yield (
        f"On {counted(report.n, 'example')} with {counted(report.outputs, 'output')}: calibration error "
        f"{100 * report.calibration_error:.1f} %; noise alone reaches {100 * report.calibration_noise:.1f} %."
    )


def sections(report: RegressionReport) -> Iterator[Section]:
    """Yield the pictures."""
    yield Section(
        "Can it be trusted?",
        figures=(
            Figure(
                "Where targets fall in their predicted laws",
                (Picture("pit", histogram(report), {"inside": "targets", **KEY}),),
                "Flat up to the band if calibrated. A U says over-confident, a hump under-confident, a slope too high or low.",
            ),
            Figure(
                "How often predicted quantiles hold",
                (Picture("quantiles", curve(report), {"under": "targets", **KEY}),),
                "The share of targets below the predicted quantile of each level.",
            ),
        ),
    )


def histogram(report: RegressionReport) -> Markup:
    """Counts of the targets' probability integral transforms, with the band of a calibrated law."""
    found = pit(report.pit, report.n)
    width, low, high = 1 / len(found.x), found.low[0], found.high[0]
    top = 1.1 * max(high, *found.y)
    chart = Chart(
        (0, 1), (0, top), x_label="place of the target in its law (PIT)", y_label="share of targets", x_ticks=SHARES,
        y_ticks=percent_ticks(top),
        description=f"Histogram of PIT values: {report.verdict}",
    )  # fmt: skip
    chart.band([(0, low, high), (1, low, high)])
    for left, share, count in zip(found.x, found.y, report.pit, strict=True):
        chart.bar((left + 0.003, left + width - 0.003), (0, share), "inside", f"{count:,} targets")
    # Bars hide the band, but must not hide where it ends.
    for end in (low, high):
        chart.line([(0, end), (1, end)], "edge")
    chart.line([(0, width), (1, width)], "ideal")
    return chart.svg()


def curve(report: RegressionReport) -> Markup:
    """The share of targets below each predicted quantile, with the band of a calibrated law."""
    found = quantiles(report.curve, report.n)
    chart = Chart(
        (0, 1), (0, 1), x_label="level of the quantile", y_label="targets below it", x_ticks=SHARES, y_ticks=SHARES,
        description=f"Calibration curve: error {100 * report.calibration_error:.1f} %",
    )  # fmt: skip
    chart.band(list(zip(found.x, found.low, found.high, strict=True)))
    chart.line([(0, 0), (1, 1)], "ideal")
    chart.line(list(zip(found.x, found.y, strict=True)), "under")
    return chart.svg()


def draw(report: RegressionReport) -> Drawing:
    """Return the histogram of PIT values and the calibration curve with matplotlib."""
    from bayespeft.report.view.regression_plots import calibration  # here: matplotlib takes half a second

    return calibration(report)


VIEW = View(rows=rows, examples=examples, lede=lede, sections=sections, draw=draw)
