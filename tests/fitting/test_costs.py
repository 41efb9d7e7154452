"""Costs that are counted without storage are those of the network itself."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from bayespeft import registry
from bayespeft.adapters.attach import frozen
from bayespeft.config import TrainConfig
from bayespeft.data.source import source_of
from bayespeft.errors import AttachError, ConfigError
from bayespeft.fitting.assemble import assemble, choose_method
from bayespeft.fitting.costs import ATTENTION, Kept, costs
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.prediction.last_block import LastBlock

# Rotary embeddings of older versions of transformers multiply positions by frequencies as matrices.
ROTARY = 1e-4
WIDTH, INNER, LAYERS, VOCABULARY, BATCH, LENGTH, RANK = 64, 160, 2, 100, 2, 16, 8


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=4, pad_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def test_a_forward_pass_is_two_operations_for_each_weight_and_token_and_the_attention() -> None:
    found = costs(llama, registry.get("methods", "mle"), BATCH, LENGTH)
    tokens = BATCH * LENGTH
    blocks = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER)
    adapters = LAYERS * 2 * (2 * WIDTH * RANK)
    attention = LAYERS * 4 * BATCH * LENGTH * LENGTH * WIDTH
    head = 2 * BATCH * WIDTH * VOCABULARY  # of the last token alone
    assert found.forward_flops == pytest.approx(2 * tokens * (blocks + adapters) + attention + head, rel=ROTARY)
    assert found.parameters == sum(p.numel() for p in llama().parameters())
    assert found.weight_bytes == 4 * found.parameters
    assert found.layers == 2 * LAYERS
    # Backwards: of what is frozen the products by outputs' gradients alone, and none by which no adapter is reached: all but
    # the projections of the first block, and the attention's five products in place of two.
    first = 2 * tokens * 3 * WIDTH * WIDTH
    lowest = 2 * 2 * tokens * RANK * WIDTH  # of the first block's adapters: nothing below them is trained
    backward = 2 * tokens * (blocks + 2 * adapters) - first - lowest + attention * 5 // 2 + head
    assert found.step_flops == found.forward_flops + backward


@pytest.mark.parametrize("name", ["melora", "blob", "lora_xs_bayes", "mle"])
def test_what_is_trained_is_what_a_fit_trains(name: str) -> None:
    rows = source_of([{"input_ids": torch.arange(1, 1 + LENGTH), "labels": i % 2} for i in range(4)])
    method = choose_method(name, None, TrainConfig(batch_size=2))
    with assemble(llama().eval(), rows, method, likelihood=LabelTokens(token_ids=[5, 6])) as made:
        trained = made.problem.joint_guide.trainable()
    assert costs(llama, registry.get("methods", name), BATCH, LENGTH).trained == trained


def test_operations_and_activations_are_those_of_the_network_with_storage() -> None:
    model = llama().eval()
    keep = Kept(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    matrices = []

    def low_rank(_, args, output):
        matrices.append((torch.zeros(RANK, WIDTH, requires_grad=True), torch.zeros(WIDTH, RANK, requires_grad=True)))
        return output + args[0] @ matrices[-1][0].T @ matrices[-1][1].T

    for name, module in model.named_modules():
        if name.endswith(("q_proj", "v_proj")):
            module.register_forward_hook(low_rank)
    ids = torch.zeros(BATCH, LENGTH, dtype=torch.int64)
    counter = FlopCounterMode(display=False, custom_mapping=ATTENTION)
    with counter as flops, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(ids, use_cache=False, logits_to_keep=1).logits.logsumexp(-1).sum().backward()
    found = costs(llama, registry.get("methods", "mle"), BATCH, LENGTH)
    assert found.step_flops == flops.get_total_flops()
    assert found.activation_bytes == pytest.approx(keep.bytes, rel=0.1)


def test_activations_are_those_of_a_step_of_a_fit(monkeypatch) -> None:
    # A fit that reads one position does not run all of the last block, which is counted whole.
    monkeypatch.setattr(LastBlock, "_plan", lambda *_: None)
    batch, length = 4, 64
    rows = source_of([{"input_ids": torch.arange(1, 1 + length), "labels": i % 2} for i in range(batch)])
    method = choose_method("melora", None, TrainConfig(batch_size=batch))
    with assemble(llama().eval(), rows, method, likelihood=LabelTokens(token_ids=[5, 6])) as made:
        keep = Kept(made.problem.model)
        with frozen(made.problem.model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            made.problem.loss(next(iter(made.problem.examples.batches(batch))), 1.0)
    found = costs(llama, registry.get("methods", "melora"), batch, length)
    assert found.activation_bytes == pytest.approx(keep.bytes, rel=0.05)


def test_costs_grow_as_they_must() -> None:
    one = costs(llama, registry.get("methods", "melora"), 1, LENGTH)
    four = costs(llama, registry.get("methods", "melora"), 4, LENGTH)
    assert four.forward_flops == pytest.approx(4 * one.forward_flops, rel=ROTARY)
    assert 3.5 * one.activation_bytes < four.activation_bytes < 4 * one.activation_bytes
    assert four.bytes - four.activation_bytes == one.bytes - one.activation_bytes
    assert one.bytes == one.weight_bytes + 16 * one.trained + one.activation_bytes


def test_a_factor_that_layers_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="share"):
        costs(llama, registry.get("methods", "intrinsic"), BATCH, LENGTH)


def test_what_can_not_be_planned_is_our_error() -> None:
    method = registry.get("methods", "melora")
    for batch, length in ((0, LENGTH), (BATCH, 0), (-1, LENGTH)):
        with pytest.raises(ConfigError, match="at least one of each"):
            costs(llama, method, batch, length)
    gpt2 = GPT2Config(vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=1, n_head=4, n_positions=LENGTH)
    assert costs(lambda: GPT2LMHeadModel(gpt2), method, BATCH, LENGTH).layers == 1
    with pytest.raises(ConfigError, match=f"has positions for {LENGTH}"):
        costs(lambda: GPT2LMHeadModel(gpt2), method, BATCH, LENGTH + 1)
    bart = BartConfig(
        vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=WIDTH, decoder_ffn_dim=WIDTH,
    )  # fmt: skip
    with pytest.raises(AttachError, match="BartForSequenceClassification can't be planned"):
        costs(lambda: BartForSequenceClassification(bart), method, BATCH, LENGTH)


@pytest.mark.parametrize("name", ["bayes_rosa", "sparse_only"])
def test_sparse_factors_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="learns numbers at positions that it chooses"):
        costs(llama, registry.get("methods", name), BATCH, LENGTH)
