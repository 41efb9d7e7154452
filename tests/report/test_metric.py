"""A number with its interval, and how numbers are written."""

from __future__ import annotations

import pytest

from bayespeft.report.metric import Metric, cells, counted, measured, value_of


def test_the_number_alone():
    assert value_of(Metric(0.5, 0.4, 0.6)) == value_of(0.5) == 0.5
    assert value_of(None) is None
    assert str(Metric(0.5, 0.4, 0.6)) == "0.500 [0.400, 0.600]"


def test_a_rising_function_takes_the_ends_along():
    assert Metric(4.0, 1.0, 9.0).through(lambda square: square**0.5) == Metric(2.0, 1.0, 3.0)


def test_cells_are_value_and_interval_as_far_as_they_are_known():
    assert cells(Metric(0.5, 0.4, 0.6), "{:.1f}".format) == ("0.5", "[0.4, 0.6]")
    assert cells(0.5, "{:.1f}".format) == ("0.5", "")
    assert cells(None, "{:.1f}".format) == ("-", "")


def test_counts_go_with_their_nouns():
    found = [counted(*one) for one in ((1, "row"), (0, "row"), (2000, "row"), (1, "class"), (2, "class"))]
    assert found == ["1 row", "0 rows", "2,000 rows", "1 class", "2 classes"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1.000"), (-12.3456, "-12.35"), (12345.6, "12,346"), (0.00123456, "0.001235"), (1e-5, "1e-05"),
     (12345678.9, "1.235e+07")],
)  # fmt: skip
def test_four_digits_whatever_the_unit(value, text):
    assert measured(value) == text
