"""The same budget for every method: multiples of its own rates, of which held-out training rows choose one.

Each method is fitted once with each multiple to the training rows but some, the same for all methods, and the multiple under
which these have the least NLL is the one that it is fitted with to all training rows. A search over one multiple asks of every
method the same number of fits, whatever the units of its rates: those of an optimiser of its own, or of a factor that has one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator

from bayespeft.config import Config
from bayespeft.data.columns import LABELS, Row
from bayespeft.errors import ConfigError, FitError
from bayespeft.methods.base import Method
from bayespeft.utils.described import shown

FIFTH = 0.2


class Tuning(Config):
    """A search for each method's rates.

    Attributes:
        multiples: of all of a method's peak rates at once (`GuideSpec.rates`), to choose from.
        share: part of the training rows that is held out to choose by.
    """

    multiples: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    share: float = Field(default=FIFTH, gt=0, lt=1)

    @field_validator("multiples")
    @classmethod
    def _each_once(cls, multiples: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(multiples)) < len(multiples):
            raise ValueError("each multiple once")
        return tuple(sorted(multiples))


def as_tuning(tune: Sequence[float] | Tuning | None) -> Tuning | None:
    """Return a search as settings, whatever form the user chose: multiples alone, or all of them.

    Raises:
        ConfigError: they can't be used.
    """
    if tune is None or isinstance(tune, Tuning):
        return tune
    try:
        return Tuning(multiples=tuple(tune))
    except TypeError:
        raise ConfigError(f"tune={shown(tune)} must be multiples, such as (0.5, 1, 2), or a Tuning.") from None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a fit to the kept rows came to: NLL of the held-out rows in nats per example, and optimiser steps."""

    nll: float
    steps: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found; plain values, as they are kept with a run.

    Attributes:
        multiples: that were tried, rising.
        nlls: held-out NLL of each, nats per example; None where the fit failed, as its loss became infinite.
        multiple: the chosen one.
        lr: the method's `lr` times it.
        held_out: rows that it was chosen by.
        steps: optimiser steps of the whole search.
        seconds: that the search took, fits that failed included.
    """

    multiples: tuple[float, ...]
    nlls: tuple[float | None, ...]
    multiple: float
    lr: float
    held_out: int
    steps: int
    seconds: float

    @property
    def at_the_edge(self) -> bool:
        """Whether the chosen multiple is the least or the largest of several, so that one beyond may be better."""
        return len(self.multiples) > 1 and self.multiple in (self.multiples[0], self.multiples[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes, as JSON has them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Tuned:
        """Return what `to_dict` wrote.

        Raises:
            TypeError, KeyError: it is something else.
        """
        lists = {name: tuple(found[name]) for name in ("multiples", "nlls")}
        return cls(**{**found, **lists})


def at(method: Method, multiple: float) -> Method:
    """Return the method with all its peak rates times a multiple."""
    if multiple == 1:
        return method
    train = method.train
    rates: dict[str, Any] = {name: multiple * rate for name, rate in method.guide.rates(train).items()}
    factors = {name: multiple * rate for name, rate in train.factor_lr.items()}
    return method.replace(train=train.replace(**rates, **({"factor_lr": factors} if factors else {})))


def search(method: Method, tuning: Tuning, held_out: int, attempt: Callable[[Method], Trial]) -> tuple[Method, Tuned]:
    """Try every multiple and return the method at the best one.

    Of equally good ones it is the one nearest to 1.

    Args:
        method: with its own rates.
        tuning: what to try.
        held_out: rows that are held out, to be told.
        attempt: fits a method to the kept rows and measures it on the held-out ones.

    Raises:
        FitError: the loss became infinite with every multiple.
    """
    trials: list[Trial | None] = []
    begin = time.perf_counter()
    for multiple in tuning.multiples:
        try:
            trials.append(attempt(at(method, multiple)))
        except FitError as error:
            trials.append(None)
            failed = error
    good = [(t.nll, abs(m - 1), m) for m, t in zip(tuning.multiples, trials, strict=True) if t is not None]
    if not good:
        raise FitError(f"no multiple of the rates in {list(tuning.multiples)} could be fitted: {failed}") from failed
    _, _, best = min(good)
    done = [trial for trial in trials if trial is not None]
    found = Tuned(
        multiples=tuning.multiples,
        nlls=tuple(None if trial is None else trial.nll for trial in trials),
        multiple=best,
        lr=best * method.train.lr,
        held_out=held_out,
        steps=sum(trial.steps for trial in done),
        seconds=time.perf_counter() - begin,
    )
    return at(method, best), found


def held_out(rows: Sequence[Row], seed: int, share: float = FIFTH) -> tuple[list[Row], list[Row]]:
    """Return the rows to train on, and a random part for what must not be trained on, such as a temperature.

    Rows that are alike but for their labels stay together: if one of them were trained on, the other would not be held out.

    Args:
        rows: all of them.
        seed: of the choice.
        share: the part that is held out, at least one row; with rows that stay together it may be more.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    inputs = [repr(sorted((k, v) for k, v in row.items() if k not in LABELS)) for row in rows]
    chosen = {inputs[i] for i in order[: max(1, int(share * len(rows)))]}
    kept = [row for row, own in zip(rows, inputs, strict=True) if own not in chosen]
    return kept, [row for row, own in zip(rows, inputs, strict=True) if own in chosen]
