"""Texts of options become settings."""

from __future__ import annotations

import pytest

from bayespeft.cli import parsing
from bayespeft.config import Targets
from bayespeft.errors import ConfigError


@pytest.mark.parametrize(
    ("names", "layers", "expected"),
    [
        (None, None, Targets()),
        ("auto", None, Targets()),
        (None, "4-11", Targets(layers=(4, 11))),
        ("all-linear", "4-11", Targets(modules="all-linear", layers=(4, 11))),
        ("q_proj,v_proj", "7", Targets(modules=["q_proj", "v_proj"], layers=(7, 7))),
        ("bert.encoder.layer.0.output.dense", None, Targets(modules=["bert.encoder.layer.0.output.dense"])),
        (r".*layer\.\d+\..*query", None, Targets(modules=r".*layer\.\d+\..*query")),
    ],
)
def test_names_patterns_and_blocks_become_targets(names, layers, expected):
    found = parsing.targets(names, layers)
    assert found == expected
    # What was not given is left to the method.
    assert ("modules" in found.model_fields_set, "layers" in found.model_fields_set) == (bool(names), bool(layers))


def test_excluded_layers_are_names_or_patterns():
    found = parsing.targets("all-linear", None, ["lm_head,o_proj", r"model\.layers\.[0-3]\..*", "gate"])
    assert found == Targets(modules="all-linear", exclude=["lm_head", "o_proj", r"model\.layers\.[0-3]\..*", "gate"])
    assert "exclude" not in parsing.targets("all-linear", None, []).model_fields_set
    assert parsing.targets(None, None, ["a{1,2}"]).exclude == ["a{1,2}"]


def test_lists_and_options_are_read_or_refused():
    assert parsing.names(" mle, melora,") == ["mle", "melora"]
    assert parsing.numbers("0,1, 2") == [0, 1, 2]
    assert parsing.data_options(["groups=a,b", "config=x"]) == {"groups": ["a", "b"], "config": "x"}
    with pytest.raises(ConfigError, match="data option 'groups' is named twice"):
        parsing.data_options(["groups=a", "groups=b"])
    with pytest.raises(ConfigError, match="whole numbers"):
        parsing.numbers("0,1.5")
