"""Derivatives of outputs by leaves that each row has for itself: a backward pass for each output, or for several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Outputs that one backward pass differentiates: a pass of a small network costs what starting it costs, so that several at once
# cost no more; of a large one, of more than half of `SMALL` numbers, it is the arithmetic, and only the memory would grow.
AT_ONCE, SMALL = 64, 4_000_000
# Numbers of the vectors that choose these outputs.
CHOICES = 1 << 22


def outputs_at_once(model: nn.Module) -> int:
    """Return how many outputs of a network one backward pass is to differentiate, at least 0."""
    return min(AT_ONCE, SMALL // max(sum(value.numel() for value in model.parameters()), 1))


def derivatives(
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
