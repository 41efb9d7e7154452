import json
from pathlib import Path

import pytest
import torch
import transformers

from bayespeft.errors import ConfigError, UnknownNameError
from bayespeft.pretrained.load import load

# Saving a model shows a bar, too; only what `load` itself writes is of interest.
pytestmark = pytest.mark.usefixtures("_quiet_saving")


@pytest.fixture
def _quiet_saving():
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture
def encoder(bert, tokenizer, tmp_path):
    """A folder with an encoder without a head."""
    bert.bert.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


@pytest.fixture
def causal(llama, tokenizer, tmp_path):
    """A folder with a language model, whose tokenizer has no padding token."""
    llama.config.pad_token_id = llama.generation_config.pad_token_id = None
    llama.save_pretrained(tmp_path / "causal")
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]")
    bare.save_pretrained(tmp_path / "causal")
    return str(tmp_path / "causal")


def test_classification(encoder, bert):
    model, tokenizer = load(encoder, "classification", 4)
    assert model.config.num_labels == 4
    assert not model.training
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, bert.bert.embeddings.word_embeddings.weight)
    assert tokenizer.pad_token == "[PAD]"
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model(**tokenizer("the cat sat", return_tensors="pt")).logits.shape == (1, 4)
    assert load(encoder, "classification")[0].config.num_labels == 2


def test_only_the_head_may_have_another_size(bert, tokenizer, tmp_path):
    folder = tmp_path / "classifier"
    bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert torch.equal(load(str(folder), "classification", 2)[0].classifier.weight, bert.classifier.weight)
    one, again = (load(str(folder), "classification", 5)[0] for _ in range(2))
    assert one.classifier.weight.shape == (5, 16)
    assert torch.equal(one.classifier.weight, again.classifier.weight)
    assert len(one.config.id2label) == 5
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(ConfigError, match=r"has no values for .* weights of the network, such as 'bert\."):
        load(str(folder), "classification", 5)


def test_the_head_is_determined_by_the_seed_and_nothing_else_is_touched(encoder):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    one, again, other = (load(encoder, "classification", 4, seed=seed)[0].classifier.weight for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    torch.manual_seed(6)
    assert torch.equal(load(encoder, "classification", 4)[0].classifier.weight, one)


def test_a_language_model_gets_a_padding_token(causal):
    model, tokenizer = load(causal, "causal")
    assert tokenizer.pad_token == tokenizer.eos_token == "[SEP]"
    assert model.config.pad_token_id == model.generation_config.pad_token_id == tokenizer.eos_token_id
    classifier, _ = load(causal, "classification", 3)
    assert classifier.config.pad_token_id == tokenizer.eos_token_id
    assert classifier.score.out_features == 3
    ids = torch.tensor([[5, 6, 7], [5, 3, 3]])  # the second one is padded
    assert classifier(input_ids=ids, attention_mask=(ids != 3).long()).logits.shape == (2, 3)


def test_a_tokenizer_without_padding_and_end_is_left_alone(causal, tokenizer):
    bare = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    bare.save_pretrained(causal)
    model, loaded = load(causal, "causal")
    assert loaded.pad_token is None
    assert model.config.pad_token_id is None


def test_arguments_reach_the_network(encoder):
    model, _ = load(encoder, "classification", 2, dtype=torch.bfloat16, local_files_only=True)
    assert model.dtype == torch.bfloat16


def test_loading_is_quiet_and_puts_verbosity_back(encoder, capfd):
    logging = transformers.utils.logging
    logging.enable_progress_bar()
    before = logging.get_verbosity()
    try:
        logging.set_verbosity_info()
        load(encoder, "classification", 4)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before)
        logging.disable_progress_bar()
    load(encoder, "classification", 4)
    assert not logging.is_progress_bar_enabled()
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_a_checkpoint_of_another_kind_of_network_is_refused(encoder, causal, bert):
    with pytest.raises(
        ConfigError, match=r"no values for \d+ weights of the network, such as 'cls\..*another kind of network"
    ):
        load(encoder, "causal", is_decoder=True)
    state = {name: value for name, value in bert.bert.state_dict().items() if "layer.1" not in name}
    bert.bert.save_pretrained(encoder, state_dict=state)
    with pytest.raises(ConfigError, match=r"no values for 16 weights of the network, such as 'bert\.encoder\.layer\.1"):
        load(encoder, "classification", 2)
    state = {name: value for name, value in bert.bert.state_dict().items() if "pooler" not in name}
    bert.bert.save_pretrained(encoder, state_dict=state)
    load(encoder, "classification", 2)  # many encoders come without a pooler


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("minilm", "regression"), "task is 'regression', expected 'classification' or .*'causal'"),
        (("minilm", "causal"), "'minilm' is an encoder: it can't be loaded with task='causal'"),
        (("smollm2", "causal", 2), "num_labels=2 is for a classifier"),
        (("minilm", "classification", 0), "num_labels is 0; at least 1 is needed"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load(*arguments)


def test_an_unknown_name(monkeypatch):
    def from_pretrained(*args, **kwargs):
        raise OSError("no such model")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    message = (
        "there is no 'minilmm' among the pretrained. Did you mean 'minilm'.*Nor is.*transformers says: no such model"
    )
    with pytest.raises(UnknownNameError, match=message):
        load("minilmm", "classification")


def test_a_folder_without_weights(encoder):
    (Path(encoder) / "model.safetensors").unlink()
    with pytest.raises(UnknownNameError, match=r"no network in .* transformers says"):
        load(encoder, "classification")


def test_an_empty_folder(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no tokenizer in .* transformers says"):
        load(str(tmp_path), "classification")
