"""The outputs of a network that is linearised in its latents around their mean: N(f, J Sigma J^T)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.prediction.common_shape import CommonShape
from bayespeft.prediction.jacobian import Jacobian, jacobians
from bayespeft.predictive.average import refuse_broken
from bayespeft.variational.adapted import Adapted

# So many outputs are differentiated by their differences, at most.
FEW = 8


@dataclass(frozen=True, slots=True)
class OutputLaw:
    """Outputs ~ N(mean, covariance) of some examples.

    Attributes:
        mean: (rows, ..., K) float64, on the CPU.
        covariance: (rows, ..., K, K) float64, on the CPU.
        batch: the examples.
        passes: backward passes that this took.
    """

    mean: Tensor
    covariance: Tensor
    batch: Batch
    passes: int


def by_differences(adapted: Adapted) -> bool:
    """Return whether derivatives are taken of differences of outputs.

    Of many outputs one less is no gain, and an output layer's own derivatives are the shorter without.
    """
    return adapted.likelihood.by_differences and (adapted.classes or 1) <= FEW


def output_laws(
    adapted: Adapted, examples: Examples, batch_size: int, temperature: float, shape: CommonShape | None = None
) -> Iterator[OutputLaw]:
    """Yield the law of all examples' outputs, some examples at a time.

    The network must be frozen and in evaluation mode, its hooks switched on, and the posterior a Gaussian.

    Args:
        adapted: the network.
        examples: the data.
        batch_size: examples of a pass.
        temperature: divides the outputs.
        shape: of the covariances of logits (n, K), where one backward pass is to do; None: they are found whole.

    Raises:
        FitError: an output is not a number.
    """
    latent = adapted.joint_guide.latent
    assert isinstance(latent, GaussianGuide)

    def directions(logits: Tensor) -> Tensor:
        assert shape is not None
        return shape.directions(logits / temperature)

    if shape is None:
        found = jacobians(adapted, examples, batch_size, latent.separate, by_differences(adapted))
    else:
        found = jacobians(adapted, examples, batch_size, along=directions)
    parts: list[tuple[Tensor, Tensor]] = []
    passes = 0
    for local in found:
        passes += local.passes
        with torch.no_grad():
            mean = (local.logits.double() / temperature).cpu()
            covariance = _covariance(latent, local, shape) / temperature**2
        # This is checked beforehand, because a covariance that is not finite has no eigenvalues.
        broken = ~torch.isfinite(mean + covariance.sum(-1)).flatten(1).all(-1)
        refuse_broken(broken, local.batch.index.cpu())
        parts.append((mean, covariance))
        if local.ends:
            means, covariances = (torch.cat(some, 1) if some[1:] else some[0] for some in zip(*parts, strict=True))
            yield OutputLaw(means, covariances, local.batch, passes)
            parts.clear()
            passes = 0


def _covariance(latent: GaussianGuide, local: Jacobian, shape: CommonShape | None) -> Tensor:
    """Return the covariance (rows, ..., K, K) float64, on the CPU, of outputs whose Jacobian is known."""
    if shape is not None:
        assert local.along is not None
        return shape.sized(local.along, latent.output_covariance(local.by_stack).double().cpu().flatten())
    covariance = latent.output_covariance(local.by_position()).double().cpu()
    return covariance.reshape(*local.logits.shape, local.logits.shape[-1])
