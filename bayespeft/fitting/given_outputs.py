"""What a network gives before anything is on it: the same for the same input, and logits where these are wanted."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.multi_label import MultiLabel
from bayespeft.utils.warned import warn

# Parts of the largest output: two passes over one input differ by less, in single precision and in half.
SAME, SAME_IN_HALF = 1e-3, 0.1
# Probabilities of a row sum to 1 up to this, in single precision and in half.
SUM, SUM_IN_HALF = 1e-4, 0.02
# No network that learned from logits has larger ones: e^-100 is the probability of no mistake.
CERTAIN = 100.0


def check_given_outputs(model: nn.Module, likelihood: Likelihood, batch: Batch) -> None:
    """Check that a network's outputs can be what a likelihood takes them for; a warning tells of logits that are far too large.

    Args:
        model: the network in evaluation mode, without adapters.
        likelihood: what its outputs mean.
        batch: a few rows, on the network's device.

    Raises:
        AttachError: the outputs differ from pass to pass, or are probabilities where logits are wanted.
    """
    with torch.no_grad():
        outputs, again = (likelihood.logits(model, batch).double() for _ in range(2))
    exact = all(parameter.dtype in (torch.float32, torch.float64) for parameter in model.parameters())
    least = (SAME if exact else SAME_IN_HALF) * float(outputs.abs().max())
    if bool((outputs - again).abs().max() > least):
        raise AttachError(
            f"{type(model).__name__} gives other outputs for the same input each time, in evaluation mode, too: it draws "
            "random numbers in its forward (dropout without training=self.training, say, or noise), which can't be told from "
            "draws of the weights. Let it draw them only where self.training is true."
        )
    _warn_of_size(model, likelihood, outputs, batch)
    last = list(model.modules())[-1]
    if isinstance(likelihood, Categorical) and _sum_to_one(outputs, SUM if exact else SUM_IN_HALF):
        what, end = "probabilities of each row, which sum to 1", "softmax"
    elif (
        isinstance(likelihood, MultiLabel)
        and isinstance(last, nn.Sigmoid)
        and bool(((outputs >= 0) & (outputs <= 1)).all())
    ):
        what, end = "probabilities", "sigmoid"
    else:
        return
    raise AttachError(
        f"{type(model).__name__} gives {what}, and likelihood '{likelihood.kind}' takes outputs for logits: take the "
        f"{end} at its end off."
    )


def _warn_of_size(model: nn.Module, likelihood: Likelihood, logits: Tensor, batch: Batch) -> None:
    """Warn of features that a network takes as they are and that make it as good as certain before it has learned anything."""
    x, size = batch.inputs, float(logits.abs().max())
    if (
        isinstance(x, Tensor)
        and x.is_floating_point()
        and size > CERTAIN
        and isinstance(likelihood, (Categorical, MultiLabel))
    ):
        warn(
            f"{type(model).__name__} gives logits as large as {size:.3g} before it is fitted, of inputs as large as "
            f"{float(x.abs().max()):.3g}, so that each prediction is certain and gradients say nothing: give each feature a "
            "mean of about 0 and a standard deviation of about 1, by those of the training rows.",
        )


def _sum_to_one(outputs: Tensor, tolerance: float) -> bool:
    """Whether rows (..., K) of at least two numbers are probabilities."""
    sums = outputs.sum(-1)
    return outputs.shape[-1] > 1 and bool((outputs >= 0).all() and ((sums - 1).abs() <= tolerance).all())
