"""What a method on a network comes to: the problem that is fitted, and what a posterior keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayespeft.adapters.attach import Placement
from bayespeft.data.layout import Columns
from bayespeft.layers.versions import Version
from bayespeft.likelihoods.base import Likelihood
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior
from bayespeft.training.history import History
from bayespeft.training.problem import Problem
from bayespeft.variational.joint_guide import JointGuide


@dataclass(frozen=True)
class Assembly:
    """A problem whose hooks are on, and what a posterior needs besides.

    Attributes:
        problem: what is fitted.
        method: with the user's settings in place.
        placements: which adapter sits on which layer.
        classes: outputs of the likelihood.
        base: the network's fingerprint.
        versions: where its weights lay then, and how often each had been written.
        seconds: that choosing the factors took, decompositions of weights included.
        idle: freshly made layers that play no part in the network's output.
    """

    problem: Problem
    method: Method
    placements: tuple[Placement, ...]
    classes: int
    base: dict[str, str]
    versions: dict[str, Version]
    seconds: float
    idle: frozenset[str]

    def posterior(
        self, joint_guide: JointGuide, likelihood: Likelihood, history: History, tokenizer: Any, columns: Columns
    ) -> Posterior:
        """Return the posterior that training came to.

        Args:
            joint_guide: as it was trained.
            likelihood: with what training found of it, such as its noise.
            history: of the training.
            tokenizer: reads the texts that will be predicted.
            columns: our names of columns -> those of the training data.
        """
        return Posterior(
            self.problem.model,
            self.method,
            self.placements,
            joint_guide,
            likelihood,
            history,
            self.classes,
            self.problem.seed,
            tokenizer,
            merged=self.problem.attachment.merged,
            base=self.base,
            versions=self.versions,
            idle=self.idle,
            columns=columns,
        )
