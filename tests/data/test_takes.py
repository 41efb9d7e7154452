"""What a network does not take is refused by name, and numbers that its tables have no row for by example."""

import pytest
import torch
from torch.utils.data import DataLoader

from bayespeft.data.padding import Padding
from bayespeft.data.source import source_of
from bayespeft.data.takes import Takes
from bayespeft.errors import DataError

TAKES = Takes("Net", frozenset({"input_ids", "bbox"}), torch.float16, vocabulary=10, positions=4, token_types=2, end=9)
ROWS = [{"input_ids": [1, 2, 9]}, {"input_ids": [3, 9]}, {"input_ids": [9]}]


def changed(row: int, **columns):
    return [one | columns if k == row else one for k, one in enumerate(ROWS)]


def loader(rows):
    def collate(items):
        longest = max(len(item["input_ids"]) for item in items)
        ids = torch.tensor([item["input_ids"] + [0] * (longest - len(item["input_ids"])) for item in items])
        return {"input_ids": ids, **{n: torch.tensor([i[n] for i in items]) for n in items[0] if n != "input_ids"}}

    return DataLoader(rows, 2, collate_fn=collate)


WRONG = [
    (
        changed(2, input_ids=[10, 9]),
        "input_ids of example 2 has the number 10, and Net knows 0..9. Take the network's own",
    ),
    (changed(1, input_ids=[-100, 9]), "input_ids of example 1 has the number -100.*Negative numbers mark labels"),
    (changed(2, input_ids=[1, 2, 3, 4, 9]), "input_ids of example 2 have 5 tokens, and Net has 4 positions"),
    (changed(2, input_ids=[9, 9]), r"example 2 holds the end token \(number 9\) 2 times and others 1"),
    (changed(2, input_ids=[5]), r"example 2 holds the end token \(number 9\) 0 times and others 1"),
    ([{"input_ids": [1, 2]}] * 3, "the sequences hold no end token"),
]


@pytest.mark.parametrize(("rows", "message"), WRONG)
def test_rows_are_checked_before_the_first_is_used(rows, message):
    with pytest.raises(DataError, match=message):
        source_of(rows).examples(padding=Padding(0), takes=TAKES)


@pytest.mark.parametrize(("rows", "message"), WRONG[:3])
def test_loaders_are_checked_batch_by_batch(rows, message):
    takes = Takes("Net", TAKES.names, vocabulary=10, positions=4)
    with pytest.raises(DataError, match=message):
        list(source_of(loader(rows)).examples(takes=takes).batches(2))


def test_token_types():
    rows = [{"input_ids": [9], "token_type_ids": [2]}]
    with pytest.raises(DataError, match=r"token_type_ids of example 0 has the number 2, and Net knows 0\.\.1"):
        source_of(rows).examples(takes=TAKES)
    # A tokenizer writes them unasked; where the forward takes none they are left out.
    (batch,) = source_of([{"input_ids": [9], "token_type_ids": [1]}]).examples(takes=TAKES).batches(1)
    assert set(batch.inputs) == {"input_ids", "attention_mask"}


def test_the_padding_token_counts():
    with pytest.raises(
        DataError, match=r"padding token has the number 10, and Net knows 0\.\.9.*resize_token_embeddings"
    ):
        source_of(ROWS).examples(padding=Padding(10), takes=TAKES)


def test_what_a_loader_gives_and_the_network_does_not_take_is_refused_by_name():
    rows = [{**row, "weight": 2.0} for row in ROWS]
    with pytest.raises(
        DataError, match=r"the batches have 'weight', which the forward of Net does not take.*bbox, input_ids"
    ):
        next(iter(source_of(loader(rows)).examples(takes=TAKES).batches(2)))
    next(
        iter(source_of(loader(rows)).examples(takes=Takes(names=None)).batches(2))
    )  # a forward that passes on what it is given


def test_fractions_come_in_the_networks_precision_and_integers_as_they_are():
    for data in ((torch.ones(2, 3, dtype=torch.float64),), [(torch.ones(3, dtype=torch.float64), 0)] * 2):
        assert next(source_of(data).examples(takes=Takes(dtype=torch.float16)).batches(2)).inputs.dtype == torch.float16
    assert (
        next(source_of((torch.ones(2, 3, dtype=torch.int64),)).examples(takes=TAKES).batches(2)).inputs.dtype
        == torch.int64
    )
    double = source_of((torch.ones(2, 3, dtype=torch.float64),)).examples(takes=Takes(dtype=torch.float64))
    assert next(double.batches(2)).inputs.dtype == torch.float64
