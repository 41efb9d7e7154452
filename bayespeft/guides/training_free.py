"""Training-free: a Gaussian around a LoRA that is trained already, as wide as its training data lets it be.

TFB, Shi et al. 2024, arXiv 2412.05723. With the SVD B = U diag(d) V^T of each layer, B' = U diag(d) and A' = V^T A are the
same network, and std sigma_q / d_i on row i of A' is noise of std s sigma_q in the weight in every direction of U: one
number for all layers, the largest at which the NLL on the training data rises by no more than a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from bayespeft.data.columns import missing_labels
from bayespeft.errors import FitError
from bayespeft.gaussians import Diagonal
from bayespeft.guides.base import GuideSpec, Trainer, Values
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.layers.factors import Role, StackedFactor
from bayespeft.predictive.base import Prediction

# Singular values of B count as at least this part of the layer's largest: a direction that B does not use carries no noise
# into the weight, whatever its row of A does.
_SMALLEST = 1e-6
# Before the fit sigma_q is this.
_UNFITTED = 0.01


class TrainingFreeGuide(GaussianGuide):
    """N(A', (sigma / d)^2) over the rows of each layer's A'."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: TrainingFree) -> None:
        super().__init__(stacks)
        self.spec = spec
        self.register_buffer("sigma", torch.tensor(_UNFITTED))
        for stack in stacks:
            self.register_buffer(f"inverse_{stack.name}", torch.ones(stack.init.shape[:2]))

    def family(self, name: str) -> Diagonal:
        """N(A', (sigma / d)^2) of a stack."""
        inverse = self.get_buffer(f"inverse_{name}")
        loc = self.loc[name]
        shape = (*inverse.shape, *[1] * (loc.dim() - 2))
        return Diagonal(loc, (self.get_buffer("sigma") * inverse.reshape(shape)).expand(loc.shape))

    def fit(self, trainer: Trainer) -> Any:
        """Turn the factors of a point estimate, trained unless the problem starts from one, and search for sigma_q.

        Raises:
            FitError: even the smallest sigma_q raises the NLL by more than the tolerance.
        """
        problem = trainer.problem
        values, history = trainer.point()
        turned, inverse = turn(values, problem.stacks)
        problem.adopt(turned)

        def mean_nll(draws: int) -> float:
            found = problem.predict(draws, problem.seed)
            return nll(found, problem.row_weights(found))

        with torch.no_grad():
            for name, loc in self.loc.items():
                loc.copy_(turned[name])
                self.get_buffer(f"inverse_{name}").copy_(inverse[name])
            limit = (1 + self.spec.tolerance) * mean_nll(0)

            def accepted(sigma: float) -> bool:
                # The same draws for every sigma: the NLL is then a smooth function of it, without Monte Carlo noise.
                self.get_buffer("sigma").fill_(sigma)
                return mean_nll(self.spec.draws) <= limit

            sigma = largest(accepted, *self.spec.bracket, self.spec.halvings)
            self.get_buffer("sigma").fill_(sigma)
        return history


def turn(values: Values, stacks: Sequence[StackedFactor]) -> tuple[Values, Values]:
    """Rotate the channels of every LoRA, B A = (B V)(V^T A), so that the columns of B V are orthogonal.

    Args:
        values: of all stacks, by name.
        stacks: which have factors "A" (layers, r, n) and "B" (layers, m, r).

    Returns:
        All values with A' = V^T A and B' = B V = U diag(d), and 1 / d (layers, r) by the name of A's stack. d is in
        descending order; values below 1e-6 of a layer's largest count as that, and in a layer where B is zero as 1.
    """
    places = {(layer, stack.factor): (stack.name, row) for stack in stacks for layer, row in stack.rows.items()}
    turned = {name: value.clone() for name, value in values.items()}
    inverse: Values = {}
    for stack in stacks:
        if stack.factor != "A":
            continue
        rows = []
        for layer, row in stack.rows.items():
            name, other = places[layer, "B"]
            a, b = (value.double() for value in (values[stack.name][row], values[name][other]))
            # R of B = Q R has B's singular values and V, and r rows and columns even where B has fewer rows than columns.
            square = torch.linalg.qr(torch.cat([b, b.new_zeros(len(a), len(a))])).R
            _, d, vt = torch.linalg.svd(square)
            turned[stack.name][row] = vt @ a
            turned[name][other] = b @ vt.T
            rows.append(1 / d.clamp_min(_SMALLEST * float(d[0])) if d[0] > 0 else torch.ones_like(d))
        inverse[stack.name] = torch.stack(rows).float()
    return turned, inverse


def nll(prediction: Prediction, weights: Tensor | None = None) -> float:
    """Return the mean negative log-likelihood of a prediction, nats per example.

    Args:
        prediction: of the training data.
        weights: (n,) that each row's is multiplied by; None: by 1.

    Raises:
        DataError: it has no labels.
    """
    if prediction.log_likelihood is None:
        raise missing_labels("the NLL that guide 'training_free' goes by")
    found = prediction.log_likelihood
    return -float((found if weights is None else found * weights).mean())


def largest(accepted: Callable[[float], bool], low: float, high: float, halvings: int) -> float:
    """Return the largest value that is accepted, found by bisection of its logarithm.

    It was itself tried and accepted, and is within a factor (high / low)^(2^-halvings) of one that was not, or is `high`.

    Raises:
        FitError: `low` is not accepted.
    """
    if accepted(high):
        return high
    if not accepted(low):
        raise FitError(
            f"even sigma_q={low} raises the NLL on the training data by more than the tolerance: raise tolerance=, or lower "
            "the first number of bracket=."
        )
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if accepted(middle) else (low, middle)
    return low


class TrainingFree(GuideSpec):
    """A Gaussian over LoRA's A with one scale, searched for.

    Attributes:
        tolerance: by how much the NLL on the training data may rise, relative to that of the mean.
        draws: of the posterior, averaged for one NLL.
        bracket: the smallest and the largest sigma_q that are tried; at the largest, the data did not limit it.
        halvings: steps of the bisection; the search costs `draws * (halvings + 2)` passes over the data at most.
    """

    variational: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    # A rise relative to the NLL means nothing for a density, whose NLL shifts with the targets' units.
    discrete: ClassVar[bool] = True
    needs: ClassVar[Mapping[str, Role]] = {"A": "latent", "B": "point"}
    tolerance: float = Field(default=0.003, gt=0)
    draws: int = Field(default=10, ge=1)
    bracket: tuple[float, float] = (1e-4, 1.0)
    halvings: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _check_bracket(self) -> TrainingFree:
        if not 0 < self.bracket[0] < self.bracket[1]:
            raise ValueError("bracket must be (low, high) with 0 < low < high")
        return self

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> TrainingFreeGuide:
        """Means start at the factors' initial values; `generator` is not used."""
        return TrainingFreeGuide(stacks, self)


GUIDE = TrainingFree
