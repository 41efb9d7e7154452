"""A prediction does not depend on its neighbours' lengths: padded where that is so, refused where it is nowhere."""

import inspect

import pytest
import torch
import transformers
from torch.utils.data import DataLoader

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError
from bayespeft.prediction.uneven import alone

# XLNet keeps most of its weights in stacks, which are left out.
pytestmark = pytest.mark.filterwarnings("ignore:targets='all-linear' leaves layers out:UserWarning")

SMALL = {"vocab_size": 32, "num_labels": 2, "pad_token_id": 0}
BERT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
ROWS = [
    {
        "input_ids": torch.randint(4, 32, (3 + k % 5,), generator=torch.Generator().manual_seed(k)).tolist(),
        "labels": k % 2,
    }
    for k in range(12)
]
TRAIN = TrainConfig(steps=2, batch_size=4)


def network(family: str, **settings):
    config = getattr(transformers, f"{family}Config")(**SMALL, **settings, initializer_range=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, f"{family}ForSequenceClassification")(config).eval()


def bert():
    return network("Bert", **BERT)


def xlnet():
    return network("XLNet", d_model=16, n_layer=1, n_head=2, d_inner=16)


def gpt2():
    return network("GPT2", n_embd=16, n_layer=1, n_head=2, n_positions=32)


def fit(model, data, **options):
    return bayespeft.fit(model, data, "mle", train=TRAIN, progress=False, targets="all-linear", **options)


def loader(side: str, batch_size: int = 4) -> DataLoader:
    def collate(rows):
        longest = max(len(row["input_ids"]) for row in rows)

        def padded(values):
            gap = [0] * (longest - len(values))
            return gap + values if side == "left" else values + gap

        return {
            "input_ids": torch.tensor([padded(row["input_ids"]) for row in rows]),
            "attention_mask": torch.tensor([padded([1] * len(row["input_ids"])) for row in rows]),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    return DataLoader(ROWS, batch_size, collate_fn=collate)


@pytest.mark.parametrize(("model", "side"), [(bert, "right"), (xlnet, "left")])
def test_rows_are_padded_where_it_changes_nothing(model, side, tmp_path):
    network = model()
    posterior = fit(network, ROWS)  # padded with config.pad_token_id: there is no tokenizer
    assert posterior.likelihood.pads == side
    single = posterior.predict(ROWS, batch_size=1).log_probs
    torch.testing.assert_close(posterior.predict(ROWS, batch_size=12).log_probs, single, atol=1e-5, rtol=1e-4)
    posterior.save(tmp_path)
    loaded = bayespeft.load(tmp_path, network)
    torch.testing.assert_close(loaded.predict(ROWS, batch_size=12).log_probs, single, atol=1e-5, rtol=1e-4)


def test_rows_of_other_lengths_than_the_fits_are_looked_at_when_they_come():
    even = [row | {"input_ids": row["input_ids"][:3]} for row in ROWS]
    posterior = fit(xlnet(), even)
    assert posterior.likelihood.pads is None
    single = posterior.predict(ROWS, batch_size=1).log_probs
    torch.testing.assert_close(posterior.predict(ROWS, batch_size=12).log_probs, single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_loader_may_pad_on_either_side_of_a_decoder_with_positions(side):
    posterior = fit(gpt2(), loader(side))
    rows = posterior.predict(ROWS, batch_size=1).log_probs
    for batch_size in (1, 12):
        found = posterior.predict(loader(side, batch_size)).log_probs
        torch.testing.assert_close(found, rows, atol=1e-5, rtol=1e-4)


def test_a_loader_whose_padding_is_read_is_refused():
    """An encoder answers at the first position, which padding on the left takes."""
    with pytest.raises(AttachError, match=r"padded on the left.*Pad on the other side in the DataLoader"):
        fit(bert(), loader("left"))
    posterior = fit(bert(), loader("right"))
    with pytest.raises(AttachError, match="padded on the left"):
        posterior.predict(loader("left"))
    with pytest.raises(AttachError, match="padded on the left"):
        fit(bert(), ROWS, validation=loader("left"))


def test_a_network_that_reads_padding_is_refused():
    settings = {name: value for name, value in BERT.items() if name != "num_attention_heads"}
    model = network("FNet", **settings)
    if "attention_mask" not in inspect.signature(model.forward).parameters:
        pytest.skip("this version's FNet takes no mask, so that no batch with one reaches it")
    with pytest.raises(AttachError, match=r"FNet.* changes with the padding.*on the right and.*on the left"):
        fit(model, ROWS)
    fit(model, [row | {"input_ids": row["input_ids"][:3]} for row in ROWS])  # nothing is padded


def test_alone_a_row_has_no_padding():
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    inputs = {
        "input_ids": mask * 7,
        "attention_mask": mask,
        "bbox": torch.ones(2, 3, 4, dtype=torch.long),
        "size": torch.ones(2, 3),
    }
    row = alone(Batch(inputs, torch.tensor([[-100, 5, 6], [1, 2, 3]]), torch.arange(2)), 0)
    assert {name: tuple(value.shape) for name, value in row.inputs.items()} == {
        "input_ids": (1, 2), "attention_mask": (1, 2), "bbox": (1, 2, 4), "size": (1, 3),
    }  # fmt: skip
    assert row.labels.tolist() == [[5, 6]]
