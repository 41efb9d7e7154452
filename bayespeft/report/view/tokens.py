"""What a report on tokens and entities looks like."""

from __future__ import annotations

from collections.abc import Iterator

from bayespeft.report.metric import UNKNOWN, Metric
from bayespeft.report.tokens import TokenReport
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

SURPRISING = "Those whose labels have the least probability, as far as any is wrong. Wrong labels are often here, too."

KEY = {
    "over": "over-confident",
    "under": "under-confident",
    "ideal": "perfect calibration",
    "band": "where dots of a calibrated model fall, 95 %",
}


def text(report: TokenReport) -> str:
    """Return the report as `table.lay_out` lays it out."""
    noise = f"of the most probable class; sampling noise alone reaches {100 * report.promise.noise:.1f} %"
    found = report.entities
    rows = [
        ("", "value", "95 % interval", ""),
        *([] if found is None else [("Entity F1", *_percent(found.f1), "first token, last token and type are right")]),
        ("Accuracy", *percent_cells(report.accuracy), "of tokens"),
        ("NLL per token", *plain_cells(report.nll_per_token), "nats"),
        ("NLL", *plain_cells(report.nll), "nats, summed over the tokens of a row"),
        ("Skill", *_percent(report.skill), f"1 - NLL / NLL of the base rates ({report.base_nll:.3f} nats per token)"),
        ("ECE", *percent_cells(report.ece), noise),
        ("Brier", *plain_cells(report.brier), "from 0 to 2"),
        ("Entropy", f"{report.entropy:.3f}", "", "nats per token"),
        ("Mutual information", number(report.mutual_information, ".3f"), "", "nats, the epistemic part of the entropy"),
        *(
            (
                f"{own.name}: F1",
                f"{100 * own.f1:.1f} %",
                "",
                f"{own.n:,} there, {own.predicted:,} predicted, precision {_short(own.precision)}, recall "
                f"{_short(own.recall)}, mean probability {_share(own.probability)}",
            )
            for own in (() if found is None else found.by_type)
        ),
    ]
    return lay_out(report, rows, f"{report.n:,} with {report.tokens:,} labelled tokens in {report.classes:,} classes")


def page(report: TokenReport) -> Page:
    """Return the contents of the page."""
    return Page(
        title=title(report),
        tone=report.verdict.tone,
        headline=capital(str(report.verdict)),
        lede=tuple(_lede(report)),
        tiles=tuple(_tiles(report)),
        sections=(
            _trust(report),
            *_entities(report),
            *_classes(report),
            *quoted(report.quotes, SURPRISING),
            _all(report),
            *closing(report),
        ),
    )


def _lede(report: TokenReport) -> Iterator[str]:
    yield report.verdict.reason
    if report.advice:
        yield report.advice
    yield (
        f"Of {report.tokens:,} labelled token{'s' * (report.tokens != 1)} in {report.n:,} row{'s' * (report.n != 1)} it is "
        f"right about {share(report.accuracy)}; always answering with the most frequent class is in "
        f"{100 * report.base_accuracy:.1f} %."
    )


def _tiles(report: TokenReport) -> Iterator[Tile]:
    if report.entities is not None and report.entities.f1 is not None:
        yield tile("Entity F1", percent_cells(report.entities.f1), "span and type are right")
    yield tile(
        "Accuracy", percent_cells(report.accuracy), f"of tokens; the trivial answer: {100 * report.base_accuracy:.1f} %"
    )
    yield tile("ECE", percent_cells(report.ece), f"over tokens; noise alone reaches {100 * report.promise.noise:.1f} %")
    if report.skill is not None:
        yield tile("Skill", percent_cells(report.skill), "of its probabilities, over base rates")
    yield tile("NLL per token", plain_cells(report.nll_per_token), "nats; surprise at the right classes")
    if report.mutual_information is not None and report.draws > 1:
        yield Tile("Mutual information", f"{report.mutual_information:.3f}", "nats", f"of {report.entropy:.3f} entropy")


def _trust(report: TokenReport) -> Section:
    caption = (
        "All labelled tokens, a dot for each of 15 bins of confidence: below the diagonal it claims more than it keeps. "
        "Whiskers are 95 % intervals, as if tokens were independent."
    )
    picture = Picture("reliability", charts.reliability(report.bins, report.headline, what="token"), KEY)
    return Section("Can it be trusted?", figures=(Figure("Does it keep its word?", (picture,), caption),))


def _entities(report: TokenReport) -> Iterator[Section]:
    found = report.entities
    if found is None:
        return
    rows = [
        (
            own.name,
            f"{own.n:,} there, {own.predicted:,} predicted",
            (
                f"{100 * own.f1:.1f} %",
                interval_below(_percent(own.precision)),
                interval_below(_percent(own.recall)),
                _share(own.probability),
            ),
        )
        for own in found.by_type
    ]
    overall = tuple(interval_below(_percent(metric)) for metric in (found.f1, found.precision, found.recall))
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
    rows = tuple(
        (
            own.name,
            f"{own.n:,} token{'s' * (own.n != 1)}, {own.predicted:,} taken for it",
            (
                interval_below(_percent(own.recall)),
                interval_below(_percent(own.precision)),
                f"{100 * own.claimed:.1f} % of {100 * own.n / report.tokens:.1f} %",
            ),
        )
        for own in report.by_class.figures
    )
    yield Section(
        "Class by class",
        "Recall is the share of a class's tokens that are found, precision the share of right ones among those taken for it; "
        "claimed is the mean probability it gets, against the share of tokens that are of it. Intervals are those of "
        "independent tokens.",
        tables=(Table(("class", "recall", "precision", "claimed"), rows),),
    )


def _all(report: TokenReport) -> Section:
    percent = (
        ("Accuracy", "of tokens", report.accuracy),
        ("ECE", "of the most probable class, over tokens, 15 bins of equal width", report.ece),
        ("Confidence less accuracy", "over tokens; positive is over-confident", report.confidence_gap),
        ("Skill", "1 - NLL / NLL of the base rates", report.skill),
    )
    plain = (
        ("NLL per token", "nats", report.nll_per_token),
        ("NLL", "nats per row, summed over its tokens", report.nll),
        ("Brier score", "squared error of probabilities, summed over classes", report.brier),
    )
    rows = (
        *((name, remark, (interval_below(plain_cells(metric)),)) for name, remark, metric in plain),
        *((name, remark, (interval_below(_percent(metric)),)) for name, remark, metric in percent),
        ("NLL of the base rates", "nats per token", (f"{report.base_nll:.3f}",)),
        ("Entropy", "nats per token", (f"{report.entropy:.3f}",)),
    )
    covered = "Each row is resampled with all its tokens, which err together. Tokens without a label are left out."
    return Section("All figures", covered, tables=(Table(("", "value, 95 % interval"), rows),))


def _percent(metric: Metric | None) -> tuple[str, str]:
    return (UNKNOWN, "") if metric is None else percent_cells(metric)


def _short(metric: Metric | None) -> str:
    return UNKNOWN if metric is None else _share(metric.value)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


VIEW = View(page, text)
