"""What a calibration report looks like. Its page first says whether to trust the model, then why, then everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.sections import Selective
from bayespeft.report.view import calibration_charts as charts
from bayespeft.report.view.calibration_table import all_figures
from bayespeft.report.view.page import (
    Figure,
    Page,
    Picture,
    Section,
    Table,
    Tile,
    closing,
    interval_below,
    share,
    tile,
    title,
)
from bayespeft.report.view.table import UNKNOWN, capital, lay_out, number, percent_cells, plain_cells
from bayespeft.report.view.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Other sets with a picture; all are in the table.
PICTURED = 8
SCORES = {"max_probability": "maximum probability", "entropy": "entropy", "mutual_information": "mutual information"}


def text(report: CalibrationReport) -> str:
    """Return the report as `table.lay_out` lays it out."""
    rows = [
        ("", "value", "95 % interval", ""),
        ("Accuracy", *percent_cells(report.accuracy), ""),
        ("NLL", *plain_cells(report.nll), "nats"),
        *_skill_rows(report),
        ("ECE", *percent_cells(report.ece), f"sampling noise alone reaches {100 * report.ece_noise:.1f} %"),
        ("ECE, equal mass", *percent_cells(report.ece_equal_mass), ""),
        ("Brier", *plain_cells(report.brier), "from 0 to 2"),
        *_selective_rows(report),
        *(
            (f"OOD {s.data}", *plain_cells(s.auroc), f"AUROC by entropy, {s.n:,} examples")
            for s in report.ood
            if s.score == "entropy"
        ),
        ("Mean confidence", f"{100 * report.confidence:.1f} %", "", ""),
        ("Entropy", f"{report.entropy:.3f}", "", "nats"),
        ("Mutual information", number(report.mutual_information, ".3f"), "", "nats, the epistemic part of the entropy"),
    ]
    return lay_out(report, rows, f"{report.n:,} in {report.classes:,} class{'es' * (report.classes > 1)}")


def _skill_rows(report: CalibrationReport) -> list[tuple[str, str, str, str]]:
    if report.baseline is None:
        return []
    skill = report.baseline.skill
    cells = (UNKNOWN, "") if skill is None else percent_cells(skill)
    return [("Skill", *cells, f"1 - NLL / NLL of the base rates ({report.baseline.nll:.3f} nats)")]


def _selective_rows(report: CalibrationReport) -> list[tuple[str, str, str, str]]:
    if report.selective is None:
        return [("AUROC of errors", UNKNOWN, "", "")]
    kept = next(at.figure for at in report.selective.accuracy_at_coverage if at.at == 0.8)
    auroc = report.selective.error_auroc
    return [
        ("Accuracy, top 80 %", *percent_cells(kept), "of the most confident"),
        (
            "AUROC of errors",
            *((UNKNOWN, "") if auroc is None else plain_cells(auroc)),
            "by confidence; 0.5 is no skill",
        ),
    ]


def page(report: CalibrationReport) -> Page:
    """Return the contents of the page."""
    return Page(
        title=title(report),
        tone=report.verdict.tone,
        headline=capital(str(report.verdict)),
        lede=tuple(_lede(report)),
        tiles=tuple(_tiles(report)),
        sections=(
            _trust(report),
            *_ood(report),
            *_classes(report),
            *_quotes(report),
            *_draws(report),
            all_figures(report),
            *closing(report),
        ),
    )


def _lede(report: CalibrationReport) -> Iterator[str]:
    yield report.verdict.reason
    if report.advice:
        yield report.advice
    yield (
        f"It claims {100 * report.confidence:.1f} % on average, and is right in {share(report.accuracy)} of "
        f"{report.n:,} example{'s' * (report.n != 1)} in {report.classes:,} class{'es' * (report.classes != 1)}."
    )
    if report.baseline is not None:
        yield f"{capital(report.trivial)}: a skill of 0 % is no better than knowing each class's frequency, 100 % is perfect."
    if report.selective is not None:
        yield f"{capital(report.selective.sentence)}."


def _tiles(report: CalibrationReport) -> Iterator[Tile]:
    base = report.baseline
    yield tile(
        "Accuracy",
        percent_cells(report.accuracy),
        "right answers" if base is None else f"right answers; the trivial answer: {100 * base.accuracy:.1f} %",
    )
    yield tile("ECE", percent_cells(report.ece), f"noise alone reaches {100 * report.ece_noise:.1f} %")
    if report.baseline is not None and report.baseline.skill is not None:
        yield tile("Skill", percent_cells(report.baseline.skill), "of its probabilities, over base rates")
    yield tile("NLL", plain_cells(report.nll), "nats; surprise at the right answers")
    yield tile("Brier score", plain_cells(report.brier), "from 0 to 2; error of its probabilities")
    if report.selective is not None and report.selective.error_auroc is not None:
        yield tile("AUROC of errors", plain_cells(report.selective.error_auroc), "0.5 is no skill")
    if report.mutual_information is not None and report.draws > 1:
        yield Tile("Mutual information", f"{report.mutual_information:.3f}", "nats", f"of {report.entropy:.3f} entropy")


def _trust(report: CalibrationReport) -> Section:
    figures = [
        Figure(
            "Does it keep its word?",
            (
                Picture(
                    "reliability",
                    charts.reliability(report.bins, report.headline),
                    {
                        "over": "over-confident",
                        "under": "under-confident",
                        "ideal": "perfect calibration",
                        "band": "where dots of a calibrated model fall, 95 %",
                    },
                ),
                Picture("confidence", charts.histogram(report), {"right": "right answers", "wrong": "wrong answers"}),
            ),
            "A dot for each of 15 bins of confidence: below the diagonal it claims more than it keeps. Whiskers are 95 % "
            "intervals. Below, how many examples have such a confidence.",
        )
    ]
    if report.selective is not None:
        figures.append(
            Figure(
                "Does it know when it doesn't know?",
                (
                    Picture(
                        "risk_coverage",
                        charts.risk_coverage(report.selective),
                        {
                            "under": "refusing the least certain",
                            "band": "95 % interval",
                            "ideal": "refusing at random",
                            "dotted": "the best possible order",
                        },
                    ),
                ),
                "Errors that are left where only the most confident share is answered. A curve that falls to the left "
                "says that confidence tells right from wrong; the dot is at 80 %.",
                _kept(report.selective),
            )
        )
    return Section("Can it be trusted?", figures=tuple(figures))


def _kept(selective: Selective) -> Table:
    rows = [
        (f"the top {100 * at.at:g} %", "", (interval_below(percent_cells(at.figure)),))
        for at in selective.accuracy_at_coverage
    ]
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
            f"{s.n:,} example{'s' * (s.n != 1)}",
            tuple(interval_below(plain_cells(metric)) for metric in (s.auroc, s.aupr, s.fpr95)),
        )
        for s in report.ood
    )
    yield Section(
        "Does it notice other data?",
        "The other set's examples are the positives: AUROC 0.5 is no skill; FPR95 is the share of the test set that is flagged "
        "where 95 % of the other set are. With 95 % intervals.",
        figures=tuple(figures[:PICTURED]),
        tables=(Table(("set and score", "AUROC", "AUPR", "FPR95"), rows),),
    )


def _classes(report: CalibrationReport) -> Iterator[Section]:
    if report.by_class is None or report.classes < 2:
        return
    figures, confusion = report.by_class.figures, report.by_class.confusion
    rows = tuple(
        (
            own.name,
            f"{own.n:,} row{'s' * (own.n != 1)}, {own.predicted:,} taken for it",
            (
                *(UNKNOWN if m is None else interval_below(percent_cells(m)) for m in (own.recall, own.precision)),
                f"{100 * own.claimed:.1f} % of {100 * own.n / report.n:.1f} %",
            ),
        )
        for own in figures
    )
    taken = tuple(
        (own.name, "", tuple(f"{count:,}" for count in row)) for own, row in zip(figures, confusion, strict=True)
    )
    yield Section(
        "Class by class",
        "Recall is the share of a class's rows that are found, precision the share of right answers among those given for it; "
        "claimed is the mean probability it gets, against the share of rows that are of it. Below, rows of each class (down) "
        "by the class they were taken for (across).",
        tables=(
            Table(("class", "recall", "precision", "claimed"), rows),
            Table(("", *(own.name for own in figures)), taken),
        ),
    )


def _quotes(report: CalibrationReport) -> Iterator[Section]:
    if report.quotes is None:
        return
    if report.quotes.mistakes:
        yield Section("The most confident mistakes", "Wrong labels are often here, too.", quotes=report.quotes.mistakes)
    if report.quotes.uncertain:
        yield Section("The least certain rows", "Those of the highest entropy.", quotes=report.quotes.uncertain)


def _draws(report: CalibrationReport) -> Iterator[Section]:
    over = report.over_draws
    if over is None or len(over.by_draws) < 2:
        return
    shown = (("nll", "NLL", "nats per example"), ("ece", "ECE", "15 bins"), ("accuracy", "Accuracy", "of all examples"))
    figures = tuple(
        Figure(words, (Picture(f"draws.{name}", charts.by_draws(over.by_draws, name, label, name != "nll"), {}),))
        for name, words, label in shown
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


VIEW = View(page, text, draw)
