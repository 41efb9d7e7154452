"""What a report on several labels an example looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.metric import counted
from bayespeft.report.multi_label import LabelFigures, MultiLabelReport
from bayespeft.report.view import calibration_charts as charts
from bayespeft.report.view.page import SURPRISING, Figure, Picture, Section, Table, interval_below, quoted, share
from bayespeft.report.view.table import percent_cells, plain_cells
from bayespeft.report.view.view import Row, View

MOST = 100
"""Labels that the page tells apart: the most frequent ones."""

COVERED = "Each row is resampled with all its labels, which err together. Shares of rows have intervals of Clopper and Pearson."
KEY = {**charts.KEY, "over": "claimed too often", "under": "claimed too rarely"}


def rows(report: MultiLabelReport) -> Iterator[Row]:
    """Yield the figures."""
    known = report.micro_f1 is not None
    together, mean = "of all labels together", "mean over labels"
    formula = "2 TP / (2 TP + FP + FN) over all labels"
    yield Row("Micro F1", percent_cells(report.micro_f1), together, formula, together if known else None)
    there = "mean over the labels that occur or were predicted"
    yield Row("Macro F1", percent_cells(report.macro_f1), mean, there, mean if known else None)
    subset = percent_cells(report.subset_accuracy)
    yield Row(
        "Subset accuracy", subset, "all labels of an example are right", "all labels of a row are right",
        "every label of a row is right",
    )  # fmt: skip
    yield Row("Label accuracy", percent_cells(report.label_accuracy), "of single labels", "of single labels")
    noise = f"noise alone reaches {100 * report.calibration.noise:.1f} %"
    claims = "of all labels' probabilities"
    yield Row(
        "ECE", percent_cells(report.ece), f"{claims}; sampling {noise}", f"{claims}, 15 bins of equal width", noise
    )
    gap, excess = "of single labels; positive is over-confident", "of single labels; positive claims labels too often"
    yield Row("Confidence less accuracy", percent_cells(report.confidence_gap), None, gap)
    yield Row("Probability less share", percent_cells(report.excess), None, excess)
    yield Row.skill(report)
    summed = "nats per row, summed over labels"
    yield Row("NLL", plain_cells(report.nll), "nats, summed over the labels of an example", summed, summed)
    yield Row("NLL of the base rates", plain_cells(report.base_nll), None, "nats per row")
    squared = "squared error of probabilities, mean over labels"
    yield Row("Brier score", plain_cells(report.brier), "from 0 to 1, mean over labels", squared, short="Brier")
    yield Row("Entropy", plain_cells(report.entropy), "nats, summed over labels", summed)
    yield Row.information(report)


def examples(report: MultiLabelReport) -> str:
    """Return how many there are."""
    return f"{report.n:,} with {counted(report.labels, 'label')}, {report.cardinality:.2f} on at a time"


def lede(report: MultiLabelReport) -> Iterator[str]:
    """Yield what the verdict rests on."""
    yield (
        f"Of {counted(report.n, 'example')} with {counted(report.labels, 'label')} each, "
        f"{report.cardinality:.2f} of them on at a time, all labels are right in {share(report.subset_accuracy)}."
    )


def sections(report: MultiLabelReport) -> Iterator[Section]:
    """Yield calibration of all labels together, then label by label."""
    yield _trust(report)
    yield _labels(report)
    yield from quoted(report.quotes, SURPRISING)


def _trust(report: MultiLabelReport) -> Section:
    picture = charts.reliability(report.bins, report.headline, "probability of a label", "share that have it", "label")
    caption = (
        "All labels of all rows together, a dot for each of 15 bins of probability: below the diagonal labels are claimed "
        "more often than they occur. Whiskers are 95 % intervals, as if labels were independent."
    )
    figure = Figure("Does it keep its word?", (Picture("reliability", picture, KEY),), caption)
    return Section("Can it be trusted?", figures=(figure,))


def _labels(report: MultiLabelReport) -> Section:
    shown, fewer = report.by_label, ""
    if len(shown) > MOST:
        shown = tuple(sorted(shown, key=lambda own: -own.n)[:MOST])
        fewer = f" The {MOST} most frequent of {report.labels:,} are shown."
    intro = (
        "A label is predicted where its probability is at least 50 %. Claimed is its mean probability, against the share "
        "of rows that have it; ECE is that of its probability, and noise what chance alone reaches in 19 of 20 such "
        f"samples.{fewer}"
    )
    header = ("label", "F1", "precision", "recall", "claimed", "ECE")
    return Section("Label by label", intro, tables=(Table(header, tuple(_row(own, report.n) for own in shown)),))


def _row(own: LabelFigures, n: int) -> tuple[str, str, tuple[str, ...]]:
    return (
        own.name,
        f"{counted(own.n, 'row')} have it, predicted for {own.predicted:,}",
        (
            *(interval_below(percent_cells(figure)) for figure in (own.f1, own.precision, own.recall)),
            f"{100 * own.claimed:.1f} % of {100 * own.n / n:.1f} %",
            f"{100 * own.ece:.1f} %\nnoise {100 * own.noise:.1f} %",
        ),
    )


VIEW = View(rows=rows, examples=examples, lede=lede, sections=sections, covered=COVERED)
