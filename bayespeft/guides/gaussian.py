"""What Gaussian guides share: a mean for each stack, a family around it, and noise in one fixed order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft import gaussians
from bayespeft.gaussians import PackedGaussian
from bayespeft.gaussians.outer import StackJacobian
from bayespeft.guides.base import Guide, GuideSpec, Noise, parameters_of
from bayespeft.layers.factors import StackedFactor

# A trained number takes so many bytes: itself in float32, its gradient, and Adam's two moments.
BYTES = 4 * 4


class GaussianGuide(Guide):
    """A Gaussian for each stack, stacks independent.

    Noise goes stack by stack, layer by layer: the vector of all standard normals of one draw has one order everywhere.

    Attributes:
        loc: the means, by stack: (layers, ...).
        separate: what belongs to different stacks is independent. False: S is one for all stacks, and stacks have families of
            their own at best.
    """

    separate: ClassVar[bool] = True

    def __init__(self, stacks: Sequence[StackedFactor]) -> None:
        super().__init__(stacks)
        self.loc = parameters_of(stacks)

    @abstractmethod
    def family(self, name: str) -> PackedGaussian:
        """Return the distribution of a stack, as the parameters are now."""

    def q(self) -> dict[str, Distribution]:
        """Return the Gaussian of each stack, event shape (layers, ...)."""
        return {name: self.family(name) for name in self.loc}

    def mean(self) -> dict[str, Tensor]:
        """Return the means (layers, ...)."""
        return dict(self.loc.items())

    def std(self) -> dict[str, Tensor]:
        """Return the standard deviations of the single elements (layers, ...)."""
        return {name: self.family(name).stddev for name in self.loc}

    @property
    def noise_size(self) -> int:
        """Sum over stacks of layers times width."""
        return sum(len(loc) * self.family(name).width for name, loc in self.loc.items())

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return mean + S noise: (n, layers, ...)."""
        return {name: self.loc[name] + deviation for name, deviation in self.sqrt_matvec(noise).items()}

    def sqrt_matvec(self, noise: Tensor) -> dict[str, Tensor]:
        """Return deviations from the mean, S noise.

        Args:
            noise: (..., noise_size).

        Returns:
            (..., layers, *shape) of each stack, by name.
        """
        families = {name: self.family(name) for name in self.loc}
        sizes = [len(family.loc) * family.width for family in families.values()]
        parts = torch.split(noise, sizes, dim=-1)
        return {
            name: family.sqrt_matvec(part.reshape(*part.shape[:-1], len(family.loc), family.width))
            for (name, family), part in zip(families.items(), parts, strict=True)
        }

    def sqrt_rmatvec(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return S^T g, in the order of the noise: the adjoint of `sqrt_matvec`.

        Args:
            gradients: (..., layers, *shape) of every stack, by name.

        Returns:
            (..., noise_size).
        """
        return torch.cat([self.family(name).sqrt_rmatvec(gradients[name]).flatten(-2) for name in self.loc], dim=-1)

    def output_covariance(self, jacobians: Mapping[str, StackJacobian]) -> Tensor:
        """Return J Sigma J^T, the covariance of C outputs that are linear in the stacks: (rows, C, C).

        Args:
            jacobians: J of every stack, by name: (rows, C, layers, *shape), or its factors where stacks are separate.
        """
        if self.separate:
            parts = [self.family(name).output_covariance(jacobians[name]) for name in self.loc]
            return sum(parts[1:], parts[0])
        dense = {name: own for name, own in jacobians.items() if isinstance(own, Tensor)}
        root = self.sqrt_rmatvec(dense)
        return root @ root.mT

    def kl_by_layer(self, name: str, prior: Distribution) -> Tensor:
        """Return KL(q || prior) of each layer of a stack in nats: (layers,).

        Raises:
            NotImplementedError: the prior is no independent normal.
        """
        return gaussians.kl_by_layer(self.family(name), prior)

    def spread(self) -> Iterable[nn.Parameter]:
        """Return every parameter but the means."""
        means = {id(loc) for loc in self.loc.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in means]


class GaussianSpec(GuideSpec):
    """What the settings of Gaussian guides share.

    Attributes:
        init_std: standard deviations start uniformly between these two in the unconstrained parameter.
    """

    noise: Noise = "example"
    init_std: tuple[float, float] = (0.01, 0.01)

    @model_validator(mode="after")
    def _check_std(self) -> GaussianSpec:
        low, high = self.init_std
        if not 0 < low <= high:
            raise ValueError("init_std must be (low, high) with 0 < low <= high")
        return self

    def log_std(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw initial values of ln std."""
        low, high = torch.tensor(self.init_std).log().tolist()
        return torch.empty(*shape).uniform_(low, high, generator=generator)


def scale_tril(raw: Tensor) -> Tensor:
    """Return lower-triangular factors diag(s) (I + N) of unconstrained matrices (layers, n, n).

    The diagonal of `raw` is ln s, what is below it is N, what is above is not used. Rows are in units of their s, so that
    a step of the optimiser on N changes correlations, however small the standard deviations are.
    """
    identity = torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)
    return raw.diagonal(dim1=-2, dim2=-1).exp().unsqueeze(-1) * (raw.tril(-1) + identity)
