"""Arrays, data frames and series are as good as tensors; what is no number is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import TensorDataset

from bayespeft.data.source import source_of
from bayespeft.data.tensors import TensorExamples
from bayespeft.errors import DataError

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6) % 3


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X, Y.tolist()),
        (X, pd.Series(Y)),
        (pd.DataFrame(X), pd.Series(Y, index=range(10, 16))),
        (pd.DataFrame(X, dtype=object), pd.Series(Y.tolist(), dtype=object)),
        (torch.tensor(X), Y),
        (X[::-1][::-1], Y),
        (np.asfortranarray(X), Y),
        (X.astype(">f8"), Y.astype(">i2")),
        (np.ma.masked_invalid(X), Y),
        TensorDataset(torch.tensor(X), torch.tensor(Y)),
    ],
)
def test_every_form_is_the_same_pair(data):
    examples = source_of(data).examples()
    assert isinstance(examples, TensorExamples)
    (batch,) = examples.batches(6)
    assert torch.equal(batch.inputs, torch.tensor(X))
    assert torch.equal(batch.labels, torch.tensor(Y))
    assert source_of(data).raw_rows is None


def test_an_array_alone_has_no_labels():
    (batch,) = source_of(X[::-1]).examples().batches(6)
    assert torch.equal(batch.inputs, torch.tensor(X).flip(0))
    assert batch.labels is None


def test_the_callers_array_is_not_written_to():
    fixed = X.copy()
    fixed.flags.writeable = False
    (batch,) = source_of((fixed, Y)).examples().batches(6)
    batch.inputs.zero_()
    assert fixed[5, 1] == 11


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((pd.DataFrame({"a": ["x"] * 6}), Y), "X is an array of object.*leave out, or encode, columns that are no"),
        ((X, np.array(["a"] * 6)), r"Y is an array of <U1.*number the classes 0, 1, \.\.\."),
        ((X, Y, Y), "a tuple of 3"),
        ((X, Y[:4]), "X has 6 examples and Y has 4"),
        ((X * np.nan, Y), "the input of example 0: NaN or infinite"),
    ],
)
def test_errors(data, message):
    with pytest.raises(DataError, match=message):
        source_of(data).examples()


@pytest.mark.parametrize("form", [pd.Series, pd.DataFrame])
def test_frames_with_one_index_in_two_orders_are_no_pair(form):
    """The rows of y were shuffled alone: each x would have the label of another."""
    x, y = pd.DataFrame(X, index=range(10, 10 + len(X))), form(Y, index=range(10, 10 + len(X)))
    shuffled = y.iloc[::-1]
    with pytest.raises(
        DataError, match=r"same index in different orders \(row 0 is 10 of X, and 1\d of Y\).*Y\.loc\[X\.index\]"
    ):
        source_of((x, shuffled))
    assert len(source_of((x, shuffled.loc[x.index])).examples()) == len(X)
    assert len(source_of((x, shuffled.reset_index(drop=True))).examples()) == len(X)  # numbered anew, on purpose
