"""Labels of tokens: probabilities of K classes for each token of each example, averaged over draws in log space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bayespeft.errors import DataError
from bayespeft.networks.tokens import IGNORED
from bayespeft.predictive.average import Cost
from bayespeft.predictive.base import FIGURES_ALONE, Details
from bayespeft.predictive.categorical import Predictive, log_likelihood
from bayespeft.predictive.several import SeveralAverage, SeveralPredictive
from bayespeft.report.context import Quotes
from bayespeft.report.entities import told
from bayespeft.report.quotes import chosen
from bayespeft.report.tokens import TokenReport
from bayespeft.utils.checks import checked_methods


class TokenLaw(TorchDistribution):  # type: ignore[misc]
    """Independent classes of the T tokens of each of n examples, of which those that are `IGNORED` say nothing.

    Args:
        logits: (n, T, K).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch's own convention)

    def __init__(self, logits: Tensor) -> None:
        self._log_probs = torch.log_softmax(logits, -1)
        super().__init__(logits.shape[:1], logits.shape[1:2], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return (n,) sum over the tokens of labels (n, T) that are not `IGNORED`."""
        return log_likelihood(self._log_probs, value).sum(-1)


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class TokenPredictive(SeveralPredictive):
    """Predictive law of the class of each token of n examples; of rows of words, of each word.

    Attributes:
        labels: (n, longest) int64, `IGNORED` where a token has none and behind the last one; None where the data has none.
        each: the law of each token, (tokens of all examples, K).
    """

    def _rows(self, values: Tensor) -> tuple[Tensor, ...]:
        return torch.split(values, self.sizes.tolist())

    @property
    def probs(self) -> tuple[Tensor, ...]:
        """(tokens, K) averaged probabilities, for each example."""
        return self._rows(self.each.probs)

    @property
    def log_probs(self) -> tuple[Tensor, ...]:
        """(tokens, K) float64, log of the averaged probabilities, for each example."""
        return self._rows(self.each.log_probs)

    @property
    def entropy(self) -> tuple[Tensor, ...]:
        """(tokens,) entropy of each token's class, nats, for each example."""
        return self._rows(self.each.entropy)

    @property
    def mutual_information(self) -> tuple[Tensor, ...]:
        """(tokens,) of each token's class and the weights, nats, for each example; see `Predictive.mutual_information`."""
        return self._rows(self.each.mutual_information)

    @property
    def predicted(self) -> tuple[Tensor, ...]:
        """(tokens,) the most probable class, for each example."""
        return self._rows(self.each.log_probs.argmax(-1))

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> TokenReport:
        """Return a report on tokens and, where classes are named B-... and I-..., on entities; arguments as the base."""
        self._labelled()
        known, owner = self._known()
        assert known.labels is not None
        return TokenReport.from_log_probs(
            known.log_probs.numpy(),
            known.labels.numpy(),
            owner.numpy(),
            len(self),
            names=details.names,
            mutual_information=float(known.mutual_information.mean()) if self.draws > 1 else None,
            quotes=self._quotes(details.rows, details.names, details.quotes) if details.quotes else None,
            **self.cost,
            **facts,
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return the NLL of an example and of a token, and the share of tokens that are right."""
        self._labelled()
        known, _ = self._known()
        assert known.labels is not None
        assert known.log_likelihood is not None
        right = (known.log_probs.argmax(-1) == known.labels).double()
        return {
            **super().validation_metrics(),
            "nll_per_token": -float(known.log_likelihood.mean()),
            "accuracy": float(right.mean()),
        }

    def _known(self) -> tuple[Predictive, Tensor]:
        """As `known`, of which a report needs at least one."""
        found = self.known()
        if not len(found[1]):
            raise DataError(
                "no token has a label: all are -100, so there is nothing to compare with. Pass labelled tokens."
            )
        return found

    def _quotes(self, rows: Sequence[Mapping[str, Any]] | None, names: Sequence[str], count: int) -> Quotes:
        labels, likelihood = self.each.labels, self.log_likelihood
        assert labels is not None
        assert likelihood is not None
        wrong = (labels != IGNORED) & (self.each.log_probs.argmax(-1) != labels)
        top = self.each.log_probs.amax(-1).masked_fill(labels == IGNORED, 0.0)
        sums = {
            name: torch.zeros(len(self), dtype=torch.float64).index_add_(0, self.owner, values.double())
            for name, values in {
                "wrong": wrong, "top": top, "entropy": self.each.entropy, "information": self.each.mutual_information
            }.items()
        }  # fmt: skip
        tags, predicted = self._rows(labels), self.predicted

        def words(row: int, classes: Tensor) -> str:
            kept = tags[row] != IGNORED
            own = [names[k] if k < len(names) else str(k) for k in classes[kept].tolist()]
            read = None if rows is None else rows[row].get("tokens")
            found = (
                None if read is None or len(read) < len(kept) else [read[i] for i in kept.nonzero().flatten().tolist()]
            )
            return told(own, found)

        return chosen(
            count,
            wrong=sums["wrong"] > 0,
            surprise=-likelihood,
            probability=sums["top"],
            label_probability=likelihood,
            entropy=sums["entropy"],
            mutual_information=sums["information"] if self.draws > 1 else None,
            text=lambda row: None if rows is None or "tokens" not in rows[row] else " ".join(rows[row]["tokens"]),
            label=lambda row: words(row, tags[row]),
            predicted=lambda row: words(row, predicted[row]),
        )


class TokenAverage(SeveralAverage):
    """Averages softmax probabilities of tokens; outputs are logits (draws, rows, T, K)."""

    def result(self, cost: Cost, unit: int | None = None) -> TokenPredictive:
        """Return the averaged probabilities; arguments and errors as the base."""
        each, sizes = self.several(cost, unit)
        stated = self._stated(cost, unit)
        labels = None
        if each.labels is not None:
            labels = pad_sequence(
                list(torch.split(each.labels, sizes.tolist())), batch_first=True, padding_value=IGNORED
            )
        return TokenPredictive(each=each, sizes=sizes, **{**stated, "labels": labels})
