"""What a report carries beside its numbers: how training went, with which settings and versions, and some of the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
        kl_error: standard error of the last "kl", nats, where it is a Monte Carlo estimate; None where it has a formula.
    """

    steps: tuple[int, ...]
    curves: dict[str, tuple[float | None, ...]]
    seconds: float
    peak_memory_bytes: int | None = None
    ended: str = ""
    remedies: dict[str, str] = field(default_factory=dict)
    kl_error: float | None = None


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
        text: what was read, cut after `quotes.LONGEST` characters; None where the data is not text.
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
