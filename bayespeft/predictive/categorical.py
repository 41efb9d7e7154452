"""Classes: probabilities of K classes, averaged over draws in log space."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from bayespeft.errors import ConfigError
from bayespeft.networks.tokens import IGNORED
from bayespeft.predictive.average import Average, Cost, Rows, refuse_broken
from bayespeft.predictive.base import FIGURES_ALONE, Details, Prediction, Temperature, Use
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.conformal import Conformal
from bayespeft.report.decision import Decision, decide
from bayespeft.report.metrics.proper import accuracy, nll
from bayespeft.report.ood import separate
from bayespeft.report.over_draws import of_prediction
from bayespeft.report.predictions import Predictor
from bayespeft.report.quotes import quoted
from bayespeft.utils.checks import checked_methods


@checked_methods
@dataclass(frozen=True, kw_only=True, repr=False)
class Predictive(Prediction):
    """Predictive distribution of n examples over K classes.

    Attributes:
        log_probs: (n, K) float64, log of the averaged probabilities.
        expected_entropy: (n,) mean entropy of the single draws, nats: the aleatoric part.
        labels: (n,) int64, or None where the data has none.
        draw_log_probs: (draws, n, K) float32, only where asked for.
        draws_each: (n,) int64, draws of each example, where some have fewer than `draws`; None: all have as many.
        information_bias: (n,) float64, nats: by how much so few draws make entropy - expected entropy too small on average, see
            `information_bias`. None where that can't be told: with one draw, or one independent group of draws, such as a
            single Sobol sequence. The difference is then a lower estimate.
    """

    uses: ClassVar[frozenset[Use]] = frozenset({"ood", "draws_error", "conformal", "decide", "compare"})
    shown: ClassVar[tuple[str, ...]] = ("probs", "entropy", "mutual_information")

    log_probs: Tensor
    expected_entropy: Tensor
    draw_log_probs: Tensor | None = None
    draws_each: Tensor | None = None
    information_bias: Tensor | None = None

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def log_likelihood(self) -> Tensor | None:
        """(n,) log of the averaged probability of the labels, nats; None without labels."""
        return None if self.labels is None else log_likelihood(self.log_probs, self.labels)

    @property
    def probs(self) -> Tensor:
        """(n, K) averaged probabilities."""
        return torch.exp(self.log_probs)

    @property
    def entropy(self) -> Tensor:
        """(n,) entropy of the averaged probabilities, nats: all the uncertainty."""
        return entropy(self.log_probs)

    @property
    def mutual_information(self) -> Tensor:
        """(n,) of label and weights, nats: the epistemic part, what more data could remove (Houlsby et al. 2011).

        entropy - expected entropy, which is exact for infinitely many draws, and of an ensemble for all its members, less its
        `information_bias`; a lower estimate where that is not known: see `information_is_low`. It is right on average: of a
        few draws, a row's own may lie above ln K.
        """
        bias = 0.0 if self.information_bias is None else self.information_bias
        return (self.entropy - self.expected_entropy).clamp_min(0) + bias

    @property
    def information_is_low(self) -> bool:
        """Whether `mutual_information` is too small on average by an amount that its draws don't tell."""
        return self.draws > 1 and self.information_bias is None

    def of_mean_logits(self) -> Predictive:
        """Return the prediction of the draws' mean logits, softmax(mean over draws of logits), in place of mean probabilities.

        So the code of BLoB's ensemble (Wang-ML-Lab/bayesian-peft) predicts, for comparisons with its figures: a normalised
        geometric mean of probabilities, which is no average over draws, and sharper than it where draws disagree.

        Raises:
            ConfigError: the draws were not kept.
        """
        if self.draw_log_probs is None:
            raise ConfigError("mean logits need what each draw says: predict with keep_draws=True.")
        log_probs = torch.log_softmax(self.draw_log_probs.double().mean(0), -1)
        making = self.making and replace(self.making, sampling=f"{self.making.sampling}, mean logits")
        return replace(self, log_probs=log_probs, nll_error=None, making=making)

    def report(self, details: Details = FIGURES_ALONE, **facts: Any) -> CalibrationReport:
        """Return a calibration report; arguments as the base. Other data must be predicted with as many draws and classes."""
        labels = self._labelled()
        if details.others:
            facts["ood"] = separate(self, details.others)
        if details.unit is not None:
            facts["over_draws"] = of_prediction(self, details.unit)
        if details.quotes:
            facts["quotes"] = quoted(self, details.rows, details.names, details.quotes)
        return CalibrationReport.from_log_probs(
            self.log_probs.numpy(),
            labels.numpy(),
            # One network, drawn or the mean, says nothing about how far networks differ.
            mutual_information=float(self.mutual_information.mean()) if self.draws > 1 else None,
            information_is_low=self.information_is_low,
            class_names=details.names,
            **self.cost,
            **facts,
        )

    def validation_metrics(self) -> dict[str, float]:
        """Return NLL and accuracy."""
        log_probs, labels = self.log_probs.numpy(), self._labelled().numpy()
        return {"nll": nll(log_probs, labels), "accuracy": accuracy(log_probs, labels)}

    def tempered_nll(self, temperature: Temperature) -> float:
        """As the base: -mean ln mean_draws softmax(logits / T)[label], of the draws' log-probabilities."""
        scaled = self.tempered_log_likelihood(temperature)
        return float(math.log(len(scaled)) - torch.logsumexp(scaled, 0).mean())

    def tempered_log_likelihood(self, temperature: Temperature) -> Tensor:
        """Return ln softmax(logits / T)[label] of each draw, nats, (draws, n); 0 where a label is `IGNORED`.

        Raises:
            ConfigError: there are no labels, or the draws were not kept.
        """
        if self.draw_log_probs is None or self.labels is None:
            raise ConfigError("a temperature needs labels, and what each draw says: predict with keep_draws=True.")
        return log_likelihood(torch.log_softmax(self.draw_log_probs.double() / temperature, -1), self.labels)

    def conformal(self, predictor: Predictor, *, alpha: float, **settings: Any) -> Conformal:
        """Return sets of classes; see `Conformal.fit`."""
        return Conformal.fit(self, predictor, alpha=alpha, **settings)

    def decide(self, validation: Any, *, risk: float, delta: float, **settings: Any) -> Decision:
        """Answer with the most probable class; see `bayespeft.report.decision.decide`."""
        return decide(self, self._alike(validation), risk=risk, delta=delta, **settings)


