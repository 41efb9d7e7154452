"""The weight of the prior, chosen with the length of a run by rows that are held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.likelihoods.regression import Regression
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.priors.fan_in import FanIn
from bayespeft.training import cross_fitting as module
from bayespeft.training import held_out
from bayespeft.training.cross_fitting import choose
from bayespeft.training.lookout import DRAWS
from tests.training.points import FREE, OPTIONS, points

SETTINGS = FREE.replace(most_steps=200, kl_weights=(0.1,), kl_pace=0.0, kl_warmup=0.0)


def tight(scale):
    """MAP under a prior that lets nothing be learned, or anything."""
    return registry.get("methods", "map").replace(point_prior=FanIn(scale=scale), head_prior=FanIn(scale=scale))


def runs_of(monkeypatch, module=module):
    """Count the runs of a fit by the weight of the prior that each has, all rows' last."""
    seen, real = [], module.resolved

    def counted(train, steps):
        seen.append(round(train.kl_weight, 6))
        return real(train, steps)

    monkeypatch.setattr(module, "resolved", counted)
    return seen


def test_a_prior_that_is_too_strong_is_weighed_less(mlp, monkeypatch):
    seen = runs_of(monkeypatch)
    posterior = bayespeft.fit(mlp, points(90, 0.0), tight(0.1), train=SETTINGS, **OPTIONS)
    ended = posterior.history.ended
    assert ended.kl_weight == 0.1
    assert "the prior at 0.1 of its weight" in str(ended)
    assert posterior.history.records[-1].kl_weight == pytest.approx(0.1)
    assert seen[:2] == [1.0, 0.1]
    held = bayespeft.fit(
        mlp, points(90, 0.0), tight(0.1), train=SETTINGS.replace(kl_weight=1.0, kl_weights=()), **OPTIONS
    )
    test = points(400, 0.0, seed=1)
    assert posterior.report(test, quotes=0).nll.value < held.report(test, quotes=0).nll.value - 0.1


def test_labels_that_are_noise_leave_the_prior_as_it_is(mlp, monkeypatch):
    seen = runs_of(monkeypatch)
    posterior = bayespeft.fit(mlp, points(90, 1.0), "map", train=SETTINGS, **OPTIONS)
    assert posterior.history.ended.kl_weight == 1
    assert "of its weight" not in str(posterior.history.ended)
    assert seen[-1] == 1


@pytest.mark.parametrize(
    ("method", "train", "weight"),
    [("map", SETTINGS.replace(kl_weight=0.5, kl_weights=()), 0.5), ("mle", SETTINGS, 1.0)],
    ids=["set by the user", "no prior"],
)
def test_there_is_nothing_to_choose(method, train, weight, mlp, monkeypatch):
    seen = runs_of(monkeypatch)
    posterior = bayespeft.fit(mlp, points(60, 0.2), method, train=train.replace(most_steps=60), **OPTIONS)
    assert posterior.history.ended.kl_weight == weight
    assert seen == [weight] * 4


def test_a_weight_that_the_user_sets_takes_the_place_of_those_to_choose_among():
    assert TrainConfig(kl_weight=0.5).over(SETTINGS).kl_weights == ()
    assert TrainConfig(lr=1).over(SETTINGS).kl_weights == (0.1,)
    assert TrainConfig(kl_weight=0.5, kl_weights=(2.0,)).over(SETTINGS).kl_weights == (2.0,)


def test_of_validation_data_the_better_state_is_kept(mlp):
    """It is that of a fit under this weight alone."""
    data = {"data": points(90, 0.0), "validation": points(200, 0.0, seed=1), **OPTIONS}
    chosen = bayespeft.fit(mlp, guide=tight(0.1), train=SETTINGS, **data)
    weights = {w: SETTINGS.replace(kl_weight=w, kl_weights=()) for w in (1.0, 0.1)}
    alone, other = (bayespeft.fit(mlp, guide=tight(0.1), train=weights[w], **data) for w in (0.1, 1.0))
    for name, mean in alone.joint_guide.mean().items():
        assert torch.equal(mean, chosen.joint_guide.mean()[name])
    assert chosen.history.ended.kl_weight == 0.1
    assert chosen.history.ended.search_steps == other.history.steps
    assert chosen.temperature == alone.temperature


