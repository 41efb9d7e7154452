"""Target texts: log-probabilities of whole token sequences, averaged over draws in log space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from bayespeft.predictive.average import Average, Cost, Rows, refuse_broken
from bayespeft.predictive.base import FIGURES_ALONE, Details, Prediction
from bayespeft.report.language import LanguageReport
from bayespeft.utils.checks import checked_methods


class SequenceLaw(TorchDistribution):  # type: ignore[misc]
    """The law of n targets, of which one point each is known: the log-probability of the target that was observed.

    A network gives that number in one pass; the rest of the law is as large as the vocabulary to the power of the length.

    Args:
        log_p: (n,) log p(target), nats.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (torch's own convention)

    def __init__(self, log_p: Tensor) -> None:
        self._log_p = log_p
        super().__init__(batch_shape=log_p.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return (n,) log p(target); `value` (n,), the targets' token counts, stands for the observed targets."""
        return self._log_p.expand(value.shape)


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class LanguagePredictive(Prediction):
    """What the posterior says of n given targets.

    Attributes:
        labels: (n,) int64, scored tokens of each target.
        log_probs: (n,) float64, log of the mean over draws of p(target | source), nats.
        draw_log_likelihood: (draws, n) float32, log p(target | source) of each draw, nats; only where asked for.
    """

    shown: ClassVar[tuple[str, ...]] = ("log_probs",)

    log_probs: Tensor
    draw_log_likelihood: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def log_likelihood(self) -> Tensor:
        """(n,) `log_probs`, which are those of the labels."""
        return self.log_probs

    @property
    def tokens(self) -> Tensor:
        """(n,) int64, scored tokens of each target."""
        assert self.labels is not None
        return self.labels

    @property
    def nll_per_token(self) -> float:
        """NLL of all targets over their tokens, nats per token; its exponential is the perplexity."""
        return -float(self.log_probs.sum() / self.tokens.sum())

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> LanguageReport:
        """Return a report on texts; arguments as the base."""
        return LanguageReport.from_log_likelihood(
            self.log_likelihood.numpy(), self.tokens.numpy(), **self.cost, **facts
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return NLL by text and by token."""
        return {**super().validation_metrics(), "nll_per_token": self.nll_per_token}


class LanguageAverage(Average):
    """Averages probabilities of targets; arguments as `Average`, outputs are log p(target | source)."""

    def __init__(self, n: int, keep: bool = False) -> None:
        super().__init__(n, keep)
        self._log_sum = torch.full((n,), -math.inf, dtype=torch.float64)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add log-probabilities (draws, rows, 1); labels are token counts, other arguments as the base."""
        index, scores = rows.index, outputs[..., 0]
        self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(scores, 0))
        self._note(outputs, rows, first)
        self._score(scores, rows, first)

    def result(self, cost: Cost, unit: int | None = None) -> LanguagePredictive:
        """Return the averaged probabilities; arguments and errors as the base."""
        refuse_broken(~torch.isfinite(self._log_sum))
        return LanguagePredictive(
            log_probs=self._log_sum - math.log(self.draws),
            **self._stated(cost, unit),
            draw_log_likelihood=None if self.kept is None else self.kept[..., 0],
        )
