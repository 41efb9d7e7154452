"""What is known of how two predictions were made is compared, and the first difference is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bayespeft.errors import ConfigError
from bayespeft.report.making import Making, check_made_alike, making_of

MADE = Making("digest", 1.5, "plain", 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"posterior": "other", "seed": 1}, "one was predicted by another posterior than two: why"),
        ({"temperature": 2.5, "seed": 1}, "one was predicted with temperature 2.5, and two with 1.5: why"),
        ({"sampling": "sobol"}, "one was predicted with sampling 'sobol', and two with 'plain': why"),
        ({"seed": None}, "one was predicted with seed None, and two with 0: why"),
    ],
)
def test_the_first_difference_is_named(change, words):
    with pytest.raises(ConfigError, match=words):
        check_made_alike("one", "two", replace(MADE, **change), MADE, consequence="why")


def test_what_nobody_knows_is_not_compared():
    check_made_alike("one", "two", None, MADE, consequence="why")
    check_made_alike("one", "two", MADE, None, consequence="why")
    check_made_alike("one", "two", MADE, replace(MADE), consequence="why")
    assert making_of(object()) is None
    assert making_of(type("Other", (), {"making": "by hand"})()) is None
