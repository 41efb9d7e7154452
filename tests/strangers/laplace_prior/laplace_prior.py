"""Laplace prior: each element ~ Laplace(center, scale); the mode of the posterior is sparse (Tibshirani 1996)."""

import pyro.distributions as dist
from pydantic import Field

from bayespeft.priors import Prior


class Laplace(Prior):
    """Laplace(center, scale), element by element. torch knows a normal's KL to it; another q takes Monte Carlo."""

    closed_form = False
    scale: float = Field(default=0.2, gt=0)

    def distribution(self, center):
        return dist.Laplace(center, center.new_tensor(self.scale)).expand(center.shape).to_event(center.dim())
