"""Regression: the network's own output says the mean of one normal law per target, with one noise scale for all.

p(y | x) = prod over d of N(y_d; center_d + spread f_d(x), noise^2), with the means and the standard deviation of the training
targets, so that the same fit comes of targets in any units; where the network's own output f explains these targets already, it
is the mean as it is. For `AutoModelForSequenceClassification` networks with num_labels = d and for plain modules that map a
tensor to (n, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.data.batch import Batch
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.text import TextLikelihood
from bayespeft.predictive.average import Normals
from bayespeft.predictive.normal import NormalAverage, NormalGaussianAverage, RegressionPredictive, log_likelihood


class Regression(TextLikelihood):
    """Independent normals around means; labels are (n, d) numbers, or (n,) where d is 1.

    Attributes:
        noise: standard deviation of a target around its mean, in the targets' units, the same for every example and output: the
            ELBO weighs data against prior by it. None: `spread` until a fit has found the one under which rows are the most
            probable that were held out, or where none were, those of validation or of training; less what a Laplace
            approximation then spreads around the point, which is a part of the same error.
        standardise: whether outputs are in units of `spread` around `center`; None: unless the network that is handed over
            explains the training targets already. If so, whatever takes the network alone (`using`, an export) has outputs in
            these units.
        center: means of the d training targets; filled in by a fit.
        spread: standard deviation of the training targets around these, of all d together; filled in by a fit.
    """

    discrete: ClassVar[bool] = False
    outputs: ClassVar[str] = "means of shape (examples, targets)"
    columns: ClassVar[str] = "text, [text_pair], label (a number, or a list of numbers)"
    noise: float | None = Field(default=None, gt=0)
    standardise: bool | None = None
    center: tuple[float, ...] = ()
    spread: float | None = Field(default=None, gt=0)

    @property
    def sigma(self) -> float:
        """The standard deviation of a target around its mean, as far as it is known."""
        return self.noise or self.spread or 1.0

    def in_units_of(self, other: Likelihood) -> Regression:
        """Return this likelihood with outputs in the units of another one, from whose posterior a fit starts."""
        if not isinstance(other, Regression):
            return self
        return self.replace(standardise=bool(other.standardise), center=other.center, spread=other.spread)

    def check_outputs(self, outputs: int) -> None:
        """Check that the units are those of as many targets."""
        if self.center and len(self.center) != outputs:
            raise ConfigError(
                f"center has {len(self.center)} means: the network has {outputs} outputs, one for each target."
            )
        if self.standardise and self.spread is not None and not self.center:
            raise ConfigError("standardise=True with a spread, and without the center: give both, or neither.")

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the means (n, d)."""
        outputs = super().logits(model, batch)
        if not self.standardise or self.spread is None:
            return outputs
        return outputs * self.spread + torch.tensor(self.center, device=outputs.device)

    def label(self, label: Any, row: int) -> Any:
        """Return a number or a list of numbers as it is."""
        parts = label if isinstance(label, Sequence) and not isinstance(label, str) else [label]
        # Numbers of NumPy and torch are told by `item`, arrays of them by `shape`.
        if not all(isinstance(part, Real) or hasattr(part, "item") for part in parts):
            raise DataError(
                f"row {row}: column 'label' is {label!r}: regression needs a number, or one number per output of the network. "
                "Convert text to numbers first; for classes take likelihood='sequence_classification'."
            )
        return label

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the normal law of (n, d) labels around (n, d) means; event shape (d,)."""
        return dist.Normal(logits, self.sigma).to_event(1)  # type: ignore[no-any-return]

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that every example has as many labels as the network has outputs."""
        width = 1 if labels.dim() == 1 else int(labels.shape[-1])
        if labels.dim() > 2 or width != classes:
            raise DataError(
                f"labels (column 'label', 'labels' or y) have the shape {tuple(labels.shape)}, but the network has {classes} "
                f"output{'s' * (classes > 1)}: regression needs one number per example and output, ({len(labels)}, {classes}). "
                f"Load the network with num_labels={width}, or give a plain module as many outputs."
            )

    def observed(self, labels: Tensor) -> Tensor:
        """Return labels as float32 (n, d)."""
        return labels.reshape(len(labels), -1).float()

    def moments(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """As the base, in the targets' units."""
        mean, variance = super().logits(model, batch).chunk(2, -1)
        if not self.standardise or self.spread is None:
            return mean, variance
        return mean * self.spread + torch.tensor(self.center, device=mean.device), variance * self.spread**2

    def expected_log_likelihood(self, mean: Tensor, variance: Tensor, labels: Tensor) -> Tensor:
        """Return ln N(labels; mean, noise^2) - variance / (2 noise^2), summed over targets."""
        return log_likelihood(mean, self.sigma, labels) - variance.sum(-1) / (2 * self.sigma**2)

    def log_likelihood(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return joint log densities of the d targets."""
        return log_likelihood(logits.double(), self.sigma, self.observed(labels))

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Return J / noise: the Hessian is I / noise^2, wherever it is taken."""
        return by_output / self.sigma

    def average(self, n: int, keep: bool) -> NormalAverage:
        """Mix the normals of the draws."""
        return NormalAverage(n, keep, self.sigma)

    def gaussian_average(self, n: int, keep: bool, normals: Normals) -> NormalGaussianAverage:
        """Return the closed form; nothing is drawn, so nothing is kept."""
        return NormalGaussianAverage(n, self.sigma)

    def prediction_type(self, classes: int) -> type[RegressionPredictive]:
        """Return `RegressionPredictive`."""
        return RegressionPredictive


LIKELIHOOD = Regression
