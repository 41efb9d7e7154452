"""What every guide offers. A guide knows packs (shapes, initial values, priors), never what an adapter does with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.config import Plugin
from bayespeft.factors import Pack

Noise = Literal["batch", "example", "flipout", "token"]


class Problem(Protocol):
    """What a guide is given to fit itself to: see `bayespeft.inference.problem.Problem`."""

    def optimise(self) -> Any:
        """Run stochastic variational inference on the guide and return the history."""


class Guide(nn.Module, ABC):
    """q over packs. Its variational parameters are float32 `nn.Parameter`s that exist before the first step."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        super().__init__()
        self.packs = tuple(packs)

    @abstractmethod
    def q(self) -> dict[str, Distribution]:
        """Return the distribution of each pack, by name, with every dimension an event dimension: (layers, ...)."""

    @abstractmethod
    def mean(self) -> dict[str, Tensor]:
        """Return the posterior mean of each pack, by name: (layers, ...)."""

    @abstractmethod
    def draws(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return n draws of each pack: (n, layers, ...). The first k of n draws are the k draws of the same seed.

        Args:
            n: number of draws.
            generator: a CPU generator, so that a seed means the same draws on every device.
        """

    def spread(self) -> Iterable[nn.Parameter]:
        """Return the parameters that say how wide q is: they get `variational_lr` and no weight decay."""
        return ()

    def fit(self, problem: Problem) -> Any:
        """Fit to data and return the history: stochastic variational inference unless a guide overrides this."""
        return problem.optimise()


class GuideSpec(Plugin, ABC):
    """The settings of a guide, and the way to build it.

    Attributes:
        noise: how draws are spread over a batch in training (see `bayespeft.inference.noise`).
    """

    room: ClassVar[str] = "guides"
    stochastic: ClassVar[bool] = True
    noise: Noise = "batch"

    @abstractmethod
    def build(self, packs: Sequence[Pack], generator: torch.Generator) -> Guide:
        """Make the guide for these packs, drawing initial values from `generator` (on the CPU)."""


def parameters_of(packs: Iterable[Pack]) -> nn.ParameterDict:
    """Return a float32 parameter per pack at its initial value."""
    return nn.ParameterDict({pack.name: nn.Parameter(pack.init.clone().float()) for pack in packs})
