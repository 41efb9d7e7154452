"""Which examples are the same ones again."""

from __future__ import annotations

import torch

from bayespeft.data.repeats import firsts
from bayespeft.data.source import source_of


def test_examples_of_the_same_inputs_share_the_position_of_the_first():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [5.0, 6.0], [3.0, 4.0], [1.0, 2.0]])
    labels = torch.tensor([0, 1, 1, 0, 1, 0])  # annotators differ
    assert firsts(source_of((x, labels)).examples()).tolist() == [0, 1, 0, 3, 1, 0]


def test_zeros_of_either_sign_are_told_apart_from_nothing_but_themselves():
    x = torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0 + 1e-6]])
    assert firsts(source_of((x, torch.zeros(3, dtype=torch.int64))).examples()).tolist() == [0, 1, 2]
