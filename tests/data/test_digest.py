"""Whatever form data has, its hash is that of all numbers in their order, and says nothing else."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from bayespeft.data.padding import Padding
from bayespeft.data.source import source_of

X, Y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
ROWS = [{"input_ids": [1] * (k + 1), "token_type_ids": [0] * (k + 1), "labels": k % 2} for k in range(10)]


def forms(x, y):
    yield source_of((x, y)).examples()
    yield source_of(list(zip(x, y, strict=True))).examples()
    yield source_of(DataLoader(TensorDataset(x, y), 4)).examples()


def test_the_same_data_has_the_same_hash_and_another_number_another():
    for first, again in zip(forms(X, Y), forms(X.clone(), Y.clone()), strict=True):
        assert first.digest() == again.digest()
    for place in range(2):
        other = [X.clone(), Y.clone()]
        other[place][-1] += 1
        for before, after in zip(forms(X, Y), forms(*other), strict=True):
            assert before.digest() != after.digest()
    for before, after in zip(forms(X, Y), forms(X.flip(0), Y.flip(0)), strict=True):
        assert before.digest() != after.digest()


@pytest.mark.parametrize("padding", [Padding(), Padding(0, "left")])
@pytest.mark.parametrize(
    "change",
    [
        {"input_ids": [1] * 9 + [2]},
        {"input_ids": [1] * 11, "token_type_ids": [0] * 11},
        {"token_type_ids": [0] * 9 + [1]},
        {"labels": 0},
    ],
)
def test_rows_need_no_padding_for_it(padding, change):
    before = source_of(ROWS).examples(padding=padding).digest()
    assert source_of([dict(row) for row in ROWS]).examples(padding=padding).digest() == before
    assert source_of([*ROWS[:-1], ROWS[-1] | change]).examples(padding=padding).digest() != before


def test_where_a_number_stands_counts():
    one = [{"input_ids": [1, 2]}, {"input_ids": [3]}]
    two = [{"input_ids": [1]}, {"input_ids": [2, 3]}]
    assert source_of(one).examples().digest() != source_of(two).examples().digest()
