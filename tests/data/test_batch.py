import pytest
import torch

from bayespeft.data.batch import Batch

IDS = torch.tensor([[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("inputs", [IDS, {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}])
def test_draws_are_folded_draw_major_and_labels_are_not(inputs):
    batch = Batch(inputs, torch.tensor([0, 1, 0]), torch.arange(3))
    assert len(batch) == 3
    assert batch.repeat(1) is batch
    folded = batch.repeat(2)
    ids = folded.inputs if isinstance(inputs, torch.Tensor) else folded.inputs["input_ids"]
    assert ids.tolist() == [[1, 2], [3, 4], [5, 6]] * 2
    assert torch.equal(folded.labels, batch.labels)
    assert len(folded) == 3


def test_moving_keeps_the_index():
    batch = Batch({"input_ids": IDS}, None, torch.arange(3)).to("meta")
    assert batch.inputs["input_ids"].device.type == "meta"
    assert batch.labels is None
    assert batch.index.device.type == "cpu"
    assert Batch(IDS, torch.zeros(3), torch.arange(3)).to("meta").labels.device.type == "meta"


@pytest.mark.parametrize("inputs", [IDS, {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}])
def test_parts_are_the_batch_in_order(inputs):
    first, last = Batch(inputs, torch.tensor([0, 1, 0]), torch.arange(7, 10)).parts(2)
    assert (len(first), len(last)) == (2, 1)
    ids = [part.inputs if isinstance(inputs, torch.Tensor) else part.inputs["input_ids"] for part in (first, last)]
    assert torch.equal(torch.cat(ids), IDS)
    assert (first.labels.tolist(), last.labels.tolist()) == ([0, 1], [0])
    assert (first.index.tolist(), last.index.tolist()) == ([7, 8], [9])
    [whole] = Batch(inputs, None, torch.arange(3)).parts(3)
    assert whole.labels is None
