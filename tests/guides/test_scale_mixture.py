"""The scale mixture's moments, tails and scales against closed forms; its KL is at least that of the values."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Gamma, Independent, Normal, kl_divergence

from bayespeft.guides.scale_mixture import ScaleMixture, ScaleMixtureGuide
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.normal import Normal as NormalPrior
from bayespeft.variational.kl import estimate


def built(*shape: int, seed: int = 0, **settings: float) -> ScaleMixtureGuide:
    init = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    stack = StackedFactor("A", "A", ("x",) * shape[0], "latent", init, NormalPrior(scale=1.0), torch.zeros(shape))
    return ScaleMixture(**settings).build([stack], torch.Generator().manual_seed(seed))


def test_rows_have_the_variance_of_the_formula_and_heavy_tails() -> None:
    """E v_k = r std_k^2; given v and w, values of a row are normal, so that without them their kurtosis is above 3."""
    guide, n = built(1, 3, 40, scale=0.1), 20_000
    with torch.no_grad():
        deviation = guide.draws(n, torch.Generator().manual_seed(2))["A"][:, 0] - guide.mean()["A"][0]
        weights = guide.weights("A", torch.randn(200_000, 1, 4, generator=torch.Generator().manual_seed(3)))
        expected = 0.1**2 * 3 * (2 * guide.log_std["A"][0]).exp() * float(weights.square().sum(-1).mean())
    found = deviation.square().mean((0, 2))
    # (n, 40) values of a row share one variance a draw, whose own relative spread is below 2.
    assert (found / expected - 1).abs().max() < 5 * 2 / n**0.5
    kurtosis = deviation.pow(4).mean((0, 2)) / found**2
    assert (kurtosis > 4).all()


@pytest.mark.parametrize("rows", [1, 4])
def test_scales_have_the_kl_of_their_gammas(rows: int) -> None:
    """v = std^2 chi^2_r is Gamma(r / 2, 1 / (2 std^2)); the Dirichlet's is torch's."""
    guide = built(2, rows, 3)
    std = guide.log_std["A"].exp()
    ours = Gamma(torch.tensor(rows / 2), 1 / (2 * std.square()))
    expected = kl_divergence(ours, Gamma(torch.tensor(rows / 2), torch.tensor(0.5))).sum(-1)
    with torch.no_grad():
        guide.log_alpha["A"].zero_()  # alpha of the prior: nothing is added
    torch.testing.assert_close(guide.kl_of_scales("A"), expected)


def test_the_kl_is_at_least_that_of_the_values() -> None:
    """One number: its density is the mean of the normals' over scales, and its KL an integral over a grid."""
    guide = built(1, 1, 1, scale=0.3)
    prior = Independent(Normal(torch.zeros(1, 1, 1), torch.ones(1, 1, 1)), 3)
    joint = estimate(guide.q()["A"], prior, draws=20_000)
    assert joint.error is not None
    with torch.no_grad():
        generator = torch.Generator().manual_seed(4)
        variances = guide.variances("A", torch.randn(4000, 1, 1, 1, generator=generator))[:, 0, 0]
        weights = guide.weights("A", torch.randn(4000, 1, 4, generator=generator))[:, 0]
        scale = (0.3 * (variances * weights.square().sum(-1)).sqrt()).double()
        grid = torch.linspace(-12, 12, 12_001, dtype=torch.float64)
        mean = float(guide.loc["A"])
        density = torch.zeros_like(grid)
        for part in scale.split(100):
            density += (
                Normal(torch.tensor(mean, dtype=torch.float64), part).log_prob(grid[:, None]).exp().sum(-1) / 4000
            )
        ratio = density.clamp_min(1e-300).log() + 0.5 * (grid.square() + math.log(2 * math.pi))
        own = float((density * ratio).sum() * (grid[1] - grid[0]))
    assert float(density.sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=0.01)
    assert own < float(joint.nats.sum()) - 3 * joint.error


@pytest.mark.parametrize("layers", [1, 2])
def test_the_kl_of_each_layer_is_known(layers: int) -> None:
    """Of a stack of one layer, too."""
    guide = built(layers, 2, 3)
    prior = Independent(Normal(torch.zeros(layers, 2, 3), torch.ones(layers, 2, 3)), 3)
    assert estimate(guide.q()["A"], prior, draws=4).nats.shape == (layers,)
