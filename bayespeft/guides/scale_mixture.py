"""Scale mixture: Gaussian rows whose variances, and the weights of a mixture over them, are random themselves.

MonteCLoRA (Seth et al. 2025, arXiv 2411.04358). A row k of a factor is, in each draw,

    mean_k + s sum_j w_j sqrt(v_k) e_jk,    v_k = std_k^2 chi^2_r,    w = softmax(l),    e standard normal,

with r the number of rows: v is the diagonal of a Wishart matrix with r degrees of freedom, and l normal as the Laplace
approximation of a Dirichlet of concentrations alpha has it (Srivastava & Sutton 2017, arXiv 1703.01488). Given v and w a row is
normal with the variance s^2 v_k sum_j w_j^2, so that one e is enough for all j.

A draw's density with v and w integrated out is no formula. The KL is therefore that of the values, v and w together,

    KL = E ln q(values | v, w) - ln prior(values) + KL(Wishart) + KL(Dirichlet),

against v and w of std = 1 and of alpha = `concentration`. By the chain rule it is at least that of the values, and the
objective stays a bound on the evidence (Ranganath et al. 2016, arXiv 1511.02386). The first term is Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Dirichlet, Distribution, kl_divergence

from bayespeft.guides.base import Guide, GuideSpec, parameters_of
from bayespeft.guides.transformed import Transformed, log_density_of_normals
from bayespeft.layers.factors import StackedFactor

# The published code clips variances of rows, before the scale s, at this.
LEAST_VARIANCE = 1e-3


class ScaleMixtureGuide(Guide):
    """Normals with random scales over stacks (layers, rows, ...); a vector is a column of rows.

    Attributes:
        log_std: (layers, rows) ln std, by stack.
        log_alpha: (layers, components) ln alpha, by stack.
    """

    def __init__(self, stacks: Sequence[StackedFactor], spec: ScaleMixture, generator: torch.Generator) -> None:
        super().__init__(stacks)
        self._spec = spec
        self.loc = parameters_of(stacks)
        sizes = {stack.name: stack.init.shape[:2] for stack in stacks}
        self.log_std = nn.ParameterDict(
            {name: nn.Parameter(torch.rand(*size, generator=generator)) for name, size in sizes.items()}
        )
        self.log_alpha = nn.ParameterDict(
            {
                name: nn.Parameter(torch.rand(layers, spec.components, generator=generator))
                for name, (layers, _) in sizes.items()
            }
        )

    def q(self) -> dict[str, Distribution]:
        """Return the law of each stack, event shape (layers, ...); its density is that of values, scales and weights."""
        return {
            name: Transformed(partial(self._drawn, name), loc.shape, loc, self._width(name))
            for name, loc in self.loc.items()
        }

    def mean(self) -> dict[str, Tensor]:
        """Return the means (layers, ...)."""
        return dict(self.loc.items())

    @property
    def noise_size(self) -> int:
        """For each layer of a stack a normal a value, r^2 for the r variances, and one for each component's weight."""
        return sum(len(loc) * self._width(name) for name, loc in self.loc.items())

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return the values of each stack, (n, layers, ...), of noise (n, noise_size)."""
        parts = torch.split(noise, [len(loc) * self._width(name) for name, loc in self.loc.items()], dim=-1)
        return {
            name: self._drawn(name, part.reshape(len(noise), len(loc), -1))[0].reshape(-1, *loc.shape)
            for (name, loc), part in zip(self.loc.items(), parts, strict=True)
        }

    def spread(self) -> Iterable[nn.Parameter]:
        """Return ln std and ln alpha."""
        return [*self.log_std.values(), *self.log_alpha.values()]

    def variances(self, name: str, noise: Tensor) -> Tensor:
        """Return v (n, layers, rows) of normals (n, layers, rows, rows)."""
        std: Tensor = self.log_std[name].exp()
        drawn: Tensor = (std * noise.norm(dim=-1)).square()
        return drawn.clamp_min(LEAST_VARIANCE)

    def weights(self, name: str, noise: Tensor) -> Tensor:
        """Return w (n, layers, components) of normals of the same shape."""
        log_alpha: Tensor = self.log_alpha[name]
        inverse, count = (-log_alpha).exp(), self._spec.components
        variance = inverse * (1 - 2 / count) + inverse.sum(-1, keepdim=True) / count**2
        return (log_alpha + variance.sqrt() * noise).softmax(-1)

    def kl_of_scales(self, name: str) -> Tensor:
        """Return KL(Wishart) + KL(Dirichlet) of each layer, (layers,)."""
        log_std: Tensor = self.log_std[name]
        alpha: Tensor = self.log_alpha[name].exp()
        wishart = log_std.shape[1] / 2 * ((2 * log_std).expm1() - 2 * log_std).sum(-1)
        prior = Dirichlet(torch.full_like(alpha, self._spec.concentration))
        return wishart + kl_divergence(Dirichlet(alpha), prior)

    def _width(self, name: str) -> int:
        loc: Tensor = self.loc[name]
        return loc[0].numel() + loc.shape[1] ** 2 + self._spec.components

    def _drawn(self, name: str, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Values (n, layers, d) and ln q(values | v, w) + KL of v and w (n, layers) of noise (n, layers, width)."""
        loc = self.loc[name]
        layers, rows = loc.shape[:2]
        size = loc[0].numel()
        own, wishart, dirichlet = torch.split(noise, [size, rows**2, self._spec.components], dim=-1)
        variances = self.variances(name, wishart.reshape(-1, layers, rows, rows))
        shared = self.weights(name, dirichlet).square().sum(-1, keepdim=True)
        scale = self._spec.scale * (variances * shared).sqrt()
        values = loc.reshape(layers, rows, -1) + scale.unsqueeze(-1) * own.reshape(-1, layers, rows, size // rows)
        density = log_density_of_normals(own) - size / rows * scale.log().sum(-1)
        return values.flatten(2), density + self.kl_of_scales(name)


class ScaleMixture(GuideSpec):
    """Normals whose variances and mixture weights are random.

    Attributes:
        components: J of the mixture.
        scale: s, in the factor's unit.
        concentration: of each component under the Dirichlet prior.
    """

    closed_form: ClassVar[bool] = False
    symmetric: ClassVar[bool] = True
    components: int = Field(default=4, ge=2)
    scale: float = Field(default=3e-4, gt=0)
    concentration: float = Field(default=1.0, gt=0)

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> ScaleMixtureGuide:
        """Means start at the factors' initial values, ln std and ln alpha uniformly in [0, 1]."""
        return ScaleMixtureGuide(stacks, self, generator)


GUIDE = ScaleMixture
