"""A problem on a small network, built without the public entry point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import Attachment, Placement
from bayespeft.adapters.base import Adapter
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.padding import Padding
from bayespeft.data.source import source_of
from bayespeft.guides.base import GuideSpec
from bayespeft.layers.factors import Factor, stack_factors
from bayespeft.layers.layer import Layer
from bayespeft.layers.targets import find_layers
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.regression import Regression
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.priors.base import Prior
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.training.problem import Problem
from bayespeft.variational.joint_guide import JointGuide

# Known noise of standard deviation 1: the conjugate case.
UnitNormal = Regression


class Direct(Adapter):
    """y + W x with a latent W (m, n): the simplest adapter there is."""

    def factors(self, layer: Layer, generator: torch.Generator) -> dict[str, Factor]:
        return {"W": Factor(torch.zeros(layer.out_features, layer.in_features), "latent")}

    def apply(self, factors: Mapping, x: Tensor, y: Tensor, layer: Layer) -> Tensor:
        return y + factors["W"].linear(x)

    def delta(self, factors: Mapping[str, Tensor], layer: Layer) -> Tensor:
        return factors["W"]


@contextmanager
def problem(
    model: nn.Module,
    data: object,
    adapter: Adapter,
    guide: GuideSpec,
    *,
    latent_prior: Prior = Normal(scale=1.0),
    point_prior: Prior = Flat(),
    likelihood: Likelihood | None = None,
    train: TrainConfig = TrainConfig(),
    seed: int = 0,
) -> Iterator[Problem]:
    placements = [Placement(layer, adapter) for layer in find_layers(model, Targets(modules="all-linear"))]
    generator = torch.Generator().manual_seed(seed)
    factors = {p.layer.name: p.adapter.factors(p.layer, generator) for p in placements}
    stacks = stack_factors(factors, {"latent": latent_prior, "point": point_prior, "head": Flat(), "fixed": Flat()})
    joint_guide = JointGuide(stacks, guide, generator)
    examples = source_of(data, "train").examples(Padding(None, "right"))
    with Attachment(placements) as attachment:
        yield Problem(
            model=model,
            attachment=attachment,
            joint_guide=joint_guide,
            likelihood=likelihood or SequenceClassification(),
            examples=examples,
            train=train,
            device=torch.device("cpu"),
            seed=seed,
        )
