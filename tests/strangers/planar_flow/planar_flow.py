"""Planar flow: q is a normal bent along a few directions, w = loc + std o f_K(...f_1(e)), f(z) = z + u tanh(v^T z + b).

Rezende & Mohamed 2015, arXiv 1505.05770, eq. 10 to 12. It starts as independent normals.
"""

import math

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import softplus

from bayespeft.guides import GuideSpec, TransformedGuide, parameters_of


class PlanarFlowGuide(TransformedGuide):
    def __init__(self, stacks, spec, generator):
        super().__init__(stacks)
        self.loc = parameters_of(stacks)
        self.log_std, self.u, self.v, self.b = (nn.ParameterDict() for _ in range(4))
        for stack in stacks:
            layers, d = len(stack.init), stack.init[0].numel()
            self.log_std[stack.name] = nn.Parameter(torch.full((layers, d), math.log(spec.init_std)))
            v = torch.randn(spec.steps, layers, d, generator=generator) / d**0.5
            self.v[stack.name] = nn.Parameter(v)
            # There the map is the identity: see `_u`.
            self.u[stack.name] = nn.Parameter(math.log(math.e - 1) * v / v.square().sum(-1, keepdim=True))
            self.b[stack.name] = nn.Parameter(torch.zeros(spec.steps, layers))

    def flow(self, name, noise):
        z, log_det = noise, self.log_std[name].sum(-1)
        for u, v, b in zip(self.u[name], self.v[name], self.b[name], strict=True):
            u = _u(u, v)
            h = torch.tanh((z * v).sum(-1) + b)
            z = z + u * h.unsqueeze(-1)
            log_det = log_det + torch.log1p((1 - h.square()) * (u * v).sum(-1))
        return self.loc[name].flatten(1) + self.log_std[name].exp() * z, log_det

    def spread(self):
        means = {id(loc) for loc in self.loc.values()}
        return [parameter for parameter in self.parameters() if id(parameter) not in means]


def _u(u, v):
    """Return u with u^T v above -1, so that the map can be inverted (appendix A.1 of the paper)."""
    product = (u * v).sum(-1, keepdim=True)
    return u + (softplus(product) - 1 - product) * v / v.square().sum(-1, keepdim=True)


class PlanarFlow(GuideSpec):
    """Bends of a normal.

    Attributes:
        steps: how many.
        init_std: standard deviation of each element at the start.
    """

    closed_form = False
    noise: str = "example"
    steps: int = Field(default=2, ge=1)
    init_std: float = Field(default=0.05, gt=0)

    def build(self, stacks, generator):
        return PlanarFlowGuide(stacks, self, generator)