def test_the_temperature_is_that_of_a_fit_to_all_rows(mlp, monkeypatch):
    seen, real = [], module.of_all_rows

    def spied(*args):
        seen.append(args)
        return real(*args)

    monkeypatch.setattr(module, "of_all_rows", spied)
    data = points(60, 0.4)
    posterior = bayespeft.fit(mlp, data, "melora", train=SETTINGS.replace(most_steps=60), **OPTIONS)
    ((temperature, share, held, own),) = seen
    assert share == pytest.approx(2 / 3)
    assert held == pytest.approx(min(nll for _, nll in posterior.history.ended.curve), rel=0.1)
    prediction = replace(posterior, temperature=1.0).predict(data, draws=DRAWS, keep_draws=True)
    assert own == pytest.approx(prediction.tempered_nll(1.0), abs=1e-5)
    assert posterior.temperature == real(temperature, share, held, own) != temperature


def test_another_weight_must_be_better_by_a_standard_error():
    assert choose([0.7, 0.66], 100) == 0
    assert choose([0.7, 0.64], 100) == 1
    assert choose([0.7, 0.66], 400) == 1
    assert choose([0.7, 0.5, 0.499], 100) == 2


@pytest.mark.parametrize(
    ("scale", "noise", "weights"),
    [(0.05, 0.0, {1.0, 0.1, 0.01}), (1.0, 1.0, {1.0, 0.1})],
    ids=["each leads the one before", "the first does not lead"],
)
@pytest.mark.parametrize("form", ["cross-fitted", "validation"])
def test_a_lighter_weight_is_tried_where_the_one_before_led(form, scale, noise, weights, mlp, monkeypatch):
    seen = runs_of(monkeypatch, module if form == "cross-fitted" else held_out)
    validation = {"validation": points(200, noise, seed=1)} if form == "validation" else {}
    settings = SETTINGS.replace(kl_weights=(0.1, 0.01))
    posterior = bayespeft.fit(mlp, points(90, noise), tight(scale), train=settings, **validation, **OPTIONS)
    first = seen[: len(weights)]
    assert first == sorted(weights, reverse=True)
    assert set(seen) <= weights
    assert posterior.history.ended.kl_weight in weights
    if noise == 0:
        assert posterior.history.ended.kl_weight == 0.01


@dataclass
class Seen:
    """What a weight's curves came to so far."""

    lowest: float
    sizes: tuple[int, ...] = (100,)


@pytest.mark.parametrize(
    ("nlls", "goes_on"),
    [
        ((0.5, 0.6), (0.5,)),
        ((0.5, 0.45), (0.5, 0.45)),
        ((0.7, 0.5), (0.5,)),
        ((0.7, 0.66, 0.64), (0.7, 0.64)),
        ((0.7, 0.64, 0.66), (0.7, 0.64)),
        ((0.5,), (0.5,)),
    ],
    ids=["behind", "ahead", "far ahead", "two others", "the last behind", "alone"],
)
def test_another_weight_is_tried_while_it_leads(nlls, goes_on):
    assert tuple(one.lowest for one in module._in_the_race([Seen(nll) for nll in nlls], 1.0)) == goes_on


@pytest.mark.parametrize(("rows", "step"), [(100, 29), (10_000, 24)])
def test_of_the_steps_that_held_out_rows_cannot_tell_apart_the_last_is_taken(rows, step):
    """A hundredth of a nat is nothing to a hundred rows, and much to ten thousand."""
    halves = [
        {20: (0.9, 0.8), 24: (0.5, 0.7), 29: (0.6, 0.52), 35: (0.6, 0.61)},
        {20: (0.9, 0.8), 24: (0.5, 0.7), 29: (0.7, 0.5), 35: (0.6, 0.62), 42: (0.1, 0.1)},
    ]
    of_classes = SimpleNamespace(likelihood=SequenceClassification())
    tried = module.Tried(of_classes, 42, curves=halves, sizes=[rows // 2, rows // 2])
    assert (tried.best, tried.lowest, tried.latest) == (24, 0.5, step)
    # The NLL of quantities has no zero that its share could be taken of.
    tried.problem = SimpleNamespace(likelihood=Regression())
    assert tried.latest == 24
