"""Fits of a few steps to tiny networks: each one is made once, however many tests look at it."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bayespeft
from bayespeft import Posterior, TrainConfig
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.core import Core
from bayespeft.data.source import source_of
from bayespeft.fitting.assemble import assemble
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.mean_field import MeanField
from bayespeft.methods.base import Method
from bayespeft.predictive.categorical import Predictive
from bayespeft.priors.base import Prior
from bayespeft.priors.normal import Normal
from bayespeft.testing import networks
from bayespeft.utils.randomness import seeded

STEPS = 4
DATA = {"bert": networks.sentences, "llama": networks.questions}


def method_of(
    adapter: Adapter | None = None, guide: GuideSpec | None = None, prior: Prior | None = None, **changes: Any
) -> Method:
    """Return a method of these parts; what is left out is a small core, mean field, and a normal prior."""
    return Method(
        name="tested",
        title="tested",
        reference="none",
        summary="none",
        adapter=adapter or Core(r=3),
        guide=guide or MeanField(),
        latent_prior=prior or Normal(scale=0.5),
        train=TrainConfig(lr=0.01, batch_size=8),
        **changes,
    )


def quick(method: Method) -> Method:
    """Return a method that fits in a few steps, whatever its spread is worth then."""
    if "verify" in type(method.guide).model_fields:
        return method.replace(guide=method.guide.replace(verify=False))
    return method


@cache
def _fitted(method: str, network: str) -> Posterior:
    chosen = quick(Method.model_validate_json(method))
    data = DATA[network]()
    with warnings.catch_warnings():
        # A few steps teach a network nothing, which a method that fits a temperature to it says.
        warnings.filterwarnings("ignore", "no temperature is best")
        return bayespeft.fit(
            getattr(networks, network)(),
            data,
            chosen,
            tokenizer=networks.tokenizer(),
            train=TrainConfig(steps=STEPS),
            validation=data if chosen.temperature else None,
            progress=False,
        )


def fitted(method: Method, network: str = "bert") -> Posterior:
    """Return the posterior of a few steps on "bert" or "llama"; the same object for the same method."""
    return _fitted(method.model_dump_json(), network)


def at_start(method: Method) -> dict[str, Tensor]:
    """Return the state of the joint guide that `fitted` starts at, on "bert"."""
    train = TrainConfig(steps=STEPS).over(method.train)
    with (
        seeded(0),
        assemble(
            networks.bert(),
            source_of(networks.sentences(), "train"),
            quick(method).replace(train=train),
            tokenizer=networks.tokenizer(),
        ) as assembly,
    ):
        return {name: value.clone() for name, value in assembly.problem.joint_guide.state_dict().items()}


def check_round_trip(method: Method, folder: Path) -> Predictive:
    """Fit, predict, save, load onto the network as it was, predict the same; return the prediction.

    Raises:
        AssertionError: it is not the same, or not one of probabilities.
    """
    posterior, data = fitted(method), networks.sentences()
    predictive = posterior.predict(data, draws=3)
    assert isinstance(predictive, Predictive)
    total = predictive.probs.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    posterior.save(folder / "saved")
    loaded = bayespeft.load(folder / "saved", networks.bert(), tokenizer=networks.tokenizer())
    again = loaded.predict(data, draws=3)
    assert isinstance(again, Predictive)
    assert torch.equal(again.log_probs, predictive.log_probs), (
        "a posterior predicts something else when it is loaded again"
    )
    one_by_one = posterior.predict(data, draws=3, draws_per_pass=1)
    assert isinstance(one_by_one, Predictive)
    torch.testing.assert_close(one_by_one.log_probs, predictive.log_probs, atol=1e-4, rtol=1e-4)
    return predictive
