"""Dropout: q(z) = init * Bernoulli(1 - p) / (1 - p) over a mask z; nothing of q is trained but the point factors around it.

MC dropout as approximate inference: Gal & Ghahramani 2016, arXiv 1506.02142. Under the prior "dropout" with the same p the
KL is zero, and with normal priors on the point factors the objective is theirs, L2 terms and all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor
from torch.distributions import Distribution

from bayespeft.guides.base import Guide, GuideSpec
from bayespeft.layers.factors import Role, StackedFactor
from bayespeft.priors.dropout import ScaledBernoulli, check_rate


class DropoutGuide(Guide):
    """A Bernoulli for each element of each mask."""

    def __init__(self, stacks: Sequence[StackedFactor], p: float) -> None:
        super().__init__(stacks)
        self.p = p
        for stack in stacks:
            self.register_buffer(f"fixed_{stack.name}", stack.init.clone().float())
        # A standard normal below this is a dropped element.
        self._threshold = float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))

    def q(self) -> dict[str, Distribution]:
        """Return the scaled Bernoulli of each stack, event shape (layers, ...)."""
        return {name: ScaledBernoulli(value, self.p) for name, value in self.mean().items()}

    def mean(self) -> dict[str, Tensor]:
        """Return the initial values (layers, ...): dropout leaves the mean as it is."""
        return {stack.name: self.get_buffer(f"fixed_{stack.name}") for stack in self.stacks}

    @property
    def noise_size(self) -> int:
        """One standard normal for each element."""
        return sum(value.numel() for value in self.mean().values())

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return init / (1 - p) where the normal distribution function of the noise is above p, else 0: (n, layers, ...)."""
        means = self.mean()
        parts = torch.split(noise, [value.numel() for value in means.values()], dim=-1)
        return {
            name: value / (1 - self.p) * (part.reshape(-1, *value.shape) >= self._threshold)
            for (name, value), part in zip(means.items(), parts, strict=True)
        }


class Dropout(GuideSpec):
    """Dropout whose rate is given, not learned, in training and in prediction.

    Attributes:
        p: probability that an element of the mask is 0; the prior needs the same.
        noise: "example" (each example its own mask, the same for all of its tokens) or "batch".

    Raises:
        ConfigError: p is not strictly between 0 and 1.
    """

    needs: ClassVar[Mapping[str, Role]] = {"A": "point", "B": "point", "z": "latent"}
    noise: Literal["batch", "example"] = "example"
    p: float = 0.1

    @model_validator(mode="after")
    def _check_rate(self) -> Dropout:
        check_rate(self.p)
        return self

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> DropoutGuide:
        """The masks' means are the factors' initial values; `generator` is not used."""
        return DropoutGuide(stacks, self.p)


GUIDE = Dropout
