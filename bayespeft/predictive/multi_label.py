"""Labels of which an example may have any number: a probability for each, averaged over draws in log space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.predictive.average import Cost
from bayespeft.predictive.base import FIGURES_ALONE, Details, Use
from bayespeft.predictive.several import SeveralAverage, SeveralPredictive
from bayespeft.report.conformal_labels import ConformalLabels
from bayespeft.report.context import Quotes
from bayespeft.report.multi_label import MultiLabelReport
from bayespeft.report.predictions import Predictor
from bayespeft.report.quotes import chosen, row_text
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class MultiLabelPredictive(SeveralPredictive):
    """Predictive law of K labels for each of n examples, each on or off.

    Attributes:
        labels: (n, K) int64, 1 where an example has the label, or None where the data has none.
        each: the law of each label over (off, on), (n K, 2).
    """

    uses: ClassVar[frozenset[Use]] = frozenset({"conformal"})
    shown: ClassVar[tuple[str, ...]] = ("probs",)

    def _table(self, values: Tensor) -> Tensor:
        return values.reshape(len(self), -1)

    @property
    def probs(self) -> Tensor:
        """(n, K) averaged probabilities that an example has a label."""
        return self._table(self.each.probs[:, 1])

    @property
    def log_probs(self) -> Tensor:
        """(n, K, 2) float64, log of the averaged probabilities of off and on."""
        return self.each.log_probs.reshape(len(self), -1, 2)

    @property
    def entropy(self) -> Tensor:
        """(n, K) entropy of each label, nats."""
        return self._table(self.each.entropy)

    @property
    def mutual_information(self) -> Tensor:
        """(n, K) of each label and the weights, nats: the epistemic part; see `Predictive.mutual_information`."""
        return self._table(self.each.mutual_information)

    @property
    def predicted(self) -> Tensor:
        """(n, K) bool, where the probability is at least one half."""
        return self.probs >= 0.5

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> MultiLabelReport:
        """Return a report on labels; arguments as the base."""
        labels = self._labelled()
        return MultiLabelReport.from_log_probs(
            self.log_probs[..., 1].numpy(),
            self.log_probs[..., 0].numpy(),
            labels.numpy(),
            names=details.names,
            mutual_information=float(self.mutual_information.sum(1).mean()) if self.draws > 1 else None,
            quotes=self._quotes(details.rows, details.names, details.quotes) if details.quotes else None,
            **self.cost,
            **facts,
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return NLL, and the share of examples of which every label is right."""
        right = (self.predicted == self._labelled().bool()).all(1)
        return {**super().validation_metrics(), "subset_accuracy": float(right.double().mean())}

    def conformal(self, predictor: Predictor, *, alpha: float, **settings: Any) -> ConformalLabels:
        """Return sets of labels, by one kind of score; see `ConformalLabels.fit`."""
        if (method := settings.get("method", "lac")) != "lac":
            raise ConfigError(
                f"method={method!r} is for classes of which one is right; sets of labels are made by 'lac'."
            )
        return ConformalLabels.fit(self, predictor, alpha=alpha, per=settings.get("per", "all"))

    def _quotes(self, rows: Sequence[Mapping[str, Any]] | None, names: Sequence[str], count: int) -> Quotes:
        labels, likelihood = self.labels, self.log_likelihood
        assert labels is not None
        assert likelihood is not None
        predicted = self.predicted

        def words(on: Tensor) -> str:
            found = [names[i] if i < len(names) else str(i) for i in torch.nonzero(on).flatten().tolist()]
            return ", ".join(found) or "none"

        return chosen(
            count,
            wrong=(predicted != labels.bool()).any(1),
            surprise=-likelihood,
            probability=self._table(self.each.log_probs.amax(1)).sum(1),
            label_probability=likelihood,
            entropy=self.entropy.sum(1),
            mutual_information=self.mutual_information.sum(1) if self.draws > 1 else None,
            text=lambda row: None if rows is None else row_text(rows[row]),
            label=lambda row: words(labels[row]),
            predicted=lambda row: words(predicted[row]),
        )


class MultiLabelAverage(SeveralAverage):
    """Averages sigmoid probabilities; outputs are logits (draws, rows, K), which are those of on against off."""

    def __init__(self, n: int, keep: bool = False) -> None:
        super().__init__(n, keep, lambda outputs: torch.stack([torch.zeros_like(outputs), outputs], -1))

    def result(self, cost: Cost, unit: int | None = None) -> MultiLabelPredictive:
        """Return the averaged probabilities; arguments and errors as the base."""
        each, sizes = self.several(cost, unit)
        stated = self._stated(cost, unit)
        labels = None if each.labels is None else each.labels.reshape(len(sizes), -1)
        return MultiLabelPredictive(each=each, sizes=sizes, **{**stated, "labels": labels})
