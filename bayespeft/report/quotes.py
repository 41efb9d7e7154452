"""The rows of the data that are worth looking at, with what was read of them and what was predicted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bayespeft.data.columns import CHOICES, INPUT_TEXTS
from bayespeft.errors import ConfigError
from bayespeft.report.context import Quote, Quotes
from bayespeft.report.predictions import ClassPrediction

LONGEST = 600
"""Characters of a text that are quoted."""

# Characters that no page may hold: controls but for tab and line feed, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def quoted(
    prediction: ClassPrediction, rows: Sequence[Mapping[str, Any]] | None, names: Sequence[str], count: int
) -> Quotes:
    """Choose the most confident mistakes of a labelled prediction, and the rows of the highest entropy.

    Args:
        prediction: with labels.
        rows: what was predicted, as texts, in the prediction's order; None where it is something else.
        names: what classes are called, unless rows have choices; numbers where there are none.
        count: most of either kind.

    Raises:
        ConfigError: count is negative.
    """
    labels, likelihood = prediction.labels, prediction.log_likelihood
    assert labels is not None
    assert likelihood is not None
    # NumPy's is the first of equal ones, as in the accuracy.
    predicted = torch.from_numpy(prediction.log_probs.numpy().argmax(axis=1))
    top = prediction.log_probs.amax(-1)

    def name(row: int, number: int) -> str:
        choices = rows[row].get(CHOICES) if rows is not None else None
        own = names if choices is None else choices
        return str(own[number]) if number < len(own) else str(number)

    return chosen(
        count,
        wrong=predicted != labels,
        surprise=top,
        probability=top,
        label_probability=likelihood,
        entropy=prediction.entropy,
        mutual_information=prediction.mutual_information if prediction.draws > 1 else None,
        text=lambda row: None if rows is None else row_text(rows[row]),
        label=lambda row: name(row, int(labels[row])),
        predicted=lambda row: name(row, int(predicted[row])),
    )


def row_text(row: Mapping[str, Any]) -> str | None:
    """Return what is read of a row: its texts, and a question's choices below it; None where it has no text."""
    parts = [str(row[column]) for column in INPUT_TEXTS if column in row]
    parts += [f"({chr(ord('A') + i)}) {choice}" for i, choice in enumerate(row.get(CHOICES) or ())]
    return "\n".join(parts) if parts else None


def chosen(
    count: int,
    *,
    wrong: Tensor,
    surprise: Tensor,
    probability: Tensor,
    label_probability: Tensor,
    entropy: Tensor,
    mutual_information: Tensor | None,
    text: Callable[[int], str | None],
    label: Callable[[int], str],
    predicted: Callable[[int], str],
) -> Quotes:
    """Choose, of n rows, wrong ones of the largest surprise, and those of the highest entropy; of equal ones the first.

    Args:
        count: most of either kind.
        wrong: (n,) bool.
        surprise: (n,) what wrong rows are ranked by.
        probability: (n,) log-probability of what is predicted.
        label_probability: (n,) log-probability of the labels.
        entropy: (n,) nats.
        mutual_information: (n,) nats, or None where nothing was drawn.
        text: the text of a row, or None.
        label: what a row is labelled, in words.
        predicted: what is predicted of it, in words.

    Raises:
        ConfigError: count is negative.
    """
    if count < 0:
        raise ConfigError(f"quotes={count}: the number of rows to quote is 0 or more.")

    def quote(row: int) -> Quote:
        found = text(row)
        return Quote(
            index=row,
            text=None if found is None else readable(found),
            label=readable(label(row)),
            predicted=readable(predicted(row)),
            probability=float(probability[row].exp()),
            label_probability=float(label_probability[row].exp()),
            entropy=float(entropy[row]),
            mutual_information=None if mutual_information is None else float(mutual_information[row]),
        )

    rows = torch.nonzero(wrong).flatten()
    mistakes = rows[_highest(surprise[rows], count)]
    return Quotes(
        tuple(quote(int(row)) for row in mistakes), tuple(quote(int(row)) for row in _highest(entropy, count))
    )


def _highest(values: Tensor, count: int) -> Tensor:
    order: Tensor = torch.sort(values, descending=True, stable=True).indices
    return order[:count]


def readable(text: str) -> str:
    """Return a text that is cut after `LONGEST` characters, with what no page may hold replaced."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", cut.replace("\r\n", "\n"))
