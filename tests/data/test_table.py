"""Tables of tokens: batches, padding, and what stands beside the tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.table import TokenTable
from bayespeft.errors import DataError

PAD = 999


token_rows = st.lists(st.lists(st.integers(0, 900), min_size=1, max_size=15), min_size=1, max_size=60)


def labelled(rows, **more):
    return [{"input_ids": ids, "labels": number, **more} for number, ids in enumerate(rows)]


def generator(seed):
    return None if seed is None else torch.Generator().manual_seed(seed)


@given(token_rows, st.integers(1, 25), st.none() | st.integers(0, 3), st.sampled_from(["right", "left"]))
def test_every_example_comes_once_and_unpads_to_itself(rows, batch_size, seed, side):
    examples = RowExamples(TokenTable(labelled(rows)), Padding(PAD, side))
    assert len(examples) == len(rows)
    seen = {}
    batches = list(examples.batches(batch_size, generator(seed)))
    assert len(batches) == examples.batch_count(batch_size)
    for batch in batches:
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert ids.shape == mask.shape == (len(batch), max(len(rows[i]) for i in batch.index.tolist()))
        assert torch.equal(batch.labels, batch.index)
        assert bool((ids[mask == 0] == PAD).all())
        edge = 0 if side == "right" else -1
        assert bool((mask[:, edge] == 1).all())
        for position, index in enumerate(batch.index.tolist()):
            assert index not in seen
            seen[index] = ids[position][mask[position] == 1].tolist()
    assert [seen[k] for k in range(len(rows))] == rows


def test_batches_are_deterministic_by_the_generator():
    examples = RowExamples(TokenTable(labelled([[1] * (k % 5 + 1) for k in range(50)])), Padding(0))

    def epoch(seed):
        return [batch.index.tolist() for batch in examples.batches(4, generator(seed))]

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)
    assert epoch(None) == epoch(None)


def test_token_types_are_padded_with_zero_and_masks_are_kept():
    rows = [
        {"input_ids": [5, 6, 7], "attention_mask": [0, 1, 1], "token_type_ids": [0, 1, 1]},
        {"input_ids": [8], "attention_mask": [1], "token_type_ids": [1]},
    ]
    (batch,) = RowExamples(TokenTable(rows), Padding(PAD)).batches(2)
    assert batch.labels is None
    assert {name: tensor.tolist() for name, tensor in batch.inputs.items()} == {
        "input_ids": [[5, 6, 7], [8, PAD, PAD]],
        "attention_mask": [[0, 1, 1], [1, 0, 0]],
        "token_type_ids": [[0, 1, 1], [1, 0, 0]],
    }


def test_a_mask_of_ones_is_as_good_as_none():
    rows = [{"input_ids": [5, 6], "attention_mask": [1, 1]}, {"input_ids": [7], "attention_mask": torch.tensor([1])}]
    (batch,) = RowExamples(TokenTable(rows), Padding(PAD, "left")).batches(2)
    assert batch.inputs["attention_mask"].tolist() == [[1, 1], [0, 1]]


def test_labels_of_tokens_are_padded_with_the_number_that_has_no_loss():
    rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}, {"input_ids": [4], "labels": torch.tensor([4])}]
    examples = RowExamples(TokenTable(rows), Padding(0, "left"))
    assert examples.labels().tolist() == [[1, 2, 3], [-100, -100, 4]]
    (batch,) = examples.batches(2)
    assert batch.labels.tolist() == [[1, 2, 3], [-100, -100, 4]]


def test_arrays_are_padded_beside_the_tokens_or_have_one_shape():
    rows = [
        {"input_ids": [1] * n, "bbox": [[n, n]] * n, "pixels": [[0.5, float(n)]], "global_attention_mask": [1] * n}
        for n in (1, 3)
    ]
    for side in ("right", "left"):
        examples = RowExamples(TokenTable(rows), Padding(0, side))
        (batch,) = examples.batches(2)
        assert batch.index.tolist() == [1, 0]
        assert batch.inputs["bbox"].tolist() == [
            [[3, 3]] * 3,
            [[1, 1], [0, 0], [0, 0]][:: 1 if side == "right" else -1],
        ]
        assert batch.inputs["pixels"].tolist() == [[[0.5, 3.0]], [[0.5, 1.0]]]
        assert batch.inputs["pixels"].dtype == torch.float32
        assert torch.equal(batch.inputs["global_attention_mask"], batch.inputs["attention_mask"])


def test_uneven_rows_are_the_shortest_and_a_longer_one_that_is_cheap_to_run():
    def lengths(*tokens):
        pair = RowExamples(TokenTable([{"input_ids": [1] * n} for n in tokens]), Padding(0)).uneven()
        return None if pair is None else pair.inputs["attention_mask"].sum(1).tolist()

    assert lengths(5, 3, 60, 500) == [3, 60]
    assert lengths(100, 300, 200) == [100, 200]
    assert lengths(4, 4) is None
    other = next(RowExamples(TokenTable([{"input_ids": [1] * n} for n in (1, 2)]), Padding(0)).sides())
    assert other.side == "left"
    assert next(other.batches(2)).inputs["input_ids"].tolist() == [[1, 1], [0, 1]]


def test_arrays_of_several_lengths_have_a_row_for_each_token():
    rows = [{"input_ids": [1], "bbox": [[1, 2], [3, 4]]}, {"input_ids": [1, 2], "bbox": [[1, 2]]}]
    with pytest.raises(DataError, match="row 0 has 2 numbers in column 'bbox' and 1 in 'input_ids'"):
        RowExamples(TokenTable(rows), Padding(0))
