"""Ensemble: q is K networks, each trained on its own, with equal weight.

Lakshminarayanan et al. 2017, arXiv 1612.01474: members differ by initial values and data order, and by the head where it is
fresh; a head that somebody trained is where all of them begin. Under a flat prior they are maximum-likelihood networks, under
a normal one MAP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.errors import ConfigError
from bayespeft.guides.base import Covers, Guide, GuideSpec, Trainer, Values
from bayespeft.layers.factors import StackedFactor

# Seeds of members lie this far apart, so that ensembles with neighbouring seeds share no members.
_STRIDE = 10_000


class EnsembleGuide(Guide):
    """K values of every factor."""

    def __init__(self, stacks: Sequence[StackedFactor], members: int) -> None:
        super().__init__(stacks)
        self._members = members
        self.value = nn.ParameterDict(
            {stack.name: nn.Parameter(stack.init.float().repeat(members, *[1] * stack.init.dim())) for stack in stacks}
        )

    @property
    def members(self) -> int:
        """K."""
        return self._members

    def q(self) -> dict[str, Distribution]:
        """Return each stack's empirical distribution; stacks are not independent, a draw takes all from one member."""
        return {name: dist.Empirical(value, value.new_zeros(len(value))) for name, value in self.value.items()}

    def mean(self) -> dict[str, Tensor]:
        """Return the average of the members' values (layers, ...).

        It is q's mean, and no network that anyone trained: B A of averages is no average of B A. Whatever would run it
        (draws=0, using("mean"), an export) refuses.
        """
        return {name: value.mean(0) for name, value in self.value.items()}

    @property
    def noise_size(self) -> int:
        """Nothing is random but which member it is, and those come in order."""
        return 0

    def transform(self, noise: Tensor) -> dict[str, Tensor]:
        """Return the first n members (a view): (n, layers, ...).

        Raises:
            ConfigError: there are fewer.
        """
        if len(noise) > self._members:
            raise ConfigError(f"{len(noise)} draws of an ensemble of {self._members} members: take at most that many.")
        return {name: value[: len(noise)] for name, value in self.value.items()}

    def fit(self, trainer: Trainer) -> Any:
        """Train the members one after another; the first one is the point that the problem starts from, if there is one."""
        problem = trainer.problem
        values, history = trainer.point()
        self._keep(0, values)
        for k in range(1, self._members):
            seed = problem.seed + _STRIDE * k
            values, later = trainer.train_point(problem.fresh_stacks(seed), seed)
            history = history.then(later)
            self._keep(k, values)
        return history

    @torch.no_grad()
    def _keep(self, k: int, values: Values) -> None:
        for name, value in self.value.items():
            value[k].copy_(values[name])


class Ensemble(GuideSpec):
    """Separately trained networks.

    Attributes:
        members: K.
    """

    covers: ClassVar[Covers] = "trained"
    variational: ClassVar[bool] = False
    members: int = Field(default=5, ge=2)

    def build(self, stacks: Sequence[StackedFactor], generator: torch.Generator) -> EnsembleGuide:
        """All members start at the factors' initial values, until `fit` gives each its own; `generator` is not used."""
        return EnsembleGuide(stacks, self.members)


GUIDE = Ensemble
