"""Terms of the ELBO since the last look: means over examples, and the KL of now."""

from __future__ import annotations

import pytest
import torch

from bayespeft.adapters.core import Core
from bayespeft.errors import FitError
from bayespeft.fitting.elbo_terms import ElboTerms
from bayespeft.guides.mean_field import MeanField
from bayespeft.training.steps import Steps, Terms
from tests.training.helpers import problem


def test_every_example_counts_the_same_and_a_look_begins_anew(mlp, xy):
    with problem(mlp, xy, Core(r=2), MeanField()) as p:
        steps = Steps(p, 10)
        terms = ElboTerms(steps)
        # Sums over four examples and over one.
        for nll, rows in ((2.0, 4), (3.0, 1)):
            terms.add(Terms(torch.zeros(()), torch.tensor(nll), rows))
        found = terms.read()
        kl, prior = steps.prior_terms()
        assert kl > 0
        assert found == {"nll": 1.0, "kl": pytest.approx(kl), "elbo": pytest.approx(-1.0 - (kl + prior) / 60)}
        with pytest.raises(FitError, match="no step since the last call"):
            terms.read()
