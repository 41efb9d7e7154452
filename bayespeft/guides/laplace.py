"""What Laplace approximations share: a Gaussian around a trained point, whose precision is the curvature there.

Precision H + tau I, with H = sum_n J_n^T L_n J_n, the generalised Gauss-Newton matrix (Schraudolph 2002, Neural
Computation 14(7)), J_n the Jacobian of the outputs of example n by the random stacks and L_n the Hessian of -log p(y_n) by
its outputs, which the likelihood gives: diag p - p p^T for classes, I / noise^2 for regression; prior N(theta0, I / tau)
with theta0 the stacks' centers. MacKay 1992, Neural Computation 4(3); Daxberger et al. 2021, arXiv 2106.14806.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bayespeft.errors import FitError
from bayespeft.gaussians.evidence import best_precision, log_evidence
from bayespeft.gaussians.outer import OuterCurvature
from bayespeft.guides.base import Derivative, GuideSpec, Trainer, Values
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.layers.factors import StackedFactor

# One element of a curvature matrix takes so many bytes: a float64 sum, its eigenvectors, the workspace of `eigh` (twice that),
# and the float32 that is kept.
BYTES = 8 + 8 + 16 + 4


class LaplaceGuide(GaussianGuide):
    """A Gaussian that is not trained: `fit` trains a point, or takes the given one, and measures the curvature there.

    Attributes:
        prior_precision: what `fit` is to do about tau, as in the settings.
        precision: tau, a scalar; before `fit` that of the isotropic normal that is closest to the stacks' priors.
        log_evidence: log marginal likelihood of the training data in nats, given the stacks that are points; not a number
            before `fit`.
    """

    precision: Tensor
    log_evidence: Tensor

    def __init__(self, stacks: Sequence[StackedFactor], spec: LaplaceSpec) -> None:
        super().__init__(stacks)
        self._kind, self.prior_precision = spec.kind, spec.prior_precision
        self.register_buffer("precision", torch.tensor(believed_precision(stacks)))
        self.register_buffer("log_evidence", torch.tensor(math.nan, dtype=torch.double))

    @abstractmethod
    def totals(self) -> Values:
        """Return zeros, float64, to add the curvature up in."""

    @abstractmethod
    def add(self, totals: Values, roots: Mapping[str, Tensor | OuterCurvature]) -> None:
        """Add a batch's curvature to the totals.

        Args:
            totals: as `totals` made them.
            roots: columns of a root of each example's H, by stack: (rows, K, layers, *shape); where stacks are separate, also
                the factors of a stack's own block.
        """

    @abstractmethod
    def keep(self, totals: Values) -> Tensor:
        """Keep H as this guide approximates it, and return its eigenvalues (P,)."""

    def fit(self, trainer: Trainer) -> Any:
        """Train the point (unless the problem starts from one), add up the curvature, choose the prior precision.

        Raises:
            DataError: there are no labels, or they are none that the likelihood knows.
            FitError: an output of the network, or a derivative of one, is not finite.
        """
        problem = trainer.problem
        values, history = trainer.point()
        problem.adopt(values)
        with torch.no_grad():
            for name, loc in self.loc.items():
                loc.copy_(values[name])
            totals, log_likelihood = self.totals(), 0.0
            for local in problem.jacobians(self.separate):
                log_likelihood += self._log_likelihood(local)
                self.add(totals, local.roots())
            if not all(bool(total.isfinite().all()) for total in totals.values()):
                raise FitError(
                    "the curvature of the training data is not finite at the point that the Laplace approximation is made "
                    "around: check the inputs and the start, or run the network in float32."
                )
            self._weigh(self.keep(totals), log_likelihood)
        trainer.part_noise(self, log_likelihood)
        return history

    @torch.no_grad()
    def rescale(self, factor: float, log_likelihood: float) -> None:
        """Become the approximation under another noise of quantities, whose inverse square multiplies the curvature.

        Args:
            factor: by which the curvature grows.
            log_likelihood: of all training data at the point, under that noise, nats.
        """
        curvatures = [buffer for name, buffer in self.named_buffers() if name.startswith("curvature")]
        for curvature in curvatures:
            curvature.mul_(factor)
        self._weigh(torch.cat([curvature.flatten() for curvature in curvatures]), log_likelihood)

    def _weigh(self, eigenvalues: Tensor, log_likelihood: float) -> None:
        """Choose the prior precision under curvature of these eigenvalues, (P,), and keep what the evidence then is."""
        distance = sum(
            float((self.loc[stack.name] - stack.center.to(self.precision)).double().square().sum())
            for stack in self.stacks
        )
        precision = self.prior_precision
        if precision == "marginal_likelihood":
            precision = best_precision(distance, eigenvalues, float(self.precision))
        self.precision.fill_(precision)
        self.log_evidence.fill_(log_evidence(log_likelihood, distance, eigenvalues, precision))

    def scale(self, curvature: Tensor) -> Tensor:
        """Return standard deviations (h + tau)^-1/2 along directions of curvature h."""
        return torch.rsqrt(curvature + self.precision)

    def _log_likelihood(self, local: Derivative) -> float:
        """Return the log likelihood of a batch in nats."""
        total = float(local.log_likelihood().sum())
        if not math.isfinite(total):
            raise FitError(
                "the log likelihood of the training data is not finite at the point that the Laplace approximation is made "
                "around: check the inputs and the start, or run the network in float32."
            )
        return total


class LaplaceSpec(GuideSpec):
    """What the settings of Laplace approximations share.

    Attributes:
        prior_precision: tau of the prior N(center, I / tau), one number for all of the guide's stacks, or
            "marginal_likelihood": the one under which the training data are the most probable. The point itself is
            trained under the method's priors.
    """

    variational: ClassVar[bool] = False
    curved: ClassVar[bool] = True
    # The Gauss-Newton matrix is the curvature of the linearised network (Immer et al. 2021, arXiv 2008.08400).
    prediction: ClassVar[Literal["sampled", "linearised"]] = "linearised"
    prior_precision: Annotated[float, Field(gt=0)] | Literal["marginal_likelihood"] = "marginal_likelihood"


def believed_precision(stacks: Sequence[StackedFactor]) -> float:
    """Return tau of the N(center, I / tau) with the least KL from the stacks' proper priors: 1 / mean variance; else 1."""
    variances = [p.prior.distribution(p.center).variance.flatten() for p in stacks if p.prior.proper]
    return float(1 / torch.cat(variances).mean()) if variances else 1.0