def entropy(log_probs: Tensor) -> Tensor:
    """Return -sum p log p over the last dimension, nats; 0 log 0 = 0."""
    probs = torch.exp(log_probs)
    result: Tensor = -torch.special.xlogy(probs, probs).sum(-1)
    return result


def log_likelihood(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Return the log-probabilities (..., n) of labels (n,) among log_probs (..., n, K); 0 for those that are `IGNORED`."""
    known = labels.expand(log_probs.shape[:-1])
    found = log_probs.gather(-1, known.clamp_min(0)[..., None])[..., 0]
    return found.masked_fill(known == IGNORED, 0.0)


def information_bias(probs: Tensor, squares: Tensor, units: int | Tensor, members: int | None = None) -> Tensor:
    """Return by how much the entropy of an average over few draws is too small on average, nats: (...).

    With p the average over u independent units, E[H(p)] = H(E p) - sum_k var(p_k) / (2 E p_k) + O(u^-2), the term that the
    jackknife removes, too (Efron & Stein 1981). var(p_k) is that of single units over u; of an ensemble, whose members are
    drawn without replacement, times 1 - u / members, so that nothing is missing where all are there.

    Args:
        probs: (..., K) averages.
        squares: (..., K) means over units of their squares.
        units: u, at least 2; or a tensor that broadcasts with these.
        members: how many there are at all, if they end.
    """
    variance = (squares - probs.square()).clamp_min(0) / (units - 1)
    if members is not None:
        variance = variance * (1 - units / members)
    return torch.where(probs > 0, variance / probs, 0.0).sum(-1) / 2


class CategoricalAverage(Average):
    """Averages softmax probabilities.

    Args:
        n: examples.
        keep: keep each draw's log-probabilities.
        logits: outputs (..., rows, ...) -> logits (..., rows, K), up to a constant; None: outputs are logits.
    """

    def __init__(self, n: int, keep: bool = False, logits: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(n, keep)
        self._logits = logits
        self._log_sum: Tensor | None = None
        self._entropy = torch.zeros(n, dtype=torch.float64)
        # `_squares` sums the squared mean probabilities of complete units; `_part` sums those of the unit that is not complete.
        self._squares = self._part = torch.empty(0)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, ...); arguments as the base."""
        log_probs = torch.log_softmax(outputs if self._logits is None else self._logits(outputs), -1)
        if self._log_sum is None:
            self._log_sum = torch.full((self._n, log_probs.shape[-1]), -math.inf, dtype=torch.float64)
            self._squares, self._part = torch.zeros_like(self._log_sum), torch.zeros_like(self._log_sum)
        index = rows.index
        self._log_sum[index] = torch.logaddexp(self._log_sum[index], torch.logsumexp(log_probs, 0))
        self._entropy[index] += entropy(log_probs).sum(0)
        self._add_squares(torch.exp(log_probs), index, first)
        self._note(log_probs, rows, first)
        if rows.labels is not None:
            self._score(log_likelihood(log_probs, rows.labels), rows, first)

    @property
    def broken(self) -> Tensor:
        """(n,) bool, where an output was not a number."""
        assert self._log_sum is not None
        return self._log_sum.isnan().any(-1)

    def _add_squares(self, probs: Tensor, index: Tensor, first: int) -> None:
        unit = self._groups.unit
        if unit == 1:
            self._squares[index] += probs.square().sum(0)
            return
        while len(probs):
            missing = unit - first % unit
            self._part[index] += probs[:missing].sum(0)
            first += len(probs[:missing])
            probs = probs[missing:]
            if first % unit == 0:
                self._squares[index] += (self._part[index] / unit).square()
                self._part[index] = 0.0

    def result(self, cost: Cost, unit: int | None = None) -> Predictive:
        """Return the averaged probabilities; arguments and errors as the base."""
        assert self._log_sum is not None
        refuse_broken(self.broken)
        known = cost.draws > 0 and (unit is not None or self._groups.members is not None)
        return Predictive(
            log_probs=self._log_sum - math.log(self.draws),
            expected_entropy=self._entropy / self.draws,
            **self._stated(cost, unit),
            draw_log_probs=self.kept,
            information_bias=self._bias() if known else None,
        )

    def _bias(self) -> Tensor | None:
        """`Predictive.information_bias`; None of a single unit, and where one is not complete."""
        assert self._log_sum is not None
        units, rest = divmod(self.draws, self._groups.unit)
        if units < 2 or rest:
            return None
        probs = torch.exp(self._log_sum - math.log(self.draws))
        return information_bias(probs, self._squares / units, units, self._groups.members)
