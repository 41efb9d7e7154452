"""What likelihoods of classes share: one of K classes per example, by the softmax of K logits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pyro.distributions as dist
import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.data.examples import Examples
from bayespeft.errors import DataError
from bayespeft.likelihoods import class_weight as by_class
from bayespeft.likelihoods.base import Likelihood
from bayespeft.predictive.categorical import CategoricalAverage, Predictive, log_likelihood
from bayespeft.utils.warned import warn

C = TypeVar("C", bound="Categorical")
Weight = Annotated[float, Field(ge=0)]


class Categorical(Likelihood):
    """Categorical over (n, K) logits; labels are (n,) integers in [0, K).

    Attributes:
        class_weight: what each row's log-likelihood is multiplied by in the objective, by its class: "balanced", weights by
            name or number (1 for those that are left out), or one for each class; see `bayespeft.likelihoods.class_weight`.
            Filled as one for each class; all 1 is None.
        class_counts: training rows of each class, where these are weighed and all were at hand.
        prior_corrected: predictions are divided by the weights of their classes: see `Posterior.with_prior_correction`.
    """

    tempers: ClassVar[bool] = True
    by_differences: ClassVar[bool] = True
    class_weight: Literal["balanced"] | dict[str | int, Weight] | tuple[Weight, ...] | None = None
    class_counts: tuple[Annotated[int, Field(ge=0)], ...] = ()
    prior_corrected: bool = False

    @field_validator("class_weight", mode="before")
    @classmethod
    def _as_numbers(cls, value: Any) -> Any:
        return by_class.as_numbers(value)

    @property
    def weights(self) -> tuple[float, ...] | None:
        """The weight of each class, in order; None where all rows count once, and before that is known."""
        return self.class_weight if isinstance(self.class_weight, tuple) else None

    @property
    def _called(self) -> tuple[str, ...]:
        """What the classes are called in messages, and by whoever weighs them."""
        return self.class_names

    def check_outputs(self, outputs: int) -> None:
        """Check that there is a weight for each class."""
        super().check_outputs(outputs)
        if self.weights is not None:
            by_class.check_length(self.weights, outputs)

    def with_class_weight(self: C, class_weight: by_class.ClassWeight) -> C:
        """Return this likelihood with rows weighed by their class."""
        return self.replace(class_weight=class_weight)

    def weighing(self: C, examples: Examples, classes: int) -> C:
        """Return this likelihood with the weight of each class, of training data that were checked."""
        if self.class_weight is None:
            return self
        counts = by_class.class_counts(examples, classes)
        by_name = bool(getattr(self, "named_by_labels", False))
        if not self.class_counts:
            by_class.check_numbering(self.class_weight, getattr(self, "data_names", ()), self._called)
        weights = by_class.weights_of(self.class_weight, self._called, counts, classes, by_name)
        if all(weight == 1 for weight in weights):
            return self.replace(class_weight=None, class_counts=(), prior_corrected=False)
        by_class.warn_of_count(weights, counts)
        return self.replace(class_weight=weights, class_counts=counts, prior_corrected=False)

    def row_weights(self, labels: Tensor) -> Tensor | None:
        """Return the weights of the classes."""
        return None if self.weights is None else by_class.row_weights(self.weights, labels)

    @property
    def objective(self) -> str:
        """What the weights mean."""
        return "" if self.weights is None else by_class.told(self.weights, self._called, self.class_counts)

    def _corrected(self, logits: Tensor) -> Tensor:
        """Return logits of the training data's own frequencies, where that is wanted."""
        if not self.prior_corrected or self.weights is None:
            return logits
        return logits + torch.tensor(by_class.shift(self.weights), dtype=logits.dtype, device=logits.device)

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the categorical law of (n,) labels."""
        return dist.Categorical(logits=logits)  # type: ignore[no-any-return]

    def class_log_probs(self, logits: Tensor) -> Tensor:
        """Return those of the softmax."""
        return torch.log_softmax(self._corrected(logits), -1)

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels are integers in [0, classes)."""
        if labels.is_floating_point() or labels.dim() != 1:
            raise DataError(
                f"labels must be one integer per example, got {labels.dtype} of shape {tuple(labels.shape)}: {_remedy(labels)}"
            )
        outside = torch.nonzero((labels < 0) | (labels >= classes)).flatten()
        if len(outside):
            # A negative number is no class of a larger network either.
            row = int(outside[labels[outside].argmin()] if bool((labels < 0).any()) else outside[0])
            raise DataError(
                f"row {row} has label {int(labels[row])}, but the network has {classes} outputs: labels must be in "
                f"0..{classes - 1}. {_outside(int(labels[row]), int(labels.max()), classes)}"
            )

    def advise(self, labels: Tensor, whole: bool) -> None:
        """Warn of rows that are all of one class: what tells it from the others is not learned."""
        if whole and len(labels) > 1 and bool((labels == labels[0]).all()):
            only = int(labels[0])
            warn(
                f"all {len(labels):,} training rows are of one class, {self._called[only] if self._called else only}, so that "
                "nothing is learned of what tells it from others. Where rows stand class by class, shuffle them before a part "
                "is taken.",
            )

    def expected_log_likelihood(self, mean: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
        """Return Jensen's bound m_y - ln sum_k exp(m_k + v_k / 2)."""
        return mean.gather(-1, labels.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(mean + variance / 2, -1)

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return log-probabilities of (n,) labels."""
        return log_likelihood(torch.log_softmax(logits.double(), -1), labels)

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Return `softmax_root`, of which labels are no part."""
        return softmax_root(logits, by_output)

    def curvature(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Return diag p - p p^T, (n, K, K)."""
        exact = torch.softmax(logits.double(), -1)
        probs = exact.to(logits)
        found: Tensor = probs.unsqueeze(-1) * -probs.unsqueeze(-2)
        # p (1 - p) of a p near 1 would have few digits left in float32.
        found.diagonal(dim1=-2, dim2=-1).copy_(exact * (1 - exact))
        return found

    def average(self, n: int, keep: bool) -> CategoricalAverage:
        """Average probabilities."""
        return CategoricalAverage(n, keep, self._corrected if self.prior_corrected else None)

    def prediction_type(self, classes: int) -> type[Predictive]:
        """Return `Predictive`."""
        return Predictive


def softmax_root(logits: Tensor, by_output: Tensor) -> Tensor:
    """Return sqrt(p_k) (J_k - sum_j p_j J_j) for each class k: a root of J^T (diag p - p p^T) J.

    Args:
        logits: (n, K).
        by_output: J, (n, K, ...).
    """
    probs = torch.softmax(logits, -1)
    p = probs.reshape(*probs.shape, *[1] * (by_output.dim() - 2)).to(by_output)
    root: Tensor = p.sqrt() * (by_output - (p * by_output).sum(1, keepdim=True))
    return root


def _outside(label: int, largest: int, classes: int) -> str:
    """Return what to do about a label that is none of the network's."""
    if classes == 1 and label == largest == 1:
        return (
            "Give the network two outputs (num_labels=2); or, if its one output is the logit of the class 1, pass "
            "likelihood='multi_label' and labels of shape (n, 1)."
        )
    if label < 0:
        return (
            f"{label} often marks rows that have no label (as -1 in test splits of GLUE, or -100, which transformers leaves "
            "out of its loss): leave these rows out, or, for prediction, the labels of all. Otherwise number them from 0."
        )
    return f"Load the network with num_labels={largest + 1}, or renumber the labels."


def _remedy(labels: Tensor) -> str:
    """Return what to do about labels that are not one integer for each example."""
    several, flags = labels.dim() > 1, bool(((labels == 0) | (labels == 1)).all())
    if several and flags and bool((labels.flatten(1).sum(1) == 1).all()):
        return "these are one-hot, so take the position of each row's 1 (labels.argmax(1))."
    if several and flags:
        return (
            "these say of each label whether it is right. Load the network with "
            "problem_type='multi_label_classification', or pass likelihood='multi_label'."
        )
    if not several and bool((labels == labels.round()).all()):
        return "number the classes 0, 1, ... as integers; or, if these are quantities, pass likelihood='regression'."
    return "number the classes 0, 1, ...; for labels that are quantities, pass likelihood='regression'."
