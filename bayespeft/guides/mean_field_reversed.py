"""Mean field under KL(p || q), a mistake in the official code of ScalaBL (arXiv 2506.21408), kept to reproduce its results.

A second one comes with it: the prior's buffers share their memory with the initial standard deviations u, so that the prior
N(m, sp^2) is executed as N(m + u, (sp + u)^2), element by element (SRI-CSL/BayesAdapt, bayesadapt/lorawrappers/scalabl.py).

What training then minimises, E_q[NLL] + KL(p || q) / N, is no ELBO, no bound on the evidence. For q = N(0.8, 0.03^2) and
p = N(0, 1) the term is 907.1 nats where KL(q || p) is 3.33: it punishes a q that is narrower than the prior, however well the
data supports it. The KL that history and summary report is KL(q || p). Use `mean_field` for anything but a reproduction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from bayespeft import gaussians
from bayespeft.errors import GuideError
from bayespeft.gaussians import Diagonal
from bayespeft.guides.mean_field import MeanField, MeanFieldGuide
from bayespeft.layers.factors import StackedFactor


class ReversedDiagonal(Diagonal):
    """N(loc, diag(std^2)) whose "KL to the prior" is KL(prior || itself), the prior being moved.

    Args:
        loc: means (layers, *shape).
        std: standard deviations (layers, *shape), positive.
        moved: u (layers, *shape), added to the prior's mean and to its standard deviation.
    """

    def __init__(self, loc: Tensor, std: Tensor, moved: Tensor) -> None:
        self.moved = moved
        super().__init__(loc, std)

    def kl_by_layer(self, loc: Tensor, scale: Tensor) -> Tensor:
        """Return KL(prior || q) = sum ln(w / sp) + (sp^2 + (M - m)^2) / (2 w^2) - 1/2 of each layer; arguments as the base."""
        loc, scale = loc + self.moved, scale + self.moved
        squares = (scale.square() + (self.loc - loc).square()) / self.marginal_variance
        return self._flat(self.log_scale - torch.log(scale) + 0.5 * squares - 0.5).sum(-1)

    def kl_by_layer_to(self, p: Distribution) -> Tensor:
        """Refuse: the reversed KL has a formula for normal priors only, and a Monte Carlo one would be KL(q || p)."""
        raise GuideError(
            f"guide 'mean_field_reversed' trains by KL(prior || q), which has a formula for normal priors only, not for "
            f"{type(p).__name__}. Use guide 'mean_field'."
        )


class MeanFieldReversedGuide(MeanFieldGuide):
    """Independent normals over stacks, with the wrong KL."""

    def __init__(self, stacks: Sequence[StackedFactor], spec: MeanField, generator: torch.Generator) -> None:
        super().__init__(stacks, spec, generator)
        for stack in stacks:
            self.register_buffer(f"moved_{stack.name}", super().family(stack.name).std.detach().clone())

    def family(self, name: str) -> ReversedDiagonal:
        """Normal(mean, std) of a stack."""
        own = super().family(name)
        return ReversedDiagonal(own.loc, own.std, self.get_buffer(f"moved_{name}"))

    def kl_by_layer(self, name: str, prior: Distribution) -> Tensor:
        """Return KL(q || prior) of each layer, which is what is reported; training takes that of `family`."""
        return gaussians.kl_by_layer(super().family(name), prior)


class MeanFieldReversed(MeanField):
    """Independent normals under KL(p || q); settings as `mean_field`."""

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> MeanFieldReversedGuide:
        """Means start at the factors' initial values."""
        return MeanFieldReversedGuide(stacks, self, generator)


GUIDE = MeanFieldReversed
