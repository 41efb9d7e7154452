"""Jacobians of logits by latents, example by example.

Each example gets a copy of the mean as its own leaf, so one backward pass gives every example's gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.prediction.folding import fitting
from bayespeft.utils.memory import free_memory

if TYPE_CHECKING:
    from bayespeft.prediction.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Jacobian:
    """Logits of a batch at the posterior mean, and how they move with the random packs.

    Attributes:
        logits: (rows, K) float32.
        by_pack: pack -> d logits / d pack, (rows, K, layers, ...).
        batch: the rows, on the device.
        likelihood: what the logits say of the labels.
    """

    logits: Tensor
    by_pack: dict[str, Tensor]
    batch: Batch
    likelihood: Likelihood

    @property
    def labels(self) -> Tensor | None:
        """Labels of the rows, or None where the data has none."""
        return self.batch.labels

    def log_likelihood(self) -> Tensor:
        """Return log p(label | logits), (rows,) float64, nats.

        Raises:
            DataError: there are no labels, or they are none that the likelihood knows.
        """
        if self.labels is None:
            raise DataError("the curvature needs labels: column 'label', 'labels' or 'answer' is missing.")
        self.likelihood.check_labels(self.labels, self.logits.shape[-1])
        return self.likelihood.log_likelihood(self.logits, self.labels)

    def roots(self) -> dict[str, Tensor]:
        """Return K columns of a root of each example's Gauss-Newton matrix, (rows, K, layers, ...) by pack."""
        return {name: self.likelihood.curvature_root(self.logits, value) for name, value in self.by_pack.items()}


def jacobians(predictor: Predictor, examples: Examples, batch_size: int) -> Iterator[Jacobian]:
    """Differentiate the logits of all examples, batch by batch or, where that wouldn't fit into memory, in parts of one.

    A point that took hours to train must not be lost to them.
    """
    numbers = sum(value.numel() for value in predictor.approximation.latent.mean().values())
    # A copy of the numbers and its gradient; K rows of a Jacobian and of a root, both once more in double precision.
    bytes_each = torch.float32.itemsize * numbers * (2 + 6 * (predictor.classes or 1))
    for batch in examples.batches(batch_size):
        rows = fitting(len(batch), bytes_each, free_memory(predictor.device))
        yield from (jacobian(predictor, part) for part in batch.parts(rows))


def jacobian(predictor: Predictor, batch: Batch) -> Jacobian:
    """Differentiate the logits of a batch: one forward pass and K backward passes.

    The network must be frozen and in evaluation mode, and its hooks switched on.
    """
    moved = batch.to(predictor.device)
    approximation, rows = predictor.approximation, len(batch)
    with torch.enable_grad():
        leaves = {
            name: value.detach().expand(rows, *value.shape).clone().requires_grad_()
            for name, value in approximation.latent.mean().items()
        }
        predictor.attachment.bind(approximation.example_weights(leaves))
        logits = predictor.likelihood.logits(predictor.model, moved)
        classes = logits.shape[1]
        by_pack = {name: leaf.new_empty(rows, classes, *leaf.shape[1:]) for name, leaf in leaves.items()}
        for k, column in enumerate(logits.unbind(1)):
            # Zeros for a factor that this output does not depend on.
            gradients = torch.autograd.grad(
                column.sum(), list(leaves.values()), retain_graph=k + 1 < classes, materialize_grads=True
            )
            for name, gradient in zip(leaves, gradients, strict=True):
                by_pack[name][:, k] = gradient
    predictor.attachment.bind({})
    return Jacobian(logits.detach(), by_pack, moved, predictor.likelihood)
