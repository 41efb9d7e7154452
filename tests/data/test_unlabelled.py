"""Data whose labels do not matter."""

from __future__ import annotations

import datasets
import torch

from bayespeft.data.source import source_of

ROWS = [{"text": "abc", "label": 1}, {"text": "d", "label": 0}, {"text": "ef", "label": 1}]


X, Y = torch.arange(6.0).reshape(3, 2), torch.arange(3)


def test_labels_that_do_not_matter_are_not_read():
    source = source_of(datasets.Dataset.from_list(ROWS).cast_column("label", datasets.ClassLabel(names=["a", "b"])))
    assert source.class_names == ("a", "b")
    bare = source.without_labels()
    assert list(bare.rows) == [{"text": row["text"]} for row in ROWS]
    assert bare.class_names == ()
    (batch,) = source_of((X, Y)).without_labels().examples().batches(3)
    assert batch.labels is None
    assert torch.equal(batch.inputs, X)
