"""The units of targets, for likelihoods of quantities: found on training rows before a fit."""

from __future__ import annotations

from itertools import islice

import torch
from torch import nn

from bayespeft.adapters.attach import mode
from bayespeft.data.examples import Examples
from bayespeft.errors import DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.regression import Regression
from bayespeft.utils.warned import warn

# The network is run on at most ROWS training rows, BATCH at a time.
ROWS, BATCH = 512, 32
# A network whose mean squared error is below this part of the targets' variance predicts in their units already.
KNOWN = 0.9
# Between these, squares of targets and their gradients have room in single precision. The standard deviation must be at least
# such a part of the largest target, or rounding would eat its digits.
SMALLEST, LARGEST, DIGITS = 1e-15, 1e15, 1e-5
# Targets whose standard deviations differ by more than this factor are not measured by one noise.
UNLIKE = 5.0


def in_units_of(
    likelihood: Likelihood, model: nn.Module, examples: Examples, device: torch.device, seed: int, fresh: bool
) -> Likelihood:
    """Return a regression in the units of its training targets; any other likelihood as it is.

    Args:
        likelihood: resolved.
        model: the network, without hooks.
        examples: the training data.
        device: where the network is.
        seed: of the choice of rows that the network is run on.
        fresh: its head is random, so that what it says means nothing.

    A warning says that targets are of very different sizes.

    Raises:
        DataError: labels are none that the likelihood knows, or of a size with which single precision can't compute.
    """
    if not isinstance(likelihood, Regression) or (likelihood.spread is not None and likelihood.center):
        return likelihood
    outputs, labels, found = [], [], examples.labels()
    with torch.no_grad(), mode(model):
        for batch in islice(examples.batches(BATCH, shuffle=torch.Generator().manual_seed(seed)), ROWS // BATCH):
            if batch.labels is None:
                return likelihood
            outputs.append(likelihood.logits(model, batch.to(device)).double().cpu())
            likelihood.check_labels(batch.labels if found is None else found, outputs[-1].shape[1])
            labels.append(likelihood.observed(batch.labels.cpu()).double())
    said, true = torch.cat(outputs), torch.cat(labels)
    targets = true if found is None else likelihood.observed(found.cpu()).double()
    center = targets.mean(0)
    off = (true - center).square().sum()
    known = not fresh and bool((true - said).square().sum() < KNOWN * off)
    spread = float((targets - center).square().mean().sqrt())
    size = float(targets.abs().max())
    if not (SMALLEST < size < LARGEST or size == 0) or 0 < spread < size * DIGITS:
        raise DataError(
            f"labels are as large as {size:.3g}, with a standard deviation of {spread:.3g}, and float32 can't compute with "
            "that: subtract a constant from them, and choose other units."
        )
    each = (targets - center).square().mean(0).sqrt()
    if bool((each < each.max() / UNLIKE).any()):
        warn(
            f"the targets have standard deviations from {float(each.min()):.3g} to {float(each.max()):.3g}, and one noise is "
            "for all of them: little is learned of the small ones, and their spread is overstated. Divide each column by its "
            "standard deviation first, and leave out those that are constant.",
        )
    return likelihood.replace(
        standardise=not known if likelihood.standardise is None else likelihood.standardise,
        center=likelihood.center or tuple(center.tolist()),
        spread=likelihood.spread or (spread if spread > 0 else 1.0),
    )
