"""Jacobians of logits by latents, example by example.

Each example gets a copy of the mean as its own leaf, so one backward pass gives every example's gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.likelihoods.base import Likelihood
from bayespeft.prediction.folding import fitting
from bayespeft.utils.memory import free_memory
from bayespeft.variational.adapted import Adapted

# Outputs that one backward pass differentiates: a pass of a small network costs what starting it costs, so that several at once
# cost no more; of a large one, of more than half of `SMALL` numbers, it is the arithmetic, and only the memory would grow.
AT_ONCE, SMALL = 64, 4_000_000
# Numbers of the vectors that choose these outputs.
CHOICES = 1 << 22


@dataclass(frozen=True, slots=True)
class Jacobian:
    """Outputs of some rows at the posterior mean, and how they move with the random stacks.

    Attributes:
        logits: (rows, K) float32, or (rows, positions, K) of some of the positions of an example.
        by_stack: stack -> d logits / d stack, (rows, outputs, layers, ...), with all axes of an example's outputs as one.
        labels: of the rows (at these positions), on the device, or None where the data has none.
        batch: the rows, on the device.
        likelihood: what the logits say of the labels.
        ends: no further positions of these rows follow.
    """

    logits: Tensor
    by_stack: dict[str, Tensor]
    labels: Tensor | None
    batch: Batch
    likelihood: Likelihood
    ends: bool = True

    def log_likelihood(self) -> Tensor:
        """Return log p(label | logits), (rows,) float64, nats.

        Raises:
            DataError: there are no labels, or they are none that the likelihood knows.
        """
        if self.labels is None:
            raise missing_labels("the curvature")
        self.likelihood.check_labels(self.labels, self.logits.shape[-1])
        return self.likelihood.log_likelihood(self.logits, self.labels)

    def roots(self) -> dict[str, Tensor]:
        """Return C columns of a root of each example's Gauss-Newton matrix, (rows, C, layers, ...) by stack."""
        shape = self.logits.shape
        return {
            name: self.likelihood.curvature_root(self.logits, self.labels, value.reshape(*shape, *value.shape[2:]))
            for name, value in self.by_stack.items()
        }


def jacobians(adapted: Adapted, examples: Examples, batch_size: int) -> Iterator[Jacobian]:
    """Differentiate the outputs of all examples, batch by batch or, where that wouldn't fit into memory, in parts of one.

    A point that took hours to train must not be lost to them.
    """
    numbers = sum(value.numel() for value in adapted.joint_guide.latent.mean().values())
    # A copy of the numbers and its gradient; K rows of a Jacobian and of a root, both once more in double precision.
    bytes_each = torch.float32.itemsize * numbers * (2 + 6 * (adapted.classes or 1))
    for batch in examples.batches(batch_size):
        rows = fitting(len(batch), bytes_each, free_memory(adapted.device))
        for part in batch.parts(rows):
            yield from jacobian(adapted, part, bytes_each * len(part))


def jacobian(adapted: Adapted, batch: Batch, bytes_each: int) -> Iterator[Jacobian]:
    """Differentiate the outputs of a batch: one forward pass, and a backward pass for each output, or for several at once.

    The network must be frozen and in evaluation mode, and its hooks switched on.

    Args:
        adapted: the network.
        batch: examples.
        bytes_each: what K outputs of each take; where an example has K at each of several positions, the Jacobian comes for as
            many positions at a time as fit.
    """
    moved = batch.to(adapted.device)
    joint_guide, rows = adapted.joint_guide, len(batch)
    with torch.enable_grad():
        leaves = {
            name: value.detach().expand(rows, *value.shape).clone().requires_grad_()
            for name, value in joint_guide.latent.mean().items()
        }
        adapted.attachment.bind(joint_guide.example_weights(leaves))
        logits = adapted.likelihood.among(adapted.likelihood.logits(adapted.model, moved), moved)
    counted = adapted.likelihood.counted(moved)
    spread = logits.dim() > 2
    positions = logits.shape[1] if spread else 1
    step = fitting(positions, bytes_each, free_memory(adapted.device))
    at_once = min(AT_ONCE, SMALL // max(sum(value.numel() for value in adapted.model.parameters()), 1))
    for start in range(0, positions, step):
        some = slice(start, start + step)
        used = None if counted is None else counted[:, some].any(0).repeat_interleave(logits.shape[-1]).tolist()
        ends = start + step >= positions
        with torch.enable_grad():
            part = logits[:, some] if spread else logits
            by_stack = _by_stack(part.flatten(1), leaves, used, ends, at_once)
        labels = moved.labels[:, some] if spread and moved.labels is not None else moved.labels
        yield Jacobian(part.detach(), by_stack, labels, moved, adapted.likelihood, ends)
    adapted.attachment.bind({})


def _by_stack(
    outputs: Tensor, leaves: dict[str, Tensor], used: list[bool] | None, last: bool, at_once: int = 1
) -> dict[str, Tensor]:
    """Return the derivatives of outputs (rows, M) by the leaves, (rows, M, ...) by stack.

    Args:
        outputs: with their graph.
        leaves: stack -> (rows, ...).
        used: which of the M to differentiate; the others are 0. None: all.
        last: the graph is not needed any more.
        at_once: outputs that one backward pass differentiates, at most.
    """
    rows, count = outputs.shape
    make = outputs.new_empty if used is None else outputs.new_zeros
    by_stack = {name: make(rows, count, *leaf.shape[1:]) for name, leaf in leaves.items()}
    wanted = [k for k in range(count) if used is None or used[k]]
    at_once = min(at_once, CHOICES // outputs.numel())
    while wanted:
        some, wanted = wanted[: max(at_once, 1)], wanted[max(at_once, 1) :]
        options: dict[str, Any] = {"retain_graph": not last or bool(wanted) or at_once > 1, "allow_unused": True}
        try:
            if at_once > 1:
                choices = torch.zeros(len(some), 1, count, device=outputs.device, dtype=outputs.dtype)
                choices[range(len(some)), :, some] = 1
                options.update(grad_outputs=choices.expand(-1, rows, -1), is_grads_batched=True)
                gradients = torch.autograd.grad(outputs, list(leaves.values()), **options)
            else:
                gradients = torch.autograd.grad(outputs[:, some[0]].sum(), list(leaves.values()), **options)
        except RuntimeError:
            if at_once <= 1:
                raise
            # The network has an operation that knows of no several passes at once.
            at_once, wanted = 1, some + wanted
            continue
        for found, gradient in zip(by_stack.values(), gradients, strict=True):
            if gradient is None:  # these outputs do not depend on the factor
                found[:, some] = 0
            else:
                found[:, some] = gradient.movedim(0, 1) if at_once > 1 else gradient.unsqueeze(1)
    return by_stack
