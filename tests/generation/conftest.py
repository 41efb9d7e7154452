"""Language models of four kinds, each with a posterior whose draws differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

import bayespeft
from bayespeft import Method, Posterior, TrainConfig
from bayespeft.generation.result import Generation
from bayespeft.guides.ivon import Ivon
from tests.generation.written import EVIL

NETWORKS = ("llama", "gpt2", "t5", "bart")
PROMPTS = ("the cat is", "the dog", "very very very fine is the cat", "good ?")


def seeded(build: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


@pytest.fixture
def t5() -> T5ForConditionalGeneration:
    """Relative positions, and an encoder."""
    config = T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, initializer_factor=2.0,
        pad_token_id=0, eos_token_id=3, decoder_start_token_id=0,
    )  # fmt: skip
    return seeded(lambda: T5ForConditionalGeneration(config))


@pytest.fixture
def bart() -> BartForConditionalGeneration:
    """Absolute positions in the encoder, which padding on the left would move."""
    config = BartConfig(
        vocab_size=64, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64, init_std=0.5,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=3, forced_eos_token_id=None,
    )  # fmt: skip
    return seeded(lambda: BartForConditionalGeneration(config))


@pytest.fixture
def pairs() -> list[dict[str, str]]:
    """Eight sources of different lengths, and what to say to them."""
    return [
        {"source": "the " + "very " * (i % 3) + ["cat", "dog"][i % 2] + " is", "target": ["good", "bad sat"][i % 2]}
        for i in range(8)
    ]


def fitted(network: Any, tokenizer: Any, pairs: Any, method: str | Method = "melora", **options: Any) -> Posterior:
    chosen = method if isinstance(method, Method) else bayespeft.methods()[method]
    ivon = isinstance(chosen.guide, Ivon)
    if ivon:  # nobody asks what so short a run says of its spread
        method = chosen.replace(guide=chosen.guide.replace(verify=False))
    # IVON's KL is in its optimiser and can't be switched off.
    train = TrainConfig(steps=4, batch_size=4, lr=0.1, kl_weight=1.0 if ivon else 0.0)
    return bayespeft.fit(
        network,
        pairs,
        method,
        likelihood="language_modelling",
        tokenizer=tokenizer,
        train=train,
        progress=False,
        **options,
    )


@pytest.fixture
def posterior(request: Any, tokenizer: Any, pairs: Any) -> Posterior:
    """Of Me-LoRA on the network that a test names by `indirect`, or on the Llama."""
    name = getattr(request, "param", "llama")
    return fitted(request.getfixturevalue(name), tokenizer, pairs)


@pytest.fixture
def written() -> Generation:
    """Two prompts, two draws each, three tokens at most."""
    return Generation(
        sequences=torch.tensor([[5, 6, 3], [5, 7, 3], [8, 3, 0], [8, 3, 0]]),
        lengths=torch.tensor([3, 3, 2, 2]),
        ended=torch.tensor([True, True, True, True]),
        prompt=torch.tensor([0, 0, 1, 1]),
        draw=torch.tensor([0, 1, 0, 1]),
        token_log_probs=torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.25, 1.0], [0.5, 1.0, 1.0], [1.0, 1.0, 1.0]]).log(),
        entropy=torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]]),
        mutual_information=None,
        draw_log_probs=torch.tensor([[0.125, 0.125, 0.5, 1.0]]).double().log(),
        draws=2,
        seconds=1.0,
        texts=("the cat", "the dog", EVIL, EVIL),
        pieces=(("the", " cat", ""), ("the", " dog", ""), (EVIL, ""), (EVIL, "")),
        prompts=("say & write", EVIL),
    )
