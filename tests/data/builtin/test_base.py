"""What data sets say of themselves, and from where they are read."""

from __future__ import annotations

import pytest

from bayespeft import registry
from bayespeft.data.builtin.base import BuiltinDataset
from bayespeft.errors import UnknownNameError

ROOM = "data.builtin"


@pytest.mark.parametrize("name", registry.names(ROOM))
def test_what_a_data_set_says_of_itself(name):
    dataset = registry.get(ROOM, name)
    assert isinstance(dataset, BuiltinDataset)
    assert dataset.name == name
    assert len(dataset.reference) > 20
    assert "train" in dataset.splits
    assert dataset.labels is None or len(set(dataset.labels)) == len(dataset.labels) > 1
    with pytest.raises(UnknownNameError, match=f"{name} has no split 'nope'. Its splits: train"):
        dataset.load("nope")
