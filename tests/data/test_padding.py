import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.data.padding import Padding, Ragged
from bayespeft.errors import ConfigError, DataError

sequences = st.lists(st.lists(st.integers(-100, 60_000), min_size=1, max_size=12), min_size=1, max_size=20)


def ragged(rows):
    column = Ragged("input_ids")
    for row in rows:
        column.append(row)
    return column


@given(sequences, st.data(), st.sampled_from(["left", "right"]))
def test_padded_is_the_sequence_and_fill(rows, data, side):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    padded = ragged(rows).padded(torch.tensor(chosen), -7, side)
    width = max(len(rows[k]) for k in chosen)
    fills = [[-7] * (width - len(rows[k])) for k in chosen]
    expected = [(fill + rows[k]) if side == "left" else (rows[k] + fill) for k, fill in zip(chosen, fills, strict=True)]
    assert padded.tolist() == expected
    assert padded.dtype == torch.int64


@given(sequences)
def test_lengths(rows):
    column = ragged(rows)
    assert column.lengths().tolist() == [len(row) for row in rows]
    assert len(column) == len(rows)


def test_tensors_and_arrays_are_sequences():
    column = ragged([torch.tensor([1, 2]), torch.tensor([3]).numpy(), (4, 5, 6)])
    assert column.padded(torch.arange(3), 0).tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]


def test_all_ones():
    assert ragged([[1, 1], [1]]).all_ones()
    assert not ragged([[1, 1], [0]]).all_ones()


@pytest.mark.parametrize("bad", [[1.5], [None], ["a"], [[1, 2]], torch.tensor([[1, 2]]), 7, [2**40]])
def test_anything_but_integers_is_an_error_that_names_column_and_row(bad):
    with pytest.raises(
        DataError, match=r"column 'input_ids' of row 1 is no flat list of integers.*without return_tensors"
    ):
        ragged([[1], bad])


def test_an_empty_sequence_is_an_error():
    with pytest.raises(DataError, match=r"column 'input_ids' of row 1 is empty"):
        ragged([[1], []])


def test_the_side_is_checked():
    with pytest.raises(ConfigError, match="padding side is 'middle', expected 'right' or 'left'"):
        Padding(0, "middle")
