"""Reports as aligned plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayespeft.report.base import Report
    from bayespeft.report.calibration import CalibrationReport
    from bayespeft.report.language import LanguageReport
    from bayespeft.report.metric import Metric
    from bayespeft.report.regression import RegressionReport

UNKNOWN = "-"


def table(report: CalibrationReport) -> str:
    """Return a headline in words, the metrics with their intervals, and the facts of the run; no trailing newline."""
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
        ("Mutual information", _nats(report.mutual_information), "", "nats, the epistemic part of the entropy"),
    ]
    return _lay_out(report, rows, f"{report.n:,} in {report.classes:,} class{'es' * (report.classes > 1)}")


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


def regression_table(report: RegressionReport) -> str:
    """Return the same of a regression report: headline, metrics with their intervals, facts."""
    per = "" if report.outputs == 1 else f", mean over {report.outputs} outputs"
    rows = [
        ("", "value", "95 % interval", ""),
        (
            "NLL",
            *plain_cells(report.nll),
            "nats" if report.outputs == 1 else f"nats, {report.outputs} outputs together",
        ),
        ("RMSE", *measured_cells(report.rmse), f"in the targets' units{per}"),
        *(
            []
            if report.skill is None
            else [("Variance explained", *percent_cells(report.skill), "by the predicted mean")]
        ),
        ("MAE", *measured_cells(report.mae), "of the median"),
        ("CRPS", *measured_cells(report.crps), ""),
        *(
            (f"Coverage at {100 * c.level:g} %", *percent_cells(c.observed), f"mean width {c.width:.4g}")
            for c in report.coverage
        ),
        (
            "Calibration error",
            f"{100 * report.calibration_error:.1f} %",
            "",
            f"sampling noise alone reaches {100 * report.calibration_noise:.1f} %",
        ),
        ("Epistemic std", UNKNOWN if report.epistemic is None else f"{report.epistemic:.4g}", "", "root mean square"),
        ("Noise", UNKNOWN if report.noise is None else f"{report.noise:.4g}", "", "of the likelihood"),
    ]
    return _lay_out(report, rows, f"{report.n:,} with {report.outputs:,} output{'s' * (report.outputs > 1)}")


def language_table(report: LanguageReport) -> str:
    """Return the same of a report on targets' probabilities."""
    rows = [
        ("", "value", "95 % interval", ""),
        ("NLL", *plain_cells(report.nll), "nats per target"),
        ("NLL per token", *plain_cells(report.nll_per_token), "nats"),
        ("Perplexity", *measured_cells(report.perplexity), "exp of the NLL per token"),
    ]
    return _lay_out(report, rows, f"{report.n:,} with {report.tokens:,} scored tokens")


def _lay_out(report: Report, rows: list[tuple[str, str, str, str]], examples: str) -> str:
    title = ", ".join(filter(None, (report.name, report.method)))
    first, value, interval = (max(len(row[i]) for row in rows) for i in range(3))
    lines = [f"{a:{first}}  {b:>{value}}  {c:{interval}}  {d}".rstrip() for a, b, c, d in rows]
    facts = [
        ("Examples", examples),
        ("Draws", draw_text(report)),
        ("Time", UNKNOWN if report.seconds is None else f"{report.seconds:.3g} s"),
        ("Parameters", parameter_text(report.trainable_parameters, report.total_parameters)),
        ("Peak memory", byte_text(report.peak_memory_bytes)),
    ]
    if report.training is not None and report.training.ended:
        facts.append(("Training", report.training.ended))
    lines += ["", *(f"{name:{first}}  {fact}" for name, fact in facts)]
    headline = f"{title}: {report.headline}" if title else _capital(report.headline)
    return "\n".join([headline, *([report.advice] if report.advice else []), "", *lines])


def percent_cells(metric: Metric) -> tuple[str, str]:
    """Return a share and its interval, in percent."""
    return f"{100 * metric.value:.1f} %", f"[{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def plain_cells(metric: Metric) -> tuple[str, str]:
    """Return a number and its interval, with three decimals."""
    return f"{metric.value:.3f}", f"[{metric.low:.3f}, {metric.high:.3f}]"


def measured_cells(metric: Metric) -> tuple[str, str]:
    """Return a number in the targets' units, which may be any, and its interval: four digits, wherever they begin."""
    return f"{metric.value:.4g}", f"[{metric.low:.4g}, {metric.high:.4g}]"


def _nats(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def draw_text(report: Report) -> str:
    """Return how many draws were made, in how many passes, and how far they are from infinitely many."""
    forward, backward = report.forward_passes, report.backward_passes
    text = (
        f"{report.draws:,}"
        if forward is None
        else f"{report.draws:,} in {forward:,} forward pass{'es' * (forward != 1)}"
    )
    if backward:
        text += f" and {backward:,} backward pass{'es' * (backward != 1)}"
    return text if report.nll_error is None else f"{text}; Monte Carlo error of the NLL {report.nll_error:.2g} nats"


def parameter_text(trainable: int | None, total: int | None) -> str:
    """Return how many parameters were learned, of how many."""
    if trainable is None:
        return UNKNOWN
    if not total:
        return f"{trainable:,} trainable"
    return f"{trainable:,} trainable of {total:,} ({100 * trainable / total:.3g} %)"


def byte_text(count: int | None) -> str:
    """Return an amount of memory."""
    if count is None:
        return UNKNOWN
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def short_count(count: int) -> str:
    """Return a count in few characters: 950, 1.2k, 34k, 5M."""
    for size, unit in ((10**6, "M"), (10**3, "k")):
        amount = count / size
        if amount >= 0.9995:
            return f"{amount:.1f}".removesuffix(".0") + unit if amount < 9.95 else f"{amount:.0f}{unit}"
    return str(count)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
