"""Figures of the papers' own code, run once on the inputs below; repositories and commits stand beside them.

The inputs are sequences without random numbers, so that no generator's change can move them. The spread of BLoB's code is in
tests/training/test_alternating.py, the prior that ScalaBL's code executes in tests/guides/test_reversed.py.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.sparse_low_rank import SparseLowRank
from bayespeft.gaussians import Rows
from bayespeft.guides.scale_mixture import ScaleMixture
from bayespeft.guides.swag import Snapshots, Swag
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.moments import GaussianWeight
from bayespeft.layers.watched import SUMMAND
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.predictive.average import DrawnGaussianAverage
from bayespeft.predictive.average import Rows as AtRows
from bayespeft.predictive.categorical import CategoricalAverage
from bayespeft.priors.fan_in import FanIn
from bayespeft.priors.flat import Flat
from tests.adapters.helpers import a_layer
from tests.references.agreement import agree

SEED = torch.Generator().manual_seed(0)

# IST-DASLab/peft-rosa 810da6a: GradCollectorHook over three gradients, then _grad_to_mask_fn with d = .25.
ROSA = {
    "mean": [0, 11, 13, 15, 17, 28, 30, 32, 33, 35, 45, 47],
    "mean_squared": [0, 11, 13, 15, 17, 23, 25, 30, 36, 38, 40, 42],
}


@pytest.mark.parametrize("rule", ROSA)
def test_masks_of_rosa(rule):
    gradients = [torch.sin(torch.arange(48).reshape(6, 8) * (0.9 + 0.37 * k) + k) * (1 + k) for k in range(3)]
    adapter = SparseLowRank(density=0.25, mask=rule)
    total = sum(SUMMAND[adapter.warm_up().of](gradient) for gradient in gradients)
    found = adapter.warmed_up(a_layer(6, 8), total)["index"]
    agree(f"RoSA: positions of the mask, {rule}", "IST-DASLab/peft-rosa 810da6a", found, ROSA[rule], atol=0)


def test_the_schedule_of_rosa():
    """Its wl64: LoRA alone up to step 64, one gradient up to step 65, then the mask."""
    warm = SparseLowRank().warm_up()
    assert (warm.steps, warm.steps + warm.gradients) == (64, 65)


def test_frames_of_lora_xs():
    """MohammadrezaBanaei/LoRA-XS e50b1a8: get_linear_rec_svd of W0^T at rank 2; signs are a decomposition's own."""
    layer = a_layer(6, 5)
    with torch.no_grad():
        layer.module.weight.copy_(torch.sin(torch.arange(30.0).reshape(6, 5) * 1.7 + 0.3))
    factors = FrozenCore(r=2).factors(layer, torch.Generator())
    a = [[1.62152, 0.74715, 1.42899, 1.11538, 1.14157], [0.3225, 1.66805, 0.75235, 1.47418, 1.13223]]
    b = [
        [0.06779, 0.57549], [0.42753, 0.33588], [0.58254, 0.17108], [0.27387, 0.54186], [0.2528, 0.48134], [0.57824, 0.03768],
    ]  # fmt: skip
    against = "MohammadrezaBanaei/LoRA-XS e50b1a8"
    agree("LoRA-XS: A = S V^T", against, factors["A"].init.abs(), a, atol=2e-5)
    agree("LoRA-XS: B = U", against, factors["B"].init.abs(), b, atol=2e-5)


# wjmaddox/swa_gaussian 61a918f: SWAG(max_num_models=6) after 12 and after 4 models: mean; of the covariance that
# sample(scale=.5, cov=True) has, 1/2 (diag + D D^T / (6 - 1)), the diagonal and the first row.
SWAG = {
    12: (
        [-0.01148, 0.03446, 0.04872, 0.01818, -0.02907, -0.0496, -0.03442, -0.01684],
        [0.49087, 0.51895, 0.54095, 0.49456, 0.51117, 0.54374, 0.51896, 0.53808],
        [0.49087, 0.13386, -0.10865, -0.25127, -0.16287, 0.07527, 0.1975, -0.24163],
    ),
    4: (
        [0.38549, 0.18254, -0.18824, -0.38595, -0.22882, 0.13869, 0.03354, -0.44403],
        [0.16502, 0.42793, 0.40833, 0.16173, 0.38657, 0.44604, 0.47768, 0.17034],
        [0.16502, 0.04548, -0.00607, -0.05204, -0.05017, -0.00217, 0.02623, -0.05152],
    ),
}


@pytest.mark.parametrize("count", SWAG)
def test_moments_of_swag(count):
    """With fewer snapshots than the rank the official code divides by the rank less one, which is then put back."""
    zero = torch.zeros(1, 8)
    guide = Swag(rank=6).build([StackedFactor("w", "w", ("a",), "latent", zero, Flat(), zero)], torch.Generator())
    snapshots = Snapshots(6)
    for i in range(count):
        weight, bias = torch.sin(torch.arange(6.0) + i * 1.1), torch.cos(torch.arange(2.0) * 2 + i)
        snapshots.add({"w": torch.cat([weight, bias])[None]})
    guide.set_moments(snapshots)
    kept = min(count, 6)
    with torch.no_grad():
        guide.factor_w.mul_(math.sqrt((kept - 1) / 5))
    mean, diagonal, row = SWAG[count]
    root = guide.sqrt_matvec(torch.eye(guide.noise_size))["w"].flatten(1)
    covariance = root.T @ root
    against = "wjmaddox/swa_gaussian 61a918f"
    agree(f"SWAG after {count}: mean", against, guide.mean()["w"][0].detach(), mean, atol=2e-5)
    agree(f"SWAG after {count}: variances", against, covariance.diagonal(), diagonal, atol=3e-5)
    agree(f"SWAG after {count}: covariances", against, covariance[0], row, atol=3e-5)


