"""What layers are given on training rows before a fit, for adapters that want to know: see `Adapter.measured`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import Placement, frozen, mode
from bayespeft.data.examples import Examples
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.watched import watching
from bayespeft.likelihoods.base import Likelihood

# At most ROWS training rows are looked at, BATCH at a time.
ROWS, BATCH = 512, 32


def measured(
    stacks: Sequence[StackedFactor],
    placements: Sequence[Placement],
    model: nn.Module,
    likelihood: Likelihood,
    examples: Examples,
    seed: int,
) -> list[StackedFactor]:
    """Return stacks whose initial values are what their adapters found in the layers' inputs.

    Args:
        stacks: at their start.
        placements: which adapter sits on which layer.
        model: the network, without hooks.
        likelihood: what is computed.
        examples: the training data.
        seed: of the choice of rows.
    """
    asking = {p.layer.name: p for p in placements if p.adapter.measures}
    if not asking:
        return list(stacks)
    inputs = _inputs({name: p.layer.module for name, p in asking.items()}, model, likelihood, examples, seed)
    found = {name: asking[name].adapter.measured(asking[name].layer, x) for name, x in inputs.items()}
    return [stack.starting_at(found) for stack in stacks]


def _inputs(
    modules: Mapping[str, nn.Module], model: nn.Module, likelihood: Likelihood, examples: Examples, seed: int
) -> dict[str, Tensor]:
    """Return the inputs (rows, n) of some layers at the positions that reach the outputs, float32 on the CPU."""
    device = next(model.parameters()).device
    found: dict[str, list[Tensor]] = {}
    # By random rows: without a shuffle the longest come first.
    batches = examples.batches(BATCH, shuffle=torch.Generator().manual_seed(seed))
    with torch.enable_grad(), frozen(model), mode(model), watching(modules) as seen:
        for batch in islice(batches, ROWS // BATCH):
            moved = batch.to(device)
            outputs, labelled = likelihood.logits(model, moved).float(), likelihood.labelled(moved)
            total = outputs.sum() if labelled is None else outputs[labelled].sum()
            for name, pairs in seen.items():
                for x, leaf in pairs:
                    (gradient,) = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)
                    if gradient is not None:
                        # A causal network's head runs at every token, and one of them is read.
                        used = gradient.flatten(0, -2).abs().sum(-1) > 0
                        found.setdefault(name, []).append(x.flatten(0, -2)[used].float().cpu())
                pairs.clear()
    stacked = {name: torch.cat(parts) for name, parts in found.items()}
    return {name: x for name, x in stacked.items() if len(x) > 1 and bool(torch.isfinite(x).all())}
