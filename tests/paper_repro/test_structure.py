"""Shares of the squared norm, on matrices whose structure is known."""

from __future__ import annotations

import pytest
import torch

measure = pytest.importorskip("paper_repro.structure.measure", reason="the measurements are only in the repository")


def test_a_rank_and_elements_explain_what_they_hold():
    diagonal = torch.diag(torch.tensor([4.0, 2.0, 2.0, 1.0]))
    assert measure.by_rank(diagonal, [1, 2, 4]) == pytest.approx([16 / 25, 20 / 25, 1.0])
    assert measure.by_count(diagonal, [1, 3, 16]) == pytest.approx([16 / 25, 24 / 25, 1.0])
    ones = torch.ones(4, 6)
    assert measure.by_rank(ones, [1]) == pytest.approx([1.0])
    assert measure.by_count(ones, [6]) == pytest.approx([0.25])


def test_both_together_explain_a_sum_that_neither_does():
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 40, 1, generator=generator, dtype=torch.double)
    sparse = torch.zeros(40, 40, dtype=torch.double)
    sparse[torch.arange(30), torch.arange(30)] = 9.0
    matrix = left @ right.T + sparse
    found = measure.structure(matrix, (2,))
    assert measure.by_both(matrix, sparse, [1], [30]) == pytest.approx([1.0])
    assert found["by_both"][0] > max(found["by_rank"][0], found["by_count"][0])
    assert found["low_rank"]["rank"] == 1
    assert found["sparse"]["density"] == pytest.approx(30 / 1600, rel=0.1)
