"""Examples that read others keep what those know of themselves: how many, how long, on which side they are padded."""

from __future__ import annotations

import pytest
import torch

from bayespeft.data.padding import Padding
from bayespeft.data.sample import Sample
from bayespeft.data.source import source_of
from bayespeft.data.takes import FittingExamples, Takes
from bayespeft.data.unlabelled import UnlabelledExamples
from bayespeft.data.wrapped import WrappedExamples

ROWS = [{"input_ids": list(range(1, n + 1)), "labels": n % 2} for n in (2, 4, 3)]


def examples():
    return source_of(ROWS).examples(Padding(0))


WRAPPERS = {
    "plain": WrappedExamples,
    "unlabelled": UnlabelledExamples,
    "fitting": lambda own: FittingExamples(own, Takes(names=frozenset({"input_ids", "attention_mask"}))),
    "sample": lambda own: Sample(own, 100),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_sides_and_uneven_rows_are_those_of_what_is_wrapped(name):
    own = examples()
    found = WRAPPERS[name](own)
    assert found.side == own.side == "right"
    (other,) = found.sides()
    assert type(other) is type(found)
    assert other.side == "left"
    assert len(other) == len(found)
    assert torch.equal(found.uneven().index, own.uneven().index)
    assert (found.uneven().labels is None) == (name == "unlabelled")


@pytest.mark.parametrize("name", WRAPPERS)
def test_as_many_are_counted_as_there_are_or_as_a_sample_stands_for(name):
    found = WRAPPERS[name](examples())
    n = 100 if name == "sample" else 3
    assert len(found) == n
    assert found.batch_count(2) == -(-n // 2)
    assert found.rows_per_batch(2) == n / found.batch_count(2)
    assert [len(batch) for batch in found.batches(2)] == [2, 1]


def test_a_part_is_wrapped_as_the_whole_and_none_is_taken_of_a_sample():
    found = UnlabelledExamples(examples()).subset(torch.tensor([2, 0]))
    (batch,) = found.batches(2)
    assert batch.labels is None
    assert found.labels() is None
    assert batch.inputs["attention_mask"].sum(1).tolist() == [3, 2]
    assert Sample(examples(), 100).subset(torch.tensor([0])) is None
