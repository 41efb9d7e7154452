"""The terms of the ELBO for a log, between one look at it and the next, over all processes of a group."""

from __future__ import annotations

import torch
import torch.distributed

from bayespeft.errors import FitError
from bayespeft.training.steps import Steps, Terms
from bayespeft.utils.processes import distributed
from bayespeft.utils.randomness import seeded


class ElboTerms:
    """Collects what each step of the optimiser says of the data, until somebody asks.

    Args:
        steps: of the training.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._recent: list[Terms] = []

    def add(self, step: Terms) -> None:
        """Add a step's."""
        self._recent.append(step)

    def read(self) -> dict[str, float]:
        """Return "nll" of the steps since the last call, "kl" and "elbo": see `Adaptation.terms`.

        Raises:
            FitError: there was no step since the last call.
        """
        if not self._recent:
            raise FitError("there was no step since the last call of terms(), or none that could be counted.")
        problem = self._steps.problem
        nlls = torch.stack([step.nll for step in self._recent]).sum()
        sums = torch.stack([nlls, nlls.new_tensor(float(sum(step.rows for step in self._recent)))])
        self._recent.clear()
        if distributed():
            torch.distributed.all_reduce(sums)
        with seeded(problem.seed):
            kl, prior = self._steps.prior_terms()
        nll = float(sums[0] / sums[1])
        return {"nll": nll, "kl": kl, "elbo": -nll - (kl + prior) / len(problem.examples)}
