"""What likelihoods of classes share: one of K classes per example, by the softmax of K logits."""

from __future__ import annotations

from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.predictive.categorical import CategoricalAverage, Predictive, log_likelihood


class Categorical(Likelihood):
    """Categorical over (n, K) logits; labels are (n,) integers in [0, K)."""

    tempers: ClassVar[bool] = True

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the categorical law of (n,) labels."""
        return dist.Categorical(logits=logits)  # type: ignore[no-any-return]

    def class_log_probs(self, logits: Tensor) -> Tensor:
        """Return those of the softmax."""
        return torch.log_softmax(logits, -1)

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
                f"0..{classes - 1}. {_outside(int(labels[row]), int(labels.max()))}"
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
        return CategoricalAverage(n, keep)

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


def _outside(label: int, largest: int) -> str:
    """Return what to do about a label that is none of the network's."""
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
