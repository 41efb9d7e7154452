"""A probe batch proves, before training, that every hook fires, that the adapters reach the output, and that examples
keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bayespeft.adapters.attach import Attachment, LayerWeights, mode
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.weights import Grouped, Shared, Weight
from bayespeft.likelihoods.base import Likelihood


def _weights(stacks: Sequence[StackedFactor], device: torch.device, shift: float, apart: bool) -> LayerWeights:
    """Random weights, latents moved by `shift` in a random direction: `apart`, for the second of two rows only."""
    generator = torch.Generator().manual_seed(0)
    layers: dict[str, dict[str, Weight]] = {}
    for stack in stacks:
        noise, direction = torch.randn(2, *stack.init.shape, generator=generator)
        # Whole numbers are positions, not quantities.
        value = (stack.init + 0.1 * noise if stack.init.is_floating_point() else stack.init).to(device)
        # The direction is random: inputs after a layer norm sum to zero, so that a constant would move nothing.
        moved = value + shift * direction.to(device)
        for layer, row in stack.rows.items():
            if stack.role == "latent":
                weight: Weight = Grouped(torch.stack([value[row], moved[row]]), rows=2) if apart else Shared(moved[row])
            else:
                weight = Shared(value[row])
            layers.setdefault(layer, {})[stack.factor] = weight
    return layers


def probe(
    model: torch.nn.Module,
    attachment: Attachment,
    stacks: Sequence[StackedFactor],
    likelihood: Likelihood,
    batch: Batch,
    apart: bool = True,
) -> int:
    """Run two rows with random factors and return K, the number of classes.

    The second row's latents then change: its output must follow, the first row's must not. A layer that is fed tokens
    first, or examples mixed, would give wrong draws without a word.

    Args:
        model: the network, with `attachment` switched on.
        attachment: the hooks.
        stacks: the factors.
        likelihood: what to compute.
        batch: on the device; only its first row is used.
        apart: whether examples will meet draws of their own, and must be kept apart.

    Raises:
        AttachError: a hook did not fire, the output does not depend on the adapters, or examples are mixed.
    """
    first = batch.inputs[:1] if isinstance(batch.inputs, Tensor) else {k: v[:1] for k, v in batch.inputs.items()}
    labels = None if batch.labels is None else batch.labels[:1]
    pair = replace(batch, inputs=first, labels=labels, index=batch.index[:1]).repeat(2)
    device = first.device if isinstance(first, Tensor) else next(iter(first.values())).device
    outputs = []
    with torch.no_grad(), mode(model), attachment.counting() as counts:
        for shift in (0.0, 1.0):
            attachment.bind(_weights(stacks, device, shift, apart))
            outputs.append(likelihood.logits(model, pair).double())
        attachment.bind({})
    silent = sorted(name for name, count in counts.items() if count == 0)
    if silent:
        raise AttachError(
            f"layer '{silent[0]}'{f' and {len(silent) - 1} more' if silent[1:] else ''} never ran as a module in a probe "
            "batch, so its adapter would do nothing (its weight is used directly, as in nn.MultiheadAttention, or it is "
            "not part of this forward pass). Leave it out of targets=."
        )
    if not torch.isfinite(outputs[0]).all():
        raise AttachError(
            f"the output of {type(model).__name__} is not finite for the first example; check the inputs, or run it in float32."
        )
    exact = next(model.parameters()).dtype == torch.float32
    _check_isolation(stacks, outputs[0], outputs[1], 1e-4 if exact else 0.05, apart)
    return int(outputs[0].shape[-1])


def _check_isolation(
    stacks: Sequence[StackedFactor], before: Tensor, after: Tensor, tolerance: float, apart: bool
) -> None:
    scale = before.abs().max().clamp_min(1e-6)
    if not any(stack.role == "latent" for stack in stacks):
        return
    if (after[1] - before[1]).abs().max() <= 1e-6 * scale:
        raise AttachError(
            "the network's output does not change with the adapters: the chosen layers don't reach it. Choose others "
            "with targets=."
        )
    if apart and (after[0] - before[0]).abs().max() > tolerance * scale:
        raise AttachError(
            "an adapted layer mixes examples: a change of the second example's draw moved the first example's output. "
            "Its input must have examples first (batch, ..., features), as with batch_first=True. Leave such layers out "
            "of targets=."
        )
