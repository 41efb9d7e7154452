"""Several labels for each example, each of one of C classes: what one label is, averaged for each of them by itself.

The law of a label is the average over draws of its law under each, so that its probabilities can be read one by one; labels of
one example share the weights, and the joint law, which is no product of these, is not kept. The log-probability of an
example's labels is the sum over those that are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayespeft.networks.tokens import IGNORED
from bayespeft.predictive.average import ALONE, Average, Cost, Groups, Rows, refuse_broken, relative
from bayespeft.predictive.base import Prediction, Temperature
from bayespeft.predictive.categorical import CategoricalAverage, Predictive
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class SeveralPredictive(Prediction):
    """A predictive law of several labels for each of n examples.

    Attributes:
        each: the law of each label, (m, C): those of the first example, then those of the second, ... Its labels are `IGNORED`
            where an example lacks one.
        sizes: (n,) int64, labels of each example.
    """

    each: Predictive
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def owner(self) -> Tensor:
        """(m,) int64, which example each label belongs to."""
        return torch.repeat_interleave(torch.arange(len(self)), self.sizes)

    @property
    def log_likelihood(self) -> Tensor | None:
        """(n,) sum over known labels of the log of their averaged probabilities, nats; None without labels."""
        found = self.each.log_likelihood
        return None if found is None else torch.zeros(len(self), dtype=found.dtype).index_add_(0, self.owner, found)

    def known(self) -> tuple[Predictive, Tensor]:
        """Return the law of those labels that are known, and which example each belongs to."""
        assert self.each.labels is not None
        kept = self.each.labels != IGNORED
        return taken(self.each, kept), self.owner[kept]

    def tempered_nll(self, temperature: Temperature) -> float:
        """As the base, with each label averaged by itself."""
        scaled = self.each.tempered_log_likelihood(temperature)
        return float((math.log(len(scaled)) - torch.logsumexp(scaled, 0)).sum() / len(self))


def taken(prediction: Predictive, rows: Tensor) -> Predictive:
    """Return some rows of a law of classes, by a mask or by positions."""
    labels, draws, bias = prediction.labels, prediction.draw_log_probs, prediction.information_bias
    return replace(
        prediction,
        log_probs=prediction.log_probs[rows],
        expected_entropy=prediction.expected_entropy[rows],
        labels=None if labels is None else labels[rows],
        draw_log_probs=None if draws is None else draws[:, rows],
        information_bias=None if bias is None else bias[rows],
    )


class SeveralAverage(Average):
    """Averages each label of each example by itself.

    How many labels an example has is known when its batch comes, so that each batch has an average of its own; rounds of draws
    must read the same batches.

    Args:
        n: examples.
        keep: keep each draw's log-probabilities.
        logits: outputs (draws, rows, ...) -> logits (draws, rows, T, C) of T labels; None: that is what outputs are.
    """

    def __init__(self, n: int, keep: bool = False, logits: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(n, keep)
        self._logits = logits
        self._parts: dict[int, tuple[CategoricalAverage, Tensor]] = {}

    def begin(self, draws: int, groups: Groups = ALONE) -> None:
        """As the base."""
        super().begin(draws, groups)
        for part, _ in self._parts.values():
            part.begin(draws, groups)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, ...); labels are (rows, T), `IGNORED` where there is none."""
        logits = outputs if self._logits is None else self._logits(outputs)
        counted = rows.counted
        if counted is None:
            counted = torch.ones(logits.shape[1:3], dtype=torch.bool)
        flat = logits[:, counted]
        key = int(rows.index[0])
        if key not in self._parts:
            owners = torch.repeat_interleave(rows.index, counted.sum(1))
            self._parts[key] = CategoricalAverage(len(owners), self._keep), owners
            self._parts[key][0].begin(self._begun[-1], self._groups)
        part, owners = self._parts[key]
        labels = None if rows.labels is None else rows.labels[counted].long()
        part.add(flat, Rows(torch.arange(len(owners)), labels), first)
        self.labels = part.labels if self.labels is None else self.labels

    def _influence(self) -> Tensor:
        """Return the sum over known labels of p_s / mean_s p_s over n, for each draw."""
        known = [relative(part.scores)[:, part.labels != IGNORED].sum(1) for part, _ in self._parts.values()]
        return torch.stack(known).sum(0) / self._n

    def several(self, cost: Cost, unit: int | None) -> tuple[Predictive, Tensor]:
        """Return the law of each label, in the order of the examples, and the number of labels of each example.

        Raises:
            FitError: an output is not a number.
        """
        found = []
        for part, owners in self._parts.values():
            refuse_broken(part.broken, owners)
            found.append(part.result(cost, unit))
        owners = torch.cat([owners for _, owners in self._parts.values()])
        joint = taken(_joined(found), torch.argsort(owners, stable=True))
        return replace(joint, nll_error=None), torch.bincount(owners, minlength=self._n)


def _joined(parts: list[Predictive]) -> Predictive:
    """Return laws of classes as one, one behind the other."""

    def cat(values: list[Tensor | None], dim: int = 0) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.cat(there, dim) if there else None

    first = parts[0]
    return replace(
        first,
        log_probs=torch.cat([part.log_probs for part in parts]),
        expected_entropy=torch.cat([part.expected_entropy for part in parts]),
        labels=cat([part.labels for part in parts]),
        draw_log_probs=cat([part.draw_log_probs for part in parts], 1),
        information_bias=cat([part.information_bias for part in parts]),
    )
