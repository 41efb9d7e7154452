"""Some of N examples, and one batch: they are read as they are, and N counts."""

from __future__ import annotations

import torch

from bayespeft.data.batch import Batch
from bayespeft.data.sample import OneBatch, Sample
from bayespeft.data.source import source_of


def test_all_examples_count_and_those_that_are_here_are_read():
    x, y = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 0, 1])
    sample = Sample(source_of((x, y)).examples(), 100)
    assert len(sample) == 100
    assert sum(len(batch) for batch in sample.batches(3)) == 4
    assert torch.equal(sample.labels(), y)


def test_one_batch_is_one_batch_whatever_the_size_that_is_asked_for():
    x, y = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 0, 1])
    batch = next(iter(source_of((x, y)).examples().batches(4)))
    assert isinstance(batch, Batch)
    one = OneBatch(batch)
    assert (len(one), one.batch_count(1)) == (4, 1)
    (found,) = one.batches(1)
    assert found is batch
    assert torch.equal(one.labels(), y)
