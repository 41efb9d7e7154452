"""Against public packages: live where CI has them, by recorded figures where they are heavy; versions stand beside them.

Those of netcal, uncertainty-calibration, relplot, torch-uncertainty and MAPIE are in tests/report/test_references.py.
"""

from __future__ import annotations

from importlib.metadata import version

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
from tests.references.agreement import agree
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
        latent = p.joint_guide.latent
        latent.fit(Trainer(p))
        (pushed,) = latent.sqrt_matvec(torch.eye(latent.noise_size)).values()
        variances = pushed.flatten(1).square().sum(0)
    expected, evidence = LAPLACE[spec]
    # Kronecker factors are found in other ways: theirs by K-FAC, ours by a step towards the nearest product.
    name, theirs = f"Laplace, {spec.__name__.removeprefix('Laplace').lower()}", "laplace-torch 0.3"
    variance, nats = (0.02 * 0.37, 0.1) if spec is LaplaceKronecker else (6e-6, 1e-3)
    agree(f"{name}: variances", theirs, variances, expected, atol=variance)
    agree(
        f"{name}: log evidence",
        theirs,
        latent.log_evidence.detach(),
        evidence + float(weight.square().sum()),
        atol=nats,
    )


def test_scores_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn, whose scores these are, is not installed")
    u = (0.5 + np.outer(np.arange(1, 301), np.sqrt([2, 3, 5, 7]))) % 1
    probs = u[:, :3] / u[:, :3].sum(1, keepdims=True)
    labels = (u[:, 3] * 3).astype(int)
    logs = np.log(probs)
    against = f"scikit-learn {version('scikit-learn')}"
    agree("NLL", against, metrics.nll(logs, labels), sklearn.log_loss(labels, probs), atol=1e-12)
    accuracy = sklearn.accuracy_score(labels, probs.argmax(1))
    agree("accuracy", against, metrics.accuracy(logs, labels), accuracy, atol=1e-12)
    brier = sum(sklearn.brier_score_loss(labels == k, probs[:, k]) for k in range(3))
    agree("Brier score", against, metrics.brier(logs, labels), brier, atol=1e-12)
    wrong, doubt = probs.argmax(1) != labels, -probs.max(1)
    agree(
        "AUROC of errors", against, metrics.error_auroc(logs, labels), sklearn.roc_auc_score(wrong, doubt), atol=1e-12
    )
    precision = sklearn.average_precision_score(wrong, doubt)
    agree("average precision of errors", against, metrics.error_average_precision(logs, labels), precision, atol=1e-12)
