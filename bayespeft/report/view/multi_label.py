"""What a report on several labels an example looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.metric import UNKNOWN, Metric
from bayespeft.report.multi_label import LabelFigures, MultiLabelReport
from bayespeft.report.view import calibration_charts as charts
from bayespeft.report.view.page import (
    Figure,
    Page,
    Picture,
    Section,
    Table,
    Tile,
    closing,
    interval_below,
    quoted,
    share,
    tile,
    title,
)
from bayespeft.report.view.table import capital, lay_out, number, percent_cells, plain_cells
from bayespeft.report.view.view import View

MOST = 100
"""Labels that the page tells apart: the most frequent ones."""

SURPRISING = "Those whose labels have the least probability, as far as any is wrong. Wrong labels are often here, too."

KEY = {
    "over": "claimed too often",
    "under": "claimed too rarely",
    "ideal": "perfect calibration",
    "band": "where dots of a calibrated model fall, 95 %",
}


def text(report: MultiLabelReport) -> str:
    """Return the report as `table.lay_out` lays it out."""
    rows = [
        ("", "value", "95 % interval", ""),
        ("NLL", *plain_cells(report.nll), "nats, summed over the labels of an example"),
        ("Skill", *_percent(report.skill), f"1 - NLL / NLL of the base rates ({report.base_nll:.3f} nats)"),
        ("Micro F1", *_percent(report.micro_f1), "of all labels together"),
        ("Macro F1", *_percent(report.macro_f1), "mean over labels"),
        ("Subset accuracy", *percent_cells(report.subset_accuracy), "all labels of an example are right"),
        ("Label accuracy", *percent_cells(report.label_accuracy), "of single labels"),
        (
            "ECE",
            *percent_cells(report.ece),
            f"of all labels' probabilities; sampling noise alone reaches {100 * report.promise.noise:.1f} %",
        ),
        ("Brier", *plain_cells(report.brier), "from 0 to 1, mean over labels"),
        ("Entropy", f"{report.entropy:.3f}", "", "nats, summed over labels"),
        ("Mutual information", number(report.mutual_information, ".3f"), "", "nats, the epistemic part of the entropy"),
    ]
    labels = (
        f"{report.n:,} with {report.labels:,} label{'s' * (report.labels != 1)}, {report.cardinality:.2f} on at a time"
    )
    return lay_out(report, rows, labels)


def page(report: MultiLabelReport) -> Page:
    """Return the contents of the page."""
    return Page(
        title=title(report),
        tone=report.verdict.tone,
        headline=capital(str(report.verdict)),
        lede=tuple(_lede(report)),
        tiles=tuple(_tiles(report)),
        sections=(_trust(report), _labels(report), *quoted(report.quotes, SURPRISING), _all(report), *closing(report)),
    )


def _lede(report: MultiLabelReport) -> Iterator[str]:
    yield report.verdict.reason
    if report.advice:
        yield report.advice
    yield (
        f"Of {report.n:,} example{'s' * (report.n != 1)} with {report.labels:,} label{'s' * (report.labels != 1)} each, "
        f"{report.cardinality:.2f} of them on at a time, all labels are right in {share(report.subset_accuracy)}."
    )


def _tiles(report: MultiLabelReport) -> Iterator[Tile]:
    if report.micro_f1 is not None:
        yield tile("Micro F1", percent_cells(report.micro_f1), "of all labels together")
    if report.macro_f1 is not None:
        yield tile("Macro F1", percent_cells(report.macro_f1), "mean over labels")
    yield tile("Subset accuracy", percent_cells(report.subset_accuracy), "every label of a row is right")
    yield tile("ECE", percent_cells(report.ece), f"noise alone reaches {100 * report.promise.noise:.1f} %")
    if report.skill is not None:
        yield tile("Skill", percent_cells(report.skill), "of its probabilities, over base rates")
    yield tile("NLL", plain_cells(report.nll), "nats per row, summed over labels")
    if report.mutual_information is not None and report.draws > 1:
        yield Tile("Mutual information", f"{report.mutual_information:.3f}", "nats", f"of {report.entropy:.3f} entropy")


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
        f"{own.n:,} row{'s' * (own.n != 1)} have it, predicted for {own.predicted:,}",
        (
            UNKNOWN if own.f1 is None else f"{100 * own.f1:.1f} %",
            *(UNKNOWN if m is None else interval_below(percent_cells(m)) for m in (own.precision, own.recall)),
            f"{100 * own.claimed:.1f} % of {100 * own.n / n:.1f} %",
            f"{100 * own.ece.value:.1f} %\nnoise {100 * own.noise:.1f} %",
        ),
    )


def _all(report: MultiLabelReport) -> Section:
    percent = (
        ("Micro F1", "2 TP / (2 TP + FP + FN) over all labels", report.micro_f1),
        ("Macro F1", "mean over the labels that occur or were predicted", report.macro_f1),
        ("Subset accuracy", "all labels of a row are right", report.subset_accuracy),
        ("Label accuracy", "of single labels", report.label_accuracy),
        ("ECE", "of all labels' probabilities, 15 bins of equal width", report.ece),
        ("Confidence less accuracy", "of single labels; positive is over-confident", report.confidence_gap),
        ("Probability less share", "of single labels; positive claims labels too often", report.excess),
        ("Skill", "1 - NLL / NLL of the base rates", report.skill),
    )
    plain = (
        ("NLL", "nats per row, summed over labels", report.nll),
        ("Brier score", "squared error of probabilities, mean over labels", report.brier),
    )
    rows = [
        *((name, remark, (interval_below(plain_cells(metric)),)) for name, remark, metric in plain),
        *((name, remark, (interval_below(_percent(metric)),)) for name, remark, metric in percent),
        ("NLL of the base rates", "nats per row", (f"{report.base_nll:.3f}",)),
        ("Entropy", "nats per row, summed over labels", (f"{report.entropy:.3f}",)),
    ]
    covered = (
        "Each row is resampled with all its labels, which err together. Shares of rows have the intervals of Clopper and "
        "Pearson."
    )
    return Section("All figures", covered, tables=(Table(("", "value, 95 % interval"), tuple(rows)),))


def _percent(metric: Metric | None) -> tuple[str, str]:
    return (UNKNOWN, "") if metric is None else percent_cells(metric)


VIEW = View(page, text)
