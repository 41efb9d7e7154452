"""Tiny random networks built from configurations, and a tokenizer made in code: unit tests need no download."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = [*"abcdefgh?.:,!", "good", "bad", "fine", "poor", "the", "cat", "dog", "sat", "ran", "is", "was", "not", "very"]


# Examples are the same in each run unless `make fuzz` looks for new ones: what passes on a branch passes on main.
settings.register_profile("suite", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", max_examples=500, deadline=None, derandomize=False, print_blob=True)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the fast half: whatever calls another package is called, but not with each method, network and family again."""
    parser.addoption("--fast", action="store_true", help="run one case of each parametrised test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--fast`, keep one case of each test: one that its name chooses, so that all methods have their turn somewhere."""
    if not config.getoption("--fast"):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {id(same[zlib.crc32(name.encode()) % len(same)]) for name, same in cases.items()}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny networks gain nothing from a second thread, and threads that wait spin."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Words and single characters, [CLS] and [SEP] around text, padding on the right."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = [*"ABCDEFGH", "Question", "Answer"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(special + WORDS + letters))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
    )


def _seeded(build: Callable[[], nn.Module]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


@pytest.fixture
def bert() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=2,
        initializer_range=0.5,
    )
    return _seeded(lambda: BertForSequenceClassification(config))


@pytest.fixture
def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    return _seeded(lambda: LlamaForCausalLM(config))


@pytest.fixture
def gpt2() -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        initializer_range=0.5,
        bos_token_id=2,
        eos_token_id=3,
    )
    return _seeded(lambda: GPT2LMHeadModel(config))


@pytest.fixture
def mlp() -> nn.Sequential:
    return _seeded(lambda: nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 3)))


@pytest.fixture
def xy() -> tuple[torch.Tensor, torch.Tensor]:
    """Sixty points of three classes that a small network can learn."""
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


@pytest.fixture
def sentences() -> list[dict[str, Any]]:
    """Twenty-four sentences of different lengths, positive or negative."""
    rows = []
    for i in range(24):
        label = i % 2
        words = ["the", ["cat", "dog", "fine"][i % 3], "is"] + ["very"] * (i % 4) + [["bad", "good"][label]]
        rows.append({"text": " ".join(words), "label": label})
    return rows


@pytest.fixture
def questions() -> list[dict[str, Any]]:
    """Twelve multiple-choice questions with three choices."""
    names = ["cat", "dog", "fine"]
    return [
        {"question": f"the {names[i % 3]} is" + " very" * (i % 4) + " ?", "choices": names, "answer": i % 3}
        for i in range(12)
    ]
