"""Reports as aligned plain text: the cells of a row, and how rows are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bayespeft.report.metric import UNKNOWN, Figure, cells, counted, measured
from bayespeft.utils.memory import byte_text

if TYPE_CHECKING:
    from bayespeft.report.base import Report


Cells = tuple[str, str]
"""A value and its interval, as they are shown."""


def lay_out(report: Report, rows: Sequence[tuple[str, str, str, str]], examples: str) -> str:
    """Return a headline in words, rows of name, value, interval and remark, and the facts of the run; no trailing newline.

    Args:
        report: that they are of.
        rows: the figures.
        examples: how many there are, of what.
    """
    rows = [("", "value", "95 % interval", ""), *rows]
    first, value, interval = (max(len(row[i]) for row in rows) for i in range(3))
    lines = [f"{a:{first}}  {b:>{value}}  {c:{interval}}  {d}".rstrip() for a, b, c, d in rows]
    facts = [
        ("Examples", examples),
        ("Draws", draw_text(report)),
        ("Time", time_text(report.seconds)),
        ("Parameters", parameter_text(report.trainable_parameters, report.total_parameters)),
        ("Peak memory", memory_text(report.peak_memory_bytes)),
    ]
    if report.training is not None and report.training.ended:
        facts.append(("Training", report.training.ended))
    lines += ["", *(f"{name:{first}}  {fact}" for name, fact in facts)]
    headline = f"{title(report)}: {report.headline}" if title(report) else capital(report.headline)
    return "\n".join([headline, *([report.advice] if report.advice else []), "", *lines])


def title(report: Report) -> str:
    """Return data and method, as far as they have names."""
    return ", ".join(filter(None, (report.name, report.method)))


def percent_cells(figure: Figure) -> Cells:
    """Return a share and its interval, in percent, as far as they are known."""
    value, ends = cells(figure, lambda share: f"{100 * share:.1f}")
    return (value if figure is None else f"{value} %"), ends


def plain_cells(figure: Figure) -> Cells:
    """Return a number and its interval, with three decimals, as far as they are known."""
    return cells(figure, lambda number: f"{number:.3f}")


def measured_cells(figure: Figure) -> Cells:
    """Return a number in the targets' units, which may be any, and its interval, as far as they are known."""
    return cells(figure, measured)


def draw_text(report: Report) -> str:
    """Return how many draws were made, in how many passes, and how far they are from infinitely many."""
    forward, backward = report.forward_passes, report.backward_passes
    text = f"{report.draws:,}" if forward is None else f"{report.draws:,} in {counted(forward, 'forward pass')}"
    if backward:
        text += f" and {counted(backward, 'backward pass')}"
    return text if report.nll_error is None else f"{text}; Monte Carlo error of the NLL {report.nll_error:.2g} nats"


def parameter_text(trainable: int | None, total: int | None) -> str:
    """Return how many parameters were learned, of how many."""
    if trainable is None:
        return UNKNOWN
    if not total:
        return f"{trainable:,} trainable"
    return f"{trainable:,} trainable of {total:,} ({100 * trainable / total:.3g} %)"


def memory_text(count: int | None) -> str:
    """Return an amount of memory, where it is known."""
    return UNKNOWN if count is None else byte_text(count)


def time_text(seconds: float | None) -> str:
    """Return a time in seconds, or in minutes from two on, where it is known."""
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def short_count(count: int) -> str:
    """Return a count in few characters: 950, 1.2k, 34k, 5M."""
    for size, unit in ((10**6, "M"), (10**3, "k")):
        amount = count / size
        if amount >= 0.9995:
            return f"{amount:.1f}".removesuffix(".0") + unit if amount < 9.95 else f"{amount:.0f}{unit}"
    return str(count)


def capital(text: str) -> str:
    """Return a text that begins with a capital."""
    return text[:1].upper() + text[1:]
