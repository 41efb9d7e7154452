"""Settings: JSON both ways, what the user set wins, errors that name the field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.adapters.base import Adapter
from bayespeft.adapters.core import Core
from bayespeft.config import Targets, TrainConfig
from bayespeft.errors import BayesPeftError, ConfigError
from bayespeft.methods.melora import METHOD
from bayespeft.priors.base import Prior
from bayespeft.priors.normal import Normal

fields = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.floats(0.1, 100),
        "lr": st.floats(0, 1),
        "steps": st.integers(1, 10**6),
        "kl_weight": st.floats(0, 10),
        "precision": st.sampled_from(["auto", "bf16", "float32"]),
    },
)


@given(fields)
def test_json_both_ways(values):
    train = TrainConfig(**values)
    assert TrainConfig.model_validate_json(train.model_dump_json()) == train


@given(fields, fields)
def test_what_the_user_set_wins_even_if_it_equals_the_default(user, method):
    merged = TrainConfig(**user).over(TrainConfig(**method))
    expected = {**TrainConfig().model_dump(), **method, **user}
    if "epochs" in user and "steps" not in user:
        expected["steps"] = None  # passes that the user asks for take the place of a method's steps
    assert merged.model_dump() == expected


def test_plugins_are_read_by_kind():
    assert Adapter.model_validate({"kind": "core", "r": 3}) == Core(r=3)
    assert Prior.model_validate({"kind": "normal", "scale": 0.5}).scale == 0.5
    assert Core(r=3).model_dump() == {"kind": "core", "r": 3, "alpha": 16.0, "anchored": False}
    with pytest.raises(ConfigError, match=r"adapter: .*Did you mean 'core'"):
        METHOD.replace(adapter="cores")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TrainConfig(epoch=3), "epoch: Extra inputs.*Fields: steps, epochs"),
        (lambda: TrainConfig(lr=-1), "lr: Input should be greater than or equal to 0"),
        (lambda: TrainConfig(lr=float("nan")), "lr: .*finite"),
        (lambda: TrainConfig(precision="fp8"), "precision: .*'auto', 'bf16' or 'float32'"),
        (lambda: Normal(scale=0), "scale: .*greater than 0"),
        (lambda: Core(r=0), "r: .*greater than or equal to 1"),
        (lambda: Targets(layers=(1, 2, 3)), "layers"),
    ],
)
def test_a_bad_value_names_its_field(build, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build()
    assert isinstance(caught.value, BayesPeftError)
    assert isinstance(caught.value, ValueError)


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        TrainConfig().lr = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "batches", "expected"),
    [
        ({"steps": 7}, 60, 7),
        ({"epochs": 1}, 6, 6),
        ({"epochs": 1, "accumulate": 3}, 6, 2),
        ({"epochs": 0.5}, 6, 3),
        ({"epochs": 16, "accumulate": 8}, 4, 8),
        ({"epochs": 0.1}, 1, 1),
    ],
)
def test_steps_override_epochs_and_accumulation_shortens(settings, batches, expected):
    assert TrainConfig(**settings).total_steps(batches) == expected


def test_a_run_that_decides_its_length_has_no_number_of_steps():
    with pytest.raises(ConfigError, match="steps='auto' leaves the number of steps to the run"):
        TrainConfig(steps="auto").total_steps(6)
