"""A number with its interval, and how numbers are written."""

from __future__ import annotations

import pytest

from bayespeft.report.metric import Metric, measured, value_of


def test_the_number_alone():
    assert value_of(Metric(0.5, 0.4, 0.6)) == value_of(0.5) == 0.5
    assert value_of(None) is None
    assert Metric(0.5, 0.4, 0.6).to_dict() == {"value": 0.5, "low": 0.4, "high": 0.6}
    assert str(Metric(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.000"), (-12.3456, "-12.35"), (12345.6, "12,346"), (0.00123456, "0.001235"), (1e-5, "1e-05"),
     (12345678.9, "1.235e+07")],
)  # fmt: skip
def test_four_digits_whatever_the_unit(value, text):
    assert measured(value) == text
