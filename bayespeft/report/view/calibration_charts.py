"""The pictures of a calibration report on its page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from bayespeft.report.binning import Bin
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.metric import counted
from bayespeft.report.metrics.spec import MetricSpec
from bayespeft.report.ood import Separation
from bayespeft.report.over_draws import ByDraws
from bayespeft.report.series import dots
from bayespeft.report.view.svg import SHARES, Chart, percent_ticks
from bayespeft.report.view.table import short_count

KEY = {
    "over": "over-confident",
    "under": "under-confident",
    "ideal": "perfect calibration",
    "band": "where dots of a calibrated model fall, 95 %",
}
"""The meaning of the colours of `reliability`, class -> words."""

SCORES = {
    "max_probability": "negative maximum probability",
    "entropy": "entropy, nats",
    "mutual_information": "mutual information, nats",
}


def reliability(
    bins: Sequence[Bin], headline: str, claimed: str = "confidence", kept: str = "accuracy", what: str = "example"
) -> Markup:
    """Accuracy against confidence: a dot for each bin with its 95 % interval, and the band of a calibrated model.

    Dots and gaps are larger where a bin has more examples: a bin of one example is never calibrated, and says little.
    The band is where 95 % of samples of so many examples fall, at each bin on its own, if accuracy is the confidence.

    Args:
        bins: from confidence 0 to 1.
        headline: of the report, for a description.
        claimed, kept: what the axes are called.
        what: is counted.
    """
    chart = Chart(
        (0, 1), (0, 1), x_label=claimed, y_label=kept, x_ticks=SHARES, y_ticks=SHARES, height=340,
        description=f"Reliability diagram: {headline}",
    )  # fmt: skip
    found = dots(bins)
    for dot in found:
        chart.band([(dot.left, *dot.expected), (dot.right, *dot.expected)])
    chart.line([(0, 0), (1, 1)], "ideal")
    most = max(dot.count for dot in found)
    for dot in found:
        size = (dot.count / most) ** 0.5
        low, high = dot.interval
        chart.line([(dot.confidence, dot.confidence), (dot.confidence, dot.accuracy)], f"gap {dot.kind}", 2 + 8 * size)
        chart.line([(dot.confidence, low), (dot.confidence, high)], "whisker")
        tip = (
            f"{claimed} {100 * dot.confidence:.1f} %, {kept} {100 * dot.accuracy:.1f} % [{100 * low:.1f}, "
            f"{100 * high:.1f}], {counted(dot.count, what)}"
        )
        chart.dot(dot.confidence, dot.accuracy, dot.kind, tip, 2.5 + 2.5 * size)
    return chart.svg()


def histogram(report: CalibrationReport) -> Markup:
    """How many examples have which confidence: right ones below, wrong ones on top."""
    found = dots(report.bins)
    most = max(dot.count for dot in found)
    chart = Chart(
        (0, 1), (0, 1.12 * most), x_label="confidence", y_label="examples", x_ticks=SHARES, height=170,
        description="Histogram of confidence, right answers against wrong ones",
    )  # fmt: skip
    for dot in found:
        tip = f"{100 * dot.left:.0f} to {100 * dot.right:.0f} %: {dot.hits:,} right, {dot.count - dot.hits:,} wrong"
        inner = (dot.left + 0.004, dot.right - 0.004)
        chart.bar(inner, (0, dot.hits), "right", tip)
        chart.bar(inner, (dot.hits, dot.count), "wrong", tip)
        chart.text((dot.left + dot.right) / 2, dot.count, short_count(dot.count), "count")
    return chart.svg()


def risk_coverage(report: CalibrationReport) -> Markup:
    """Errors among answers against the share that is answered, most confident first, with its 95 % band."""
    curve = report.curve
    overall = curve.risk[-1]
    top = max(*curve.high, 0.01) * 1.08
    chart = Chart(
        (0, 1), (0, top), x_label="answered, most confident first", y_label="errors among answers",
        x_ticks=SHARES, y_ticks=percent_ticks(top), description=f"Risk-coverage curve: {report.refusing}",
    )  # fmt: skip
    chart.band(list(zip(curve.coverage, curve.low, curve.high, strict=True)))
    chart.line([(0, overall), (1, overall)], "ideal")
    # The best order refuses errors first: none is left until only right answers are.
    best = [(c, max(0.0, (c - (1 - overall)) / c)) for c in (i / 100 for i in range(1, 101))]
    chart.line(best, "dotted")
    chart.line(list(zip(curve.coverage, curve.risk, strict=True)), "under")
    at = min(range(len(curve.coverage)), key=lambda i: abs(curve.coverage[i] - 0.8))
    tip = f"{100 * curve.coverage[at]:.0f} % answered: {100 * curve.risk[at]:.1f} % errors"
    chart.dot(curve.coverage[at], curve.risk[at], "under", tip)
    return chart.svg()


def overlap(separation: Separation) -> Markup:
    """How a score is spread over the test set, and over another set."""
    found = separation.overlap
    assert found is not None
    step = (found.high - found.low) / len(found.inside)
    top = 1.05 * max(*found.inside, *found.outside)
    # A score that begins near 0 is drawn from there.
    left = 0.0 if 0 <= found.low < 0.1 * found.high else found.low
    chart = Chart(
        (left, found.high), (0, top), x_label=SCORES.get(separation.score, separation.score),
        y_label="share of the set", y_ticks=percent_ticks(top), height=220,
        description=f"{separation.data} against the test set: AUROC {separation.auroc}",
    )  # fmt: skip
    for shares, kind in ((found.inside, "inside"), (found.outside, "outside")):
        for i, share in enumerate(shares):
            if share:
                edges = (found.low + i * step, found.low + (i + 1) * step)
                chart.bar(edges, (0, share), f"{kind} clear", f"{100 * share:.1f} %")
    return chart.svg()


def by_draws(rows: Sequence[ByDraws], spec: MetricSpec) -> Markup:
    """A metric by the number of draws that are averaged; numbers of draws are spaced evenly."""
    values = [row.metrics[spec.name] for row in rows]
    share, label = spec.unit == "%", spec.remark or spec.title
    low, high = min(values), max(values)
    spread = max(high - low, 0.02 * abs(high), 1e-6)
    y = (low - spread if low < 0 else max(0.0, low - spread), high + spread)
    chart = Chart(
        (-0.3, len(rows) - 0.7), y, x_label="draws", y_label=label, height=210,
        x_ticks={i: f"{row.draws:,}" for i, row in enumerate(rows)}, y_ticks=percent_ticks(y[1], y[0]) if share else None,
        description=f"{spec.title} from {values[0]:.4g} at {rows[0].draws} to {values[-1]:.4g} at {rows[-1].draws} draws",
    )  # fmt: skip
    chart.line(list(enumerate(values)), "under")
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        told = f"{100 * value:.2f} %" if share else f"{value:.4f}"
        chart.dot(i, value, "under", f"{counted(row.draws, 'draw')}: {told}")
    return chart.svg()
