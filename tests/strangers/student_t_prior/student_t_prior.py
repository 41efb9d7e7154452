"""Student-t prior: each element ~ center + scale t(df), with tails that let single elements go far."""

import pyro.distributions as dist
from pydantic import Field

from bayespeft.priors import Prior


class StudentT(Prior):
    """Student-t around the center, element by element. No q has a formula against it, so that its KL is Monte Carlo."""

    closed_form = False
    df: float = Field(default=3.0, gt=0)
    scale: float = Field(default=0.2, gt=0)

    def distribution(self, center):
        law = dist.StudentT(center.new_tensor(self.df), center, center.new_tensor(self.scale))
        return law.expand(center.shape).to_event(center.dim())
