"""What a report carries beside its numbers: how training went, with which settings and versions, and some of the rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.predictive.categorical import Predictive

LONGEST = 600
"""Characters of a text that are quoted."""

# Characters that no page may hold: controls but for tab and line feed, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Training:
    """How training went.

    Attributes:
        steps: optimiser steps at each point of the curves.
        curves: name -> a number at each of the steps, in nats, or None where there is none: "objective" (per example),
            "nll" (of a training example), "kl" (of the latents, in all), and "validation nll" where it was computed.
        seconds: wall-clock time of training.
        peak_memory_bytes: most memory used, or None where it can't be told.
        ended: why it took as many steps as it did, in words; empty where the number was fixed.
        remedies: kind of verdict -> what to do about it, in words.
    """

    steps: tuple[int, ...]
    curves: dict[str, tuple[float | None, ...]]
    seconds: float
    peak_memory_bytes: int | None = None
    ended: str = ""
    remedies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setup:
    """All that must be known to do it again: settings as nested dictionaries of plain values, and versions of packages."""

    configuration: dict[str, Any]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Quote:
    """One row of the data and what was predicted for it.

    Attributes:
        index: its place in the data, from 0.
        text: what was read, cut after `LONGEST` characters; None where the data is not text.
        label: name of the right class.
        predicted: name of the most probable class.
        probability: of that class.
        label_probability: of the right one.
        entropy: of the averaged probabilities, nats.
        mutual_information: of label and weights, nats; None where nothing was drawn.
    """

    index: int
    text: str | None
    label: str
    predicted: str
    probability: float
    label_probability: float
    entropy: float
    mutual_information: float | None


@dataclass(frozen=True, slots=True)
class Quotes:
    """Rows to look at: wrong answers, those of the highest probability first; and rows of the highest entropy."""

    mistakes: tuple[Quote, ...]
    uncertain: tuple[Quote, ...]


def quotes(
    prediction: Predictive, count: int, text: Callable[[int], str | None], name: Callable[[int, int], str]
) -> Quotes:
    """Choose rows of a labelled prediction; of equal ones the first.

    Args:
        prediction: with labels.
        count: most of either kind.
        text: the text of a row, or None.
        name: of a class, given a row and the class's number.

    Raises:
        ConfigError: count is negative.
    """
    assert prediction.labels is not None
    if count < 0:
        raise ConfigError(f"quotes={count}: the number of rows to quote is 0 or more.")
    # NumPy's is the first of equal ones, as in the accuracy.
    predicted = torch.from_numpy(prediction.log_probs.numpy().argmax(axis=1))
    top = prediction.log_probs.amax(-1)
    entropy, information = prediction.entropy, prediction.mutual_information if prediction.draws > 1 else None
    likelihood = prediction.log_likelihood
    assert likelihood is not None
    labels = prediction.labels

    def quote(row: int) -> Quote:
        found = text(row)
        return Quote(
            index=row,
            text=None if found is None else _readable(found),
            label=_readable(name(row, int(labels[row]))),
            predicted=_readable(name(row, int(predicted[row]))),
            probability=float(top[row].exp()),
            label_probability=float(likelihood[row].exp()),
            entropy=float(entropy[row]),
            mutual_information=None if information is None else float(information[row]),
        )

    wrong = torch.nonzero(predicted != labels).flatten()
    mistakes = wrong[_highest(top[wrong], count)]
    return Quotes(
        tuple(quote(int(row)) for row in mistakes), tuple(quote(int(row)) for row in _highest(entropy, count))
    )


def _highest(values: Tensor, count: int) -> Tensor:
    order: Tensor = torch.sort(values, descending=True, stable=True).indices
    return order[:count]


def _readable(text: str) -> str:
    """Cut a text, and replace what no page may hold."""
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", cut.replace("\r\n", "\n"))
