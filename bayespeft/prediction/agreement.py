"""Whether a linearised prediction is as near to the posterior's as draws are, told by many draws of a few rows.

A draw moves the outputs little where the posterior is narrow, and then nearly linearly: one pass and the backward passes of its
derivatives say what any number of draws would. How far that is off is not known beforehand, so it is measured: the mean square
difference from `DRAWS` draws of some rows, less what these draws themselves are off by, is to be no more than the square of
the error that as many draws as asked for would have.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bayespeft.data.examples import Examples
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.prediction.predictor import Predictor
from bayespeft.predictive.base import Prediction
from bayespeft.predictive.categorical import Predictive
from bayespeft.predictive.normal import RegressionPredictive

# Rows that are looked at, and draws of each, in mirrored pairs: more than a user takes, so that they can be the judge.
ROWS, DRAWS = 32, 64
# A backward pass through a frozen network costs about what a forward pass does.
BACKWARD = 1.1


def linear_enough(predictor: Predictor, examples: Examples, draws: int, seed: int, batch_size: int) -> bool:
    """Say whether a linearised prediction of these examples is at once cheaper than draws, and as near to the truth.

    Args:
        predictor: of a posterior.
        examples: to be predicted.
        draws: that would be taken instead.
        seed: of the draws of the rows that are looked at.
        batch_size: examples per pass.
    """
    adapted = predictor.adapted
    linear_cost = 1 + BACKWARD * predictor.backward_passes
    saved = len(examples) * (draws - linear_cost) - ROWS * (DRAWS + linear_cost)
    if not isinstance(adapted.joint_guide.latent, GaussianGuide) or not adapted.likelihood.linearises or saved <= 0:
        return False
    some = examples.subset(torch.linspace(0, len(examples) - 1, ROWS).round().long())
    if some is None:  # somebody's loader: its rows come as they come
        return False
    linear = predictor.linearised(some, seed, batch_size)
    drawn = predictor.run(some, DRAWS, seed, batch_size=batch_size, keep_draws=True, sampling="antithetic")
    compared = _compared(linear, drawn)
    return bool(compared) and all(as_near(said, each, draws) for said, each in compared)


def as_near(linear: Tensor, drawn: Tensor, draws: int) -> bool:
    """Say whether a linearised prediction is as near to the mean of all draws as so many draws are.

    Args:
        linear: what it says, (rows, C).
        drawn: what each draw says, in mirrored pairs, (S, rows, C).
        draws: that would be taken instead.
    """
    pairs = (drawn[::2] + drawn[1::2]) / 2
    own = pairs.var(0) / len(pairs)
    bias = ((linear - pairs.mean(0)).square() - own).sum(-1)
    error = drawn.var(0).sum(-1) / draws
    # The rows are a sample: what they leave open counts against the linearised prediction.
    gap = bias - error
    return bool(gap.mean() + gap.std() / len(gap) ** 0.5 <= 0)


def _compared(linear: Prediction, drawn: Prediction) -> list[tuple[Tensor, Tensor]]:
    """Return what is averaged over draws, as the linearised prediction says it, (rows, C), and each draw, (S, rows, C).

    Of classes these are probabilities, of quantities the first two moments of f; of other predictions there are none.
    """
    if isinstance(linear, Predictive) and isinstance(drawn, Predictive) and drawn.draw_log_probs is not None:
        return [(linear.probs.double(), drawn.draw_log_probs.double().exp())]
    if (
        isinstance(linear, RegressionPredictive)
        and isinstance(drawn, RegressionPredictive)
        and drawn.draw_means is not None
    ):
        means, second = drawn.draw_means.double(), linear.mean.square() + linear.epistemic
        return [(linear.mean, means), (second, means.square())]
    return []
