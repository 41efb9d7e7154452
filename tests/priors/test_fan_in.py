"""The fan-in prior speaks of outputs."""

from __future__ import annotations

import torch

from bayespeft.priors.fan_in import FanIn


def test_outputs_have_the_stated_standard_deviation_at_every_width():
    for width in (4, 64):
        prior = FanIn(scale=2.0).distribution(torch.zeros(1, 3, width))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            x = torch.randn(width)
            x = x / x.square().mean().sqrt()
            outputs = prior.sample((4000,))[:, 0] @ x
        standard_error = 2.0 / (2 * outputs.numel()) ** 0.5
        assert abs(float(outputs.std()) - 2.0) < 5 * standard_error


def test_a_bias_has_the_scale_itself():
    prior = FanIn(scale=2.0).distribution(torch.zeros(1, 3))
    assert prior.base_dist.scale.unique().tolist() == [2.0]