# VectorInstitute/vbll 142f21e: DiscClassification(4, 3, 1 / 20), dense: jensen_bound, logit_predictive, gaussian_kl (which
# leaves the constant -1/2 for each number out) and the mean of 200,000 draws of its predictive.
VBLL_BOUND = [-4.223938, -1.688264, -0.977666, -2.523445, -3.531788]
VBLL_VARIANCE = [[5.135345, 3.667784, 4.243591], [1.480003, 0.786024, 1.188369]]
VBLL_KL = 10.686851
VBLL_PROBS = [[0.21729, 0.31006, 0.47265], [0.29346, 0.32100, 0.38554]]


class Drawn:
    """Independent normals to draw logits with."""

    def of_size(self, outputs):
        """100,000 of them."""
        return torch.randn(100_000, outputs, generator=SEED)


def test_the_last_layer_of_vbll():
    """Its noise on logits adds to their variances what a random bias does."""
    mean = torch.arange(12.0).reshape(3, 4) / 10 - 0.5
    root = torch.diag_embed(torch.exp(-torch.arange(12.0).reshape(3, 4) / 8))
    for k in range(3):
        for i in range(4):
            for j in range(i):
                root[k, i, j] = 0.1 * (k + 1) * (-1) ** (i + j)
    noise = torch.tensor([-1.0, -0.5, 0.0]).exp()
    x = torch.tensor([[1.0, 0, 2, -1], [0.5, -1, 0, 1], [0, 0, 1, 1], [2, 1, -1, 0], [-1, 0.5, 0.5, 2]])
    labels = torch.tensor([0, 1, 2, 1, 0])
    logits = GaussianWeight(torch.zeros(3), noise).add(GaussianWeight(mean, root).linear(x))
    means, variances = logits.chunk(2, -1)
    against = "VectorInstitute/vbll 142f21e"
    agree("VBLL: variances of logits", against, variances[:2], VBLL_VARIANCE, atol=6e-6)
    bound = SequenceClassification().expected_log_likelihood(means, variances, labels)
    agree("VBLL: Jensen's bound", against, bound, VBLL_BOUND, atol=6e-6)
    q = Rows(mean.unsqueeze(0), root.unsqueeze(0))
    kl = float(kl_divergence(q, FanIn(scale=2**0.5).distribution(torch.zeros(1, 3, 4))))
    agree("VBLL: KL", against, kl + 12 / 2, VBLL_KL, atol=1e-5)
    average = DrawnGaussianAverage(CategoricalAverage(5), Drawn())
    average.add(means.double(), torch.diag_embed(variances).double(), AtRows(torch.arange(5)))
    probs = average.result(0, 0.0, None).probs[:2]
    # Two times 5 standard errors of means of so many numbers between 0 and 1.
    drawn = 5 * 0.3 * (3 / 200_000) ** 0.5
    agree("VBLL: probabilities", f"{against}, 200,000 draws", probs, VBLL_PROBS, atol=drawn)


def test_the_scale_mixture_of_monteclora():
    """LCS2-IIITD/MonteCLoRA 0cd4a77: MonteCLoRASampler(5, 3, 4) on these normals."""
    init = torch.zeros(1, 3, 5)
    stack = StackedFactor("A", "A", ("a",), "latent", init, Flat(), init)
    guide = ScaleMixture().build([stack], SEED)
    with torch.no_grad():
        guide.log_std["A"].copy_(torch.tensor([[0.2, 0.5, 0.9]]))
        guide.log_alpha["A"].copy_(torch.tensor([[0.1, 0.4, 0.6, 0.8]]))
        rows = torch.sin(torch.arange(9.0).reshape(1, 1, 3, 3) * 1.3 + 0.2)
        e = torch.sin(torch.arange(60.0).reshape(4, 5, 3) * 0.7)[0].T
        noise = 3e-4 * guide.variances("A", rows).sqrt()[0, 0].unsqueeze(-1) * e
        weights = guide.weights("A", torch.cos(torch.arange(4.0) * 1.1).reshape(1, 1, 4))[0, 0]
        kl = guide.kl_of_scales("A") - kl_divergence(Dirichlet(guide.log_alpha["A"].exp()), Dirichlet(torch.ones(1, 4)))
    source = "LCS2-IIITD/MonteCLoRA 0cd4a77"
    theirs = [
        [0.0, 0.000338702172, -0.00034198488, 6.59724992e-06, 0.000335323712],
        [0.000381124817, 0.000198181966, -0.000581227534, 0.000388679036, 0.000188781705],
        [0.000987909152, -0.000351658673, -0.00063284213, 0.000990634318, -0.000367393921],
    ]
    agree("MonteCLoRA: noise of one component", source, noise, theirs, atol=1e-9)
    agree("MonteCLoRA: weights", source, weights, [0.349830806, 0.297019899, 0.178769454, 0.174379885], atol=1e-6)
    agree("MonteCLoRA: KL of the Wishart", source, kl, 6.08963108, atol=1e-5)
