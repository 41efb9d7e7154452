"""What a report on tokens and entities looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.metric import counted
from bayespeft.report.tokens import TokenReport
from bayespeft.report.view import calibration_charts as charts
from bayespeft.report.view.calibration import class_table
from bayespeft.report.view.page import SURPRISING, Figure, Picture, Section, Table, interval_below, quoted, share
from bayespeft.report.view.table import percent_cells, plain_cells
from bayespeft.report.view.view import Row, View

COVERED = "Each row is resampled with all its tokens, which err together. Tokens without a label are left out."


def rows(report: TokenReport) -> Iterator[Row]:
    """Yield the figures."""
    found = report.entities
    if found is not None:
        words = None if found.f1 is None else "span and type are right"
        yield Row("Entity F1", percent_cells(found.f1), "first token, last token and type are right", tile=words)
    trivial = f"of tokens; the trivial answer: {100 * report.base_accuracy:.1f} %"
    yield Row("Accuracy", percent_cells(report.accuracy), "of tokens", "of tokens", trivial)
    yield Row("NLL per token", plain_cells(report.nll_per_token), "nats", "nats", "nats; surprise at the right classes")
    yield Row(
        "NLL", plain_cells(report.nll), "nats, summed over the tokens of a row", "nats per row, summed over its tokens"
    )
    yield Row.skill(report, " per token")
    yield Row("NLL of the base rates", plain_cells(report.base_nll), None, "nats per token")
    noise, top = f"noise alone reaches {100 * report.calibration.noise:.1f} %", "of the most probable class"
    width = f"{top}, over tokens, 15 bins of equal width"
    yield Row("ECE", percent_cells(report.ece), f"{top}; sampling {noise}", width, f"over tokens; {noise}")
    gap = "over tokens; positive is over-confident"
    yield Row("Confidence less accuracy", percent_cells(report.confidence_gap), None, gap)
    squared = "squared error of probabilities, summed over classes"
    yield Row("Brier score", plain_cells(report.brier), "from 0 to 2", squared, short="Brier")
    yield Row("Entropy", plain_cells(report.entropy), "nats per token", "nats per token")
    yield Row.information(report)
    for own in () if found is None else found.by_type:
        precision, recall, probability = (
            percent_cells(figure)[0] for figure in (own.precision, own.recall, own.probability)
        )
        told = f"{own.n:,} there, {own.predicted:,} predicted, precision {precision}, recall {recall}"
        yield Row(f"{own.name}: F1", percent_cells(own.f1), f"{told}, mean probability {probability}")


def examples(report: TokenReport) -> str:
    """Return how many there are."""
    return f"{report.n:,} with {report.tokens:,} labelled tokens in {report.classes:,} classes"


def lede(report: TokenReport) -> Iterator[str]:
    """Yield what the verdict rests on."""
    yield (
        f"Of {counted(report.tokens, 'labelled token')} in {counted(report.n, 'row')} it is right about "
        f"{share(report.accuracy)}; always answering with the most frequent class is in {100 * report.base_accuracy:.1f} %."
    )


def sections(report: TokenReport) -> Iterator[Section]:
    """Yield calibration over tokens, then entities and classes."""
    yield _trust(report)
    yield from _entities(report)
    yield from _classes(report)
    yield from quoted(report.quotes, SURPRISING)


def _trust(report: TokenReport) -> Section:
    caption = (
        "All labelled tokens, a dot for each of 15 bins of confidence: below the diagonal it claims more than it keeps. "
        "Whiskers are 95 % intervals, as if tokens were independent."
    )
    picture = Picture("reliability", charts.reliability(report.bins, report.headline, what="token"), charts.KEY)
    return Section("Can it be trusted?", figures=(Figure("Does it keep its word?", (picture,), caption),))


def _entities(report: TokenReport) -> Iterator[Section]:
    found = report.entities
    if found is None:
        return
    rows = [
        (
            own.name,
            f"{own.n:,} there, {own.predicted:,} predicted",
            tuple(
                interval_below(percent_cells(figure)) for figure in (own.f1, own.precision, own.recall, own.probability)
            ),
        )
        for own in found.by_type
    ]
    overall = tuple(interval_below(percent_cells(metric)) for metric in (found.f1, found.precision, found.recall))
    yield Section(
        "Entities",
        "An entity is right where its first token, its last one and its type are. Probability is the mean over predicted "
        "entities of the product of their tokens' probabilities: it is the precision where these keep their word and are "
        "independent of each other.",
        tables=(Table(("type", "F1", "precision", "recall", "probability"), (("all", "", (*overall, "")), *rows)),),
    )


def _classes(report: TokenReport) -> Iterator[Section]:
    if report.by_class is None:
        return
    yield Section(
        "Class by class",
        "Recall is the share of a class's tokens that are found, precision the share of right ones among those taken for it; "
        "claimed is the mean probability it gets, against the share of tokens that are of it. Intervals are those of "
        "independent tokens.",
        tables=(class_table(report.by_class.figures, report.tokens, "token"),),
    )


VIEW = View(rows=rows, examples=examples, lede=lede, sections=sections, covered=COVERED)
