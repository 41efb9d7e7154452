"""What a law says by itself, whatever likelihood it is of: probabilities of finitely many classes, or else a mixture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.predictive.average import ALONE, Average, Cost, Groups, Rows
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import CategoricalAverage, Predictive
from bayespeft.predictive.mixture import Law, MixtureAverage, MixturePredictive


def classes_of(law: Distribution) -> Tensor | None:
    """Return log-probabilities (..., K) of a law's labels 0 ... K - 1; None where these are not all the labels there are."""
    if not law.has_enumerate_support or law.event_shape:
        return None
    values = law.enumerate_support(expand=False)
    numbers = torch.arange(len(values), device=values.device)
    if not torch.equal(values.reshape(len(values)).to(numbers), numbers):
        return None
    return law.log_prob(values).movedim(0, -1)


def prediction_type(law: Distribution) -> type[Prediction]:
    """Return what an average of such laws is."""
    return MixturePredictive if classes_of(law) is None else Predictive


class LawAverage(Average):
    """Averages whatever laws a likelihood's `distribution` makes: classes as classes, all others as mixtures.

    Args:
        n: examples.
        keep: keep what each draw says.
        law: what outputs (m, ...) say of m labels.
    """

    def __init__(self, n: int, keep: bool, law: Law) -> None:
        super().__init__(n, keep)
        self._law = law
        self._own: Average | None = None

    def begin(self, draws: int, groups: Groups = ALONE) -> None:
        """As the base."""
        super().begin(draws, groups)
        if self._own is not None:
            self._own.begin(draws, groups)

    def add(self, outputs: Tensor, rows: Rows, first: int) -> None:
        """Add outputs (draws, rows, ...); arguments as the base."""
        if self._own is None:
            self._own = self._made(outputs[0])
            self._own.begin(self._begun[-1], self._groups)
        self._own.add(outputs, rows, first)
        self.labels = self._own.labels

    def _made(self, outputs: Tensor) -> Average:
        if classes_of(self._law(outputs)) is None:
            return MixtureAverage(self._n, self._keep, self._law)
        return CategoricalAverage(self._n, self._keep, logits_by(self._law))

    def nll_error(self, unit: int | None) -> float | None:
        """As the base."""
        return None if self._own is None else self._own.nll_error(unit)

    def result(self, cost: Cost, unit: int | None = None) -> Prediction:
        """As the base."""
        assert self._own is not None
        return self._own.result(cost, unit)


def logits_by(law: Law) -> Callable[[Tensor], Tensor]:
    """Return the function from outputs (draws, rows, ...) to log-probabilities (draws, rows, K) of a law's classes."""

    def logits(outputs: Tensor) -> Tensor:
        found = classes_of(law(outputs.flatten(0, 1)))
        assert found is not None
        return found.reshape(*outputs.shape[:2], -1)

    return logits


def fisher_root(law: Law, outputs: Tensor, by_output: Tensor) -> Tensor | None:
    """Multiply by a root of the Fisher information of a law of classes by its outputs: sqrt(p(y)) d log p(y), for each label y.

    Args:
        law: what outputs say.
        outputs: (n, ...).
        by_output: (n, ..., further axes), derivatives of the outputs.

    Returns:
        (n, K, further axes); None where the law is over no finite number of classes.
    """
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        log_probs = classes_of(law(leaf))
        if log_probs is None:
            return None
        columns = log_probs.unbind(-1)
        scores = [
            torch.autograd.grad(column.sum(), leaf, retain_graph=k + 1 < len(columns))[0]
            for k, column in enumerate(columns)
        ]
    weighted = torch.stack(scores, 1) * log_probs.detach().exp().sqrt().reshape(
        *log_probs.shape, *[1] * (outputs.dim() - 1)
    )
    flat = by_output.flatten(1, outputs.dim() - 1)
    return torch.einsum("ncm,nm...->nc...", weighted.flatten(2).to(flat), flat)
