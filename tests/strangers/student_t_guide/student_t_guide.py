"""Student-t: q of independent elements with heavy tails. Its KL to a normal prior is a formula, registered below; to any
other prior it is Monte Carlo."""

import math

import pyro.distributions as dist
import torch
from pydantic import Field
from scipy.special import ndtr, stdtrit
from torch import distributions, nn

from bayespeft.guides import Guide, GuideSpec, Noise, parameters_of


class StudentTGuide(Guide):
    def __init__(self, stacks, spec):
        super().__init__(stacks)
        self.df = spec.df
        self.loc = parameters_of(stacks)
        self.log_scale = nn.ParameterDict(
            {stack.name: nn.Parameter(torch.full(stack.init.shape, math.log(spec.init_scale))) for stack in stacks}
        )

    def q(self):
        return {
            name: dist.StudentT(loc.new_tensor(self.df), loc, self.log_scale[name].exp()).to_event(loc.dim())
            for name, loc in self.loc.items()
        }

    def mean(self):
        return dict(self.loc.items())

    @property
    def noise_size(self):
        return sum(loc.numel() for loc in self.loc.values())

    def transform(self, noise):
        # The quantile function, from the side where its argument is small.
        lower = torch.from_numpy(stdtrit(self.df, ndtr(-noise.abs().double().cpu().numpy())))
        quantiles = (-noise.sign().double().cpu() * lower).to(noise)
        parts = torch.split(quantiles, [loc.numel() for loc in self.loc.values()], dim=-1)
        return {
            name: loc + self.log_scale[name].exp() * part.reshape(-1, *loc.shape)
            for (name, loc), part in zip(self.loc.items(), parts, strict=True)
        }

    def spread(self):
        return self.log_scale.values()


@distributions.register_kl(distributions.StudentT, distributions.Normal)
def _kl(q, p):
    squares = (q.variance + (q.mean - p.mean).square()) / p.variance
    return p.scale.log() + 0.5 * (math.log(2 * math.pi) + squares) - q.entropy()


class StudentT(GuideSpec):
    """Independent Student-t elements.

    Attributes:
        df: degrees of freedom, above 2, so that there is a variance.
        init_scale: of each element at the start.
    """

    closed_form = False
    symmetric = True
    noise: Noise = "example"
    df: float = Field(default=4.0, gt=2)
    init_scale: float = Field(default=0.05, gt=0)

    def build(self, stacks, generator):
        return StudentTGuide(stacks, self)
