"""What a calibration report looks like. Its page first says whether to trust the model, then why, then everything else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.classes import ClassFigures
from bayespeft.report.metric import counted
from bayespeft.report.metrics.selective import COVERAGES
from bayespeft.report.metrics.spec import table
from bayespeft.report.view import calibration_charts as charts
from bayespeft.report.view.page import Figure, Picture, Section, Table, interval_below, quoted, share
from bayespeft.report.view.table import capital, percent_cells, plain_cells
from bayespeft.report.view.view import Row, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# At most this many other sets have a picture; the table has all.
PICTURED = 8
SCORES = {"max_probability": "maximum probability", "entropy": "entropy", "mutual_information": "mutual information"}

COVERED = (
    "An interval holds the figure that endlessly many such rows would give, in 95 of 100 test sets: of shares by Clopper and "
    "Pearson, of calibration errors over the same bins by a bound that holds more often, of the AUROC of errors by Newcombe, "
    "of the others by resampling rows. Figures without one are those of these rows alone: how confidence ranks errors has none "
    "where fewer than five are wrong, or right."
)


def rows(report: CalibrationReport) -> Iterator[Row]:
    """Yield the figures: first all metrics there are."""
    errors = {} if report.over_draws is None else report.over_draws.errors or {}
    for spec in table():
        figure, error = report.metrics.get(spec.name), errors.get(spec.name)
        printed, tile = (words(report) if callable(words) else words for words in (spec.printed, spec.tile))
        yield Row(
            capital(spec.title),
            percent_cells(figure) if spec.unit == "%" else plain_cells(figure),
            printed,
            spec.remark,
            tile if figure is not None else None,
            spec.short,
            "" if error is None else f"{spec.scale * error:.2g}{' %' * (spec.unit == '%')}",
        )
    for s in report.ood:
        if s.score == "entropy":
            yield Row(f"OOD {s.data}", plain_cells(s.auroc), f"AUROC by entropy, {s.n:,} examples")
    yield Row("Mean confidence", percent_cells(report.confidence), "")
    yield Row("Entropy", plain_cells(report.entropy), "nats")
    yield Row.information(report, "; a lower estimate" * report.information_is_low)


def examples(report: CalibrationReport) -> str:
    """Return how many there are."""
    return f"{report.n:,} in {counted(report.classes, 'class')}"


def lede(report: CalibrationReport) -> Iterator[str]:
    """Yield what the verdict rests on."""
    yield (
        f"It claims {100 * report.confidence:.1f} % on average, and is right in {share(report.accuracy)} of "
        f"{counted(report.n, 'example')} in {counted(report.classes, 'class')}."
    )
    yield f"{capital(report.trivial)}: a skill of 0 % is no better than knowing each class's frequency, 100 % is perfect."
    yield f"{capital(report.refusing)}."


def sections(report: CalibrationReport) -> Iterator[Section]:
    """Yield first why to trust the model, then everything else."""
    yield _trust(report)
    yield from _ood(report)
    yield from _classes(report)
    yield from quoted(report.quotes, ("The most confident mistakes", "Wrong labels are often here, too."))
    yield from _draws(report)


def _trust(report: CalibrationReport) -> Section:
    reliability = Picture("reliability", charts.reliability(report.bins, report.headline), charts.KEY)
    refusing = Picture(
        "risk_coverage",
        charts.risk_coverage(report),
        {
            "under": "refusing the least certain",
            "band": "95 % interval",
            "ideal": "refusing at random",
            "dotted": "the best possible order",
        },
    )
    answers = {"right": "right answers", "wrong": "wrong answers"}
    return Section(
        "Can it be trusted?",
        figures=(
            Figure(
                "Does it keep its word?",
                (reliability, Picture("confidence", charts.histogram(report), answers)),
                "A dot for each of 15 bins of confidence: below the diagonal it claims more than it keeps. Whiskers are 95 % "
                "intervals. Below, how many examples have such a confidence.",
            ),
            Figure(
                "Does it know when it doesn't know?",
                (refusing,),
                "Errors that are left where only the most confident share is answered. A curve that falls to the left "
                "says that confidence tells right from wrong; the dot is at 80 %.",
                _kept(report),
            ),
        ),
    )


def _kept(report: CalibrationReport) -> Table:
    rows = (
        (f"the top {100 * at:g} %", "", (interval_below(percent_cells(report.metric(f"accuracy_at_coverage.{at:g}"))),))
        for at in COVERAGES
    )
    return Table(("answered", "accuracy, 95 % interval"), tuple(rows))


def _ood(report: CalibrationReport) -> Iterator[Section]:
    if not report.ood:
        return
    figures = [
        Figure(
            f"{separation.data}: AUROC {plain_cells(separation.auroc)[0]}",
            (
                Picture(
                    f"ood.{separation.data}",
                    charts.overlap(separation),
                    {"inside": "test set", "outside": separation.data},
                ),
            ),
            "By entropy. The less the two overlap, the better is other data told from the test set.",
        )
        for separation in report.ood
        if separation.score == "entropy" and separation.overlap is not None
    ]
    rows = tuple(
        (
            f"{s.data}, by {SCORES.get(s.score, s.score)}",
            counted(s.n, "example"),
            tuple(interval_below(plain_cells(metric)) for metric in (s.auroc, s.aupr, s.fpr95)),
        )
        for s in report.ood
    )
    yield Section(
        "Does it notice other data?",
        "The other set's examples are the positives: AUROC 0.5 is no skill; FPR95 is the share of the test set that is flagged "
        "where 95 % of the other set are. With 95 % intervals; that of FPR95 ends at 1 where the other set has fewer than 72 "
        "examples, whose 5 % least uncertain nobody knows.",
        figures=tuple(figures[:PICTURED]),
        tables=(Table(("set and score", "AUROC", "AUPR", "FPR95"), rows),),
    )


def class_table(figures: Sequence[ClassFigures], n: int, what: str) -> Table:
    """Return the recall, the precision and the mean probability of each class.

    Args:
        figures: of the classes.
        n: examples of all classes.
        what: they are, such as "row".
    """
    rows = tuple(
        (
            own.name,
            f"{counted(own.n, what)}, {own.predicted:,} taken for it",
            (
                *(interval_below(percent_cells(metric)) for metric in (own.recall, own.precision)),
                f"{100 * own.claimed:.1f} % of {100 * own.n / n:.1f} %",
            ),
        )
        for own in figures
    )
    return Table(("class", "recall", "precision", "claimed"), rows)


def _classes(report: CalibrationReport) -> Iterator[Section]:
    if report.by_class is None or report.classes < 2:
        return
    figures, confusion = report.by_class.figures, report.by_class.confusion
    taken = tuple(
        (own.name, "", tuple(f"{count:,}" for count in row)) for own, row in zip(figures, confusion, strict=True)
    )
    yield Section(
        "Class by class",
        "Recall is the share of a class's rows that are found, precision the share of right answers among those given for it; "
        "claimed is the mean probability it gets, against the share of rows that are of it. Below, rows of each class (down) "
        "by the class they were taken for (across).",
        tables=(
            class_table(figures, report.n, "row"),
            Table(("", *(own.name for own in figures)), taken, square=True),
        ),
    )


def _draws(report: CalibrationReport) -> Iterator[Section]:
    over = report.over_draws
    if over is None or len(over.by_draws) < 2:
        return
    figures = tuple(
        Figure(capital(spec.title), (Picture(f"draws.{spec.name}", charts.by_draws(over.by_draws, spec), {}),))
        for spec in table()
        if spec.by_draws
    )
    yield Section(
        "What draws do",
        "Figures of averages over so many draws. Where lines are flat, more draws add nothing.",
        figures,
    )


def draw(report: CalibrationReport, ax: Axes | None = None) -> Drawing:
    """Return the reliability diagram with matplotlib; a figure of its own has the histogram, too."""
    from bayespeft.report.view import plots  # here: matplotlib takes half a second

    if ax is not None:
        return plots.draw_reliability(ax, report)
    return plots.reliability({report.method or report.name or "model": report})


VIEW = View(rows=rows, examples=examples, lede=lede, sections=sections, covered=COVERED, draw=draw)
