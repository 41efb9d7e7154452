"""The search for d90 on metrics whose answer is known, and on a network with a planted change."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.intrinsic import Intrinsic
from bayespeft.errors import ConfigError, DataError
from bayespeft.fitting.intrinsic_dimension import search


@given(st.integers(1, 3000), st.integers(1, 20), st.integers(20, 3000))
def test_a_step_is_found_exactly(step, smallest, largest):
    calls = []

    def metric(d: int) -> float:
        calls.append(d)
        return float(d >= step)

    found = search(metric, 0.9, smallest=smallest, largest=largest, fits=100)
    assert found.dimension == (max(step, smallest) if step <= largest else None)
    assert found.below == (None if step <= smallest else min(step - 1, largest))
    assert [d for d, _ in found.tried] == calls
    assert len(set(calls)) == len(calls) <= 2 * math.ceil(math.log2(largest)) + 2
    assert all(smallest <= d <= largest for d in calls)


def test_the_budget_of_fits_is_kept_and_what_is_known_is_said():
    found = search(lambda d: d / 1000, 0.5, smallest=8, largest=1024, fits=9)
    assert [d for d, _ in found.tried] == [8, 16, 32, 64, 128, 256, 512, 384, 448]
    assert (found.dimension, found.below, found.target) == (512, 448, 0.5)
    short = search(lambda d: d / 1000, 0.5, fits=3)
    assert (short.dimension, short.below) == (None, 32)


@pytest.mark.parametrize(
    "options", [{"smallest": 0}, {"smallest": 9, "largest": 8}, {"fits": 0}, {"target": math.inf}, {"target": math.nan}]
)
def test_bad_settings_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        search(lambda d: 1.0, **{"target": 0.9, **options})


def test_a_metric_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="d=8 is not a number"):
        search(lambda d: math.nan, 0.9)


class Planted:
    """Four classes told apart by W x, W (4, 6); the network starts at W minus a change in the span of d = 6 projections."""

    def __init__(self, d: int = 6) -> None:
        generator = torch.Generator().manual_seed(0)
        self.model = nn.Sequential(nn.Linear(6, 4, bias=False))
        layer = bayespeft.layers.layer.all_layers(self.model)["0"]
        weight = torch.randn(4, 6, generator=generator)
        adapter = Intrinsic(d=d, scale="one")
        change = adapter.delta({"theta": 3 * torch.randn(d, generator=generator)}, layer)
        self.model[0].weight.data = 3 * weight - change
        x = torch.randn(600, 6, generator=generator)
        y = (x @ (3 * weight).T).argmax(-1)
        self.train, self.validation = (x[:400], y[:400]), (x[400:], y[400:])
        self.options = {
            "method": bayespeft.methods()["intrinsic"].replace(adapter=adapter),
            "targets": "all-linear",
            "train": TrainConfig(steps=50, batch_size=100, lr=0.4),
            "progress": False,
        }


def test_a_planted_change_is_found_with_as_many_dimensions_as_it_has():
    """P for another d is another projection, so only d = 6 itself and whole-space d are sure to reach the planted weight."""
    case = Planted()
    before = case.model[0].weight.detach().clone()
    search = partial(
        bayespeft.intrinsic_dimension,
        case.model,
        case.train,
        case.validation,
        reference=1.0,
        share=0.97,
        **case.options,
    )
    found = search(smallest=1, largest=64, fits=8)
    metrics = dict(found.tried)
    # 24 weights are spanned by 32 directions; the scale of a softmax is free, and so are 6 of them (a common row).
    assert metrics[1] < 0.9
    assert found.dimension is not None
    assert found.below < found.dimension <= 32
    assert metrics[found.dimension] >= 0.97 > metrics[found.below]
    assert torch.equal(case.model[0].weight, before)
    assert search(smallest=6, largest=6, fits=1).dimension == 6


def test_the_reference_is_full_fine_tuning_unless_given():
    case = Planted()
    case.options["train"] = TrainConfig(steps=1)
    found = bayespeft.intrinsic_dimension(case.model, case.train, case.validation, fits=1, share=0.5, **case.options)
    full = bayespeft.fit(case.model, case.train, "full", targets="all-linear", progress=False)
    accuracy = float((full.predict(case.validation[0]).probs.argmax(-1) == case.validation[1]).double().mean())
    assert found.target == pytest.approx(0.5 * accuracy)
    assert len(found.tried) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "share=0.0"),
        ({"reference": 70.0}, "reference=70.0"),
        ({"method": "mle"}, "adapter 'lora'"),
        ({"adapter": "lora"}, "method="),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    case = Planted()
    with pytest.raises(ConfigError, match=message):
        bayespeft.intrinsic_dimension(case.model, case.train, case.validation, **{**case.options, **options})


def test_validation_needs_labels():
    case = Planted()
    with pytest.raises(DataError, match="labels"):
        bayespeft.intrinsic_dimension(case.model, case.train, case.validation[0], reference=1.0, **case.options)
