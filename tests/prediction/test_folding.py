"""Draws of a pass: what the user says, else what memory allows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.errors import ConfigError
from bayespeft.prediction.folding import SHARE, Folding, fitting

CPU = torch.device("cpu")


@given(st.integers(1, 100), st.integers(0, 10**10), st.integers(0, 10**11))
def test_what_fits_is_never_none_never_more_than_all_and_stays_within_the_share(draws, each, free):
    fit = fitting(draws, each, free)
    assert 1 <= fit <= draws
    assert fit == 1 or fit * each <= SHARE * free


def test_more_memory_never_means_fewer_draws():
    sizes = [fitting(50, 10**8, free) for free in range(0, 10**10, 10**8)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 50


def test_the_users_number_is_kept_up_to_all_draws():
    assert Folding(3, 10, CPU).size(1000) == 3
    assert Folding(30, 10, CPU).size(1) == 10


def test_auto_on_a_cpu_keeps_rows_about_constant():
    assert [Folding("auto", 10, CPU).size(batch) for batch in (1, 16, 32, 500)] == [10, 4, 2, 1]


def test_auto_on_a_cpu_keeps_tokens_about_constant_where_rows_are_long():
    assert [Folding("auto", 10, CPU).size(8, length) for length in (1, 16, 64, 128, 4096)] == [8, 8, 4, 2, 1]
    assert Folding(7, 10, CPU).size(8, 4096) == 7
    assert Folding("auto", 10, torch.device("cuda")).size(8, 4096) == 8


@pytest.mark.parametrize("wanted", [0, -1, "many", 2.5])
def test_anything_else_is_an_error(wanted):
    with pytest.raises(ConfigError, match="draws_per_pass"):
        Folding(wanted, 10, CPU)
