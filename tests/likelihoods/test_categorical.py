"""Likelihoods of one class of several: their curvature is that of the softmax."""

from __future__ import annotations

import torch

from bayespeft.likelihoods.categorical import Categorical
from bayespeft.predictive.law import fisher_root
from tests.predictive.laws import Plain, Thirds


def test_the_fisher_information_of_classes_is_the_hessian_of_the_softmax():
    generator = torch.Generator().manual_seed(0)
    logits, j = (torch.randn(4, 3, *more, generator=generator, dtype=torch.double) for more in ((), (2, 5)))
    root = fisher_root(Thirds().distribution, logits, j).flatten(2)
    p = logits.softmax(-1)
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    j = j.flatten(2)
    torch.testing.assert_close(root.mT @ root, j.mT @ hessian @ j)
    known = type("Known", (Plain, Categorical), {})().curvature_root(logits, None, j)
    torch.testing.assert_close(root.mT @ root, known.mT @ known)
