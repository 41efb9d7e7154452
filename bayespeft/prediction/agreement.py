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


def linearised_as_near(
    predictor: Predictor, examples: Examples, draws: int, seed: int, batch_size: int, keep_draws: bool = False
) -> Prediction | None:
    """Return a linearised prediction of these examples that is at once cheaper than draws, and as near to the truth.

    The first of these that is: with covariances of one shape, one backward pass; with each example's own. None: neither is.

    Args:
        predictor: of a posterior.
        examples: to be predicted.
        draws: that would be taken instead.
        seed: of the draws of the rows that are looked at, and of logits.
        batch_size: examples per pass.
        keep_draws: also return what each draw of the logits says.
    """
    adapted, whole = predictor.adapted, predictor.backward_passes
    if not isinstance(adapted.joint_guide.latent, GaussianGuide) or not adapted.likelihood.linearises:
        return None
    look = ROWS * (DRAWS + 1 + BACKWARD * (1 + whole))
    # Two classes have one difference, and words of a text have covariances that nobody has asked to be alike.
    shaped = adapted.likelihood.by_differences and not adapted.likelihood.token_labels and whole > 1
    worthwhile = [
        passes
        for passes in ((1, whole) if shaped else (whole,))
        if len(examples) * (draws - 1 - BACKWARD * passes) > look
    ]
    rows = torch.linspace(0, len(examples) - 1, 2 * ROWS).round().long()
    # A shape is that of other rows than those that judge it.
    some, others = (examples.subset(rows[half::2]) if worthwhile else None for half in range(2))
    if some is None or others is None:  # somebody's loader: its rows come as they come
        return None
    drawn = predictor.run(some, DRAWS, seed, batch_size=batch_size, keep_draws=True, sampling="antithetic")
    for passes in worthwhile:
        shape = predictor.common_shape(others, seed, batch_size) if passes < whole else None
        compared = _compared(predictor.linearised(some, seed, batch_size, keep_draws=True, shape=shape), drawn)
        if compared and all(as_near(said, each, draws) for said, each in compared):
            return predictor.linearised(examples, seed, batch_size, keep_draws, shape=shape)
    return None


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
