"""A calibration report as aligned plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayespeft.report.bootstrap import Metric
    from bayespeft.report.calibration import CalibrationReport

UNKNOWN = "-"


def table(report: CalibrationReport) -> str:
    """Return a headline in words, the metrics with their intervals, and the facts of the run; no trailing newline."""
    title = ", ".join(filter(None, (report.name, report.method)))
    rows = [
        ("", "value", "95 % interval", ""),
        ("Accuracy", *_percent(report.accuracy), ""),
        ("NLL", *_plain(report.nll), "nats"),
        ("ECE", *_percent(report.ece), f"sampling noise alone reaches {100 * report.ece_noise:.1f} %"),
        ("ECE, equal mass", *_percent(report.ece_equal_mass), ""),
        ("Brier", *_plain(report.brier), "from 0 to 2"),
        ("Mean confidence", f"{100 * report.confidence:.1f} %", "", ""),
        ("Entropy", f"{report.entropy:.3f}", "", "nats"),
        ("Mutual information", _nats(report.mutual_information), "", "nats, the epistemic part of the entropy"),
    ]
    first, value, interval = (max(len(row[i]) for row in rows) for i in range(3))
    lines = [f"{a:{first}}  {b:>{value}}  {c:{interval}}  {d}".rstrip() for a, b, c, d in rows]
    facts = [
        ("Examples", f"{report.n:,} in {report.classes:,} class{'es' * (report.classes > 1)}"),
        ("Draws", f"{report.draws:,}{_passes(report)}"),
        ("Time", UNKNOWN if report.seconds is None else f"{report.seconds:.3g} s"),
        ("Parameters", _parameters(report.trainable_parameters, report.total_parameters)),
        ("Peak memory", _bytes(report.peak_memory_bytes)),
    ]
    lines += ["", *(f"{name:{first}}  {fact}" for name, fact in facts)]
    return "\n".join([f"{title}: {report.headline}" if title else _capital(report.headline), "", *lines])


def _percent(metric: Metric) -> tuple[str, str]:
    return f"{100 * metric.value:.1f} %", f"[{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def _plain(metric: Metric) -> tuple[str, str]:
    return f"{metric.value:.3f}", f"[{metric.low:.3f}, {metric.high:.3f}]"


def _nats(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"


def _passes(report: CalibrationReport) -> str:
    """In how many passes the draws were made, and how far they are from infinitely many."""
    forward, backward = report.forward_passes, report.backward_passes
    text = "" if forward is None else f" in {forward:,} forward pass{'es' * (forward != 1)}"
    if backward:
        text += f" and {backward:,} backward pass{'es' * (backward != 1)}"
    return text if report.nll_error is None else f"{text}; Monte Carlo error of the NLL {report.nll_error:.2g} nats"


def _parameters(trainable: int | None, total: int | None) -> str:
    if trainable is None:
        return UNKNOWN
    if not total:
        return f"{trainable:,} trainable"
    return f"{trainable:,} trainable of {total:,} ({100 * trainable / total:.3g} %)"


def _bytes(count: int | None) -> str:
    if count is None:
        return UNKNOWN
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
