"""Tiny random networks built from configurations, a tokenizer made in code, and data for them: tests need no download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
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


def tokenizer() -> Any:
    """Return words and single characters, [CLS] and [SEP] around text, padding on the right."""
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


# Both of these networks are of this size.
SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
# Large enough that the outputs of an untrained network differ.
SPREAD = 0.5


def bert() -> Any:
    """Return a BERT of two layers for two classes, the same one each time."""
    config = BertConfig(**SIZES, num_labels=2, initializer_range=SPREAD)
    return _seeded(lambda: BertForSequenceClassification(config))


def llama() -> Any:
    """Return a Llama of two layers, the same one each time."""
    tokens = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = LlamaConfig(**SIZES, **tokens, num_key_value_heads=1, initializer_range=SPREAD)
    return _seeded(lambda: LlamaForCausalLM(config))


def gpt2() -> Any:
    """Return a GPT-2 of two layers, the same one each time."""
    config = GPT2Config(
        vocab_size=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=64,
        initializer_range=SPREAD,
        bos_token_id=2,
        eos_token_id=3,
    )
    return _seeded(lambda: GPT2LMHeadModel(config))


def mlp() -> nn.Sequential:
    """Return a network of three linear layers from 5 numbers to 3, the same one each time."""
    found: nn.Sequential = _seeded(
        lambda: nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 3))
    )
    return found


def xy() -> tuple[Tensor, Tensor]:
    """Return sixty points (60, 5) of three classes that a small network can learn, and the classes (60,)."""
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def sentences() -> list[dict[str, Any]]:
    """Return twenty-four sentences of different lengths, positive or negative."""
    rows: list[dict[str, Any]] = []
    for i in range(24):
        label = i % 2
        words = ["the", ["cat", "dog", "fine"][i % 3], "is"] + ["very"] * (i % 4) + [["bad", "good"][label]]
        rows.append({"text": " ".join(words), "label": label})
    return rows


def questions() -> list[dict[str, Any]]:
    """Return twelve multiple-choice questions with three choices."""
    names = ["cat", "dog", "fine"]
    return [
        {"question": f"the {names[i % 3]} is" + " very" * (i % 4) + " ?", "choices": names, "answer": i % 3}
        for i in range(12)
    ]
