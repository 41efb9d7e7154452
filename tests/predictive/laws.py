"""Likelihoods that say three things, what they read, their outputs and their law: of classes, of counts, of heavy tails."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from torch import Tensor

from bayespeft.likelihoods.base import Likelihood

BRIEF: dict[str, Any] = {"targets": "all-linear", "progress": False}


class Plain(Likelihood):
    def encode(self, rows, tokenizer):
        raise NotImplementedError

    def logits(self, model, batch):
        return model(batch.inputs)


class Thirds(Plain):
    """One of as many classes as there are outputs."""

    def distribution(self, logits: Tensor):
        return dist.Categorical(logits=logits)


class Poisson(Plain):
    """A count; of three outputs the first is the log of its rate."""

    def distribution(self, logits: Tensor):
        return dist.Poisson(logits[..., 0].clamp(-5, 5).exp())


class Heavy(Plain):
    """Three quantities with tails so heavy that they have no mean."""

    discrete = False

    def distribution(self, logits: Tensor):
        return dist.Cauchy(logits, 1.0).to_event(1)
