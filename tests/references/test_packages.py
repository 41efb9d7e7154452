"""Against public packages: live where CI has them, by recorded figures where they are heavy; versions stand beside them.

Those of netcal, uncertainty-calibration, relplot, torch-uncertainty and MAPIE are in tests/report/test_references.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bayespeft import TrainConfig
from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.priors.normal import Normal
from bayespeft.report import metrics
from bayespeft.training.trainer import Trainer
from tests.training.helpers import Direct, problem

# laplace-torch 0.3 on torch 2.14.1, subset_of_weights="all", prior_precision=2, BackPACK's GGN: variances of the posterior and
# log marginal likelihood.
LAPLACE = {
    LaplaceFull: (
        [0.357542, 0.297778, 0.350739, 0.373165, 0.353152, 0.352399, 0.351506, 0.301013, 0.348461],
        -44.29503631591797,
    ),
    LaplaceDiagonal: (
        [0.211849, 0.198984, 0.201538, 0.247137, 0.298467, 0.208803, 0.194213, 0.204586, 0.191261],
        -45.44868850708008,
    ),
    LaplaceKronecker: (
        [0.351599, 0.295571, 0.352788, 0.364267, 0.320228, 0.36568, 0.350033, 0.292524, 0.351194],
        -44.33975601196289,
    ),
}


@pytest.mark.parametrize("spec", LAPLACE, ids=lambda spec: spec.__name__)
def test_laplace(spec):
    """One linear layer. Its prior is around zero and ours around the layer's weight: the evidence differs by tau |W|^2 / 2."""
    x, y = torch.sin(torch.arange(60.0).reshape(20, 3) * 1.3 + 0.5) * 1.5, torch.arange(20) * 7 % 3
    model = nn.Sequential(nn.Linear(3, 3, bias=False))
    weight = torch.cos(torch.arange(9.0).reshape(3, 3) * 0.9)
    with torch.no_grad():
        model[0].weight.copy_(weight)
    train = TrainConfig(steps=1, lr=0)
    guide, prior = spec(prior_precision=2.0), Normal(scale=0.5**0.5)
    with problem(model, (x, y), Direct(), guide, latent_prior=prior, train=train) as p:
        latent = p.approximation.latent
        latent.fit(Trainer(p))
        (pushed,) = latent.push(torch.eye(latent.noise_size)).values()
        variances = pushed.flatten(1).square().sum(0)
    expected, evidence = LAPLACE[spec]
    # Kronecker factors are found in other ways: theirs by K-FAC, ours by a step towards the nearest product.
    variance, nats = (0.02, 0.1) if spec is LaplaceKronecker else (1e-5, 1e-3)
    torch.testing.assert_close(variances, torch.tensor(expected), atol=2e-6, rtol=variance)
    assert float(latent.log_evidence) == pytest.approx(evidence + float(weight.square().sum()), abs=nats)


def test_scores_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn, whose scores these are, is not installed")
    u = (0.5 + np.outer(np.arange(1, 301), np.sqrt([2, 3, 5, 7]))) % 1
    probs = u[:, :3] / u[:, :3].sum(1, keepdims=True)
    labels = (u[:, 3] * 3).astype(int)
    logs = np.log(probs)
    assert metrics.nll(logs, labels) == pytest.approx(sklearn.log_loss(labels, probs), abs=1e-12)
    assert metrics.accuracy(logs, labels) == pytest.approx(sklearn.accuracy_score(labels, probs.argmax(1)), abs=1e-12)
    assert metrics.brier(logs, labels) == pytest.approx(((probs - np.eye(3)[labels]) ** 2).sum(1).mean(), abs=1e-12)
