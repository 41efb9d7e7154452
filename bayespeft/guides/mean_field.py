"""Mean field: q(w) = N(mean, std^2), every element on its own.

With std = G^2 it is BLoB's family (Wang et al. 2024, arXiv 2406.11675, eq. 5): dKL/dG = -2/G + 2 G^3 / sp^2, stationary
at std = sp. With std = exp(g), a step of the optimiser changes std by a factor, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import pyro.distributions as dist
import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.factors import Pack
from bayespeft.guides.base import Guide, GuideSpec, Noise

_TO_STD = {"square": torch.square, "exp": torch.exp}
_FROM_STD = {"square": torch.sqrt, "exp": torch.log}


class MeanFieldGuide(Guide):
    """Independent normals over packs."""

    def __init__(self, packs: Sequence[Pack], spec: MeanField, generator: torch.Generator) -> None:
        super().__init__(packs)
        self._to_std = _TO_STD[spec.std]
        from_std = _FROM_STD[spec.std]
        low, high = (float(from_std(torch.tensor(std))) for std in spec.init_std)
        self.loc = nn.ParameterDict()
        self.raw = nn.ParameterDict()
        for pack in packs:
            self.loc[pack.name] = nn.Parameter(pack.init.clone().float())
            self.raw[pack.name] = nn.Parameter(torch.empty(pack.init.shape).uniform_(low, high, generator=generator))

    def std(self) -> dict[str, Tensor]:
        """Return the standard deviations of each pack: (layers, ...)."""
        return {name: self._to_std(raw) for name, raw in self.raw.items()}

    def q(self) -> dict[str, Distribution]:
        """Normal(mean, std) of each pack, event shape (layers, ...)."""
        std = self.std()
        return {name: dist.Normal(loc, std[name]).to_event(loc.dim()) for name, loc in self.loc.items()}

    def mean(self) -> dict[str, Tensor]:
        """Return the means (layers, ...)."""
        return dict(self.loc.items())

    def draws(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return mean + std * noise: (n, layers, ...)."""
        std = self.std()
        # Draw by draw, pack by pack: then the first k draws don't depend on n.
        noise = [[torch.randn(loc.shape, generator=generator) for loc in self.loc.values()] for _ in range(n)]
        return {
            name: loc + std[name] * torch.stack([draw[i] for draw in noise]).to(loc)
            for i, (name, loc) in enumerate(self.loc.items())
        }

    def spread(self) -> Iterable[nn.Parameter]:
        """Return the parameters behind std."""
        return self.raw.values()


class MeanField(GuideSpec):
    """Independent normals.

    Attributes:
        init_std: standard deviations start uniformly between these two in the unconstrained parameter.
        std: "square" (std = G^2, as BLoB) or "exp" (std = exp(g)).
    """

    noise: Noise = "example"
    init_std: tuple[float, float] = (0.01, 0.01)
    std: Literal["square", "exp"] = "exp"

    @model_validator(mode="after")
    def _check(self) -> MeanField:
        low, high = self.init_std
        if not 0 < low <= high:
            raise ValueError("init_std must be (low, high) with 0 < low <= high")
        return self

    def build(self, packs: Sequence[Pack], generator: torch.Generator) -> MeanFieldGuide:
        """Means start at the factors' initial values."""
        return MeanFieldGuide(packs, self, generator)


GUIDE = MeanField
