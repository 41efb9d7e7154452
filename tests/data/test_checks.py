"""Values that no training should see are told, with the example that has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bayespeft
from bayespeft.data import checks
from bayespeft.data.loader import batch_of
from bayespeft.data.tensors import PairExamples, TensorExamples
from bayespeft.errors import ConfigError, DataError


def test_nan_is_found_in_any_chunk(monkeypatch):
    monkeypatch.setattr(checks, "_CHUNK", 8)
    x = torch.zeros(11, 3)
    x[7, 1] = float("inf")
    with pytest.raises(DataError, match="the input of example 7: NaN or infinite"):
        TensorExamples(x)
    TensorExamples(torch.zeros(0, 3, dtype=torch.long).new_zeros(11, 3))  # integers have no NaN


def test_the_example_is_named_by_its_position_in_the_data():
    values = torch.ones(3, 2)
    values[1, 0] = float("inf")
    with pytest.raises(DataError, match="the input of example 7: NaN or infinite"):
        checks.check_finite(values, "the input", torch.tensor([5, 7, 2]))
    checks.check_finite(values.long(), "the input")


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (torch.tensor([1, 0], dtype=torch.uint8), torch.int64),
        (torch.tensor([True, False]), torch.int64),
        (torch.tensor([1.5, 0.0], dtype=torch.float16), torch.float32),
    ],
)
def test_labels_are_whole_numbers_or_floats(labels, dtype):
    found = checks.label_tensor(labels)
    assert found.dtype == dtype
    assert torch.equal(found, labels.to(dtype))


def test_labels_that_are_right_are_not_copied_and_complex_ones_are_none():
    right = torch.tensor([1, 0])
    assert checks.label_tensor(right) is right
    with pytest.raises(DataError, match="complex"):
        checks.label_tensor(torch.ones(1, dtype=torch.complex64))
    with pytest.raises(DataError, match="the label of example 1"):
        checks.label_tensor(torch.tensor([0.0, float("nan")]))


@pytest.mark.parametrize("kind", [torch.float64, torch.int64])
def test_labels_that_float32_can_not_tell_apart_are_warned_of(kind):
    seconds = 1_700_000_000 + torch.arange(60).to(kind)
    near = 1_700_000 + torch.arange(60).to(kind)
    assert torch.equal(checks.as_float32(near, "labels"), near.float())
    with pytest.warns(
        UserWarning, match=r"labels are about 1.7e\+09 and differ by about 17.5, .*: subtract a constant"
    ):
        checks.as_float32(torch.stack([near, seconds], 1), "labels")
    with pytest.warns(UserWarning, match=r"labels \(column 'y'\) are about"):
        checks.label_values([1.7e9 + 0.5 * i for i in range(40)], "y")
    assert torch.equal(checks.as_float32(seconds[:1], "labels"), seconds[:1].float())
    assert torch.equal(
        checks.as_float32(torch.full((4, 2), 0.1, dtype=torch.float64), "labels"), torch.full((4, 2), 0.1)
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, np.int64(0), torch.tensor(2)], torch.tensor([1, 0, 2])),
        ([1, 0.5], torch.tensor([1.0, 0.5])),
        ([np.float32(0.5), True], torch.tensor([0.5, 1.0])),
    ],
)
def test_numbers_of_any_library_are_labels(values, expected):
    found = checks.label_values(values, "label")
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "is None: the row has no label"),
        (float("nan"), "is nan: the row has no label"),
        (np.float64("nan"), "the row has no label"),
        ("yes", r"is 'yes' \(str\): a label is an integer"),
        ([1], r"\(list\): a label is"),
        (float("inf"), r"inf \(float\): a label is"),
        (10**30, r"is 1e\+30: a label is an integer of at most 64 bits"),
        (-(2**63), "a label is an integer of at most 64 bits"),
    ],
)
def test_what_is_no_label_names_column_and_row(value, message):
    with pytest.raises(DataError, match=f"column 'y' of row 1 .*{message}"):
        checks.label_values([0, value], "y")


def test_a_batch_has_an_example():
    checks.check_batch_size(1)
    with pytest.raises(DataError, match="batch_size is 0"):
        checks.check_batch_size(0)


LAYOUTS = {
    "coo": lambda: torch.eye(4).to_sparse(),
    "csr": lambda: torch.eye(4).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(2)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.filterwarnings("ignore:.*(in beta state|in prototype stage)")
def test_tensors_that_are_not_plain_are_refused_wherever_data_are_read(make):
    plain, values = torch.ones(4, 3), make()
    reads = [
        lambda: TensorExamples(values),
        lambda: TensorExamples(plain, values),
        lambda: next(iter(PairExamples([(values, 0)]).batches(1))),
        lambda: next(iter(PairExamples([(plain, values)]).batches(1))),
        lambda: batch_of((values, torch.zeros(4, dtype=torch.long))),
        lambda: batch_of({"x": plain, "labels": values}),
    ]
    for read in reads:
        with pytest.raises(DataError, match=r"is a (nested|sparse .*) tensor; rows are read from plain ones"):
            read()
    with pytest.raises(ConfigError, match=r"evaluate: probs is a (nested|sparse .*) tensor: pass a plain one"):
        bayespeft.evaluate(values, [0, 1, 2, 3])
