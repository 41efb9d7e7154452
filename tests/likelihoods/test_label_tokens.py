"""The answer's distribution over label tokens: the right logits, under left and right padding, and nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.likelihoods.prompts import answer_tokens

IDS = (5, 9, 30)
ROWS = [[7, 8, 9, 10, 11], [12, 13], [14, 15, 16]]


def padded(side: str) -> Batch:
    width = max(map(len, ROWS))
    gaps = [[0] * (width - len(row)) for row in ROWS]
    ids = [gap + row if side == "left" else row + gap for row, gap in zip(ROWS, gaps, strict=True)]
    ones = [[0] * len(gap) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(gap)
            for row, gap in zip(ROWS, gaps, strict=True)]  # fmt: skip
    return Batch({"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(ones)}, None, torch.arange(3))


@pytest.fixture
def gemma():
    """A network that caps its logits, and ties input and output embeddings."""
    config = Gemma2Config(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, head_dim=8, final_logit_softcapping=2.0, initializer_range=0.5, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    torch.manual_seed(0)
    return Gemma2ForCausalLM(config).eval()


@pytest.fixture
def bloom():
    """A network that takes no position_ids."""
    torch.manual_seed(0)
    return BloomForCausalLM(
        BloomConfig(vocab_size=64, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.5, pad_token_id=0)
    ).eval()


@pytest.mark.parametrize("network", ["llama", "gpt2", "gemma", "bloom"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_each_row_alone(network, side, request):
    model = request.getfixturevalue(network)
    with torch.no_grad():
        found = LabelTokens(token_ids=IDS).logits(model, padded(side))
        alone = torch.stack([model(torch.tensor([row])).logits[0, -1, list(IDS)] for row in ROWS])
    torch.testing.assert_close(found, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_output_layer_with_a_hook_runs_as_it_is(llama, side):
    plain = LabelTokens(token_ids=IDS).logits(llama, padded(side))
    widths = []

    def double(_, __, output):
        widths.append(output.shape)
        return output * 2

    handle = llama.lm_head.register_forward_hook(double)
    hooked = LabelTokens(token_ids=IDS).logits(llama, padded(side))
    handle.remove()
    torch.testing.assert_close(hooked, plain * 2)
    assert widths[0][1] <= 3, "full vocabulary only at positions that count"


def test_only_label_rows_are_computed(llama):
    widths = []
    original = torch.nn.functional.linear

    def spy(x, weight, bias=None):
        widths.append(len(weight))
        return original(x, weight, bias)

    torch.nn.functional.linear = spy
    try:
        LabelTokens(token_ids=IDS).logits(llama, padded("left"))
    finally:
        torch.nn.functional.linear = original
    assert widths[-1] == 3
    assert llama.lm_head.weight.shape == (64, 16)


def test_gradients_reach_the_network_through_label_rows(llama):
    LabelTokens(token_ids=IDS).logits(llama, padded("left")).sum().backward()
    assert llama.model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0


def test_rows_are_encoded_and_long_prompts_keep_their_end_and_their_start_token(tokenizer, questions, llama):
    likelihood = LabelTokens(max_length=6).resolve(llama, tokenizer, questions)
    encoded = likelihood.encode(questions, tokenizer)
    assert all(len(row["input_ids"]) == 6 for row in encoded)
    whole = LabelTokens().resolve(llama, tokenizer, questions).encode(questions, tokenizer)
    first, *rest = whole[0]["input_ids"]
    assert first == tokenizer.cls_token_id
    assert encoded[0]["input_ids"] == [first, *rest[-5:]]
    assert [row["labels"] for row in whole[:3]] == [0, 1, 2]


def test_a_label_of_two_tokens_is_an_error(tokenizer):
    with pytest.raises(DataError, match=r"answer 'very good' is 2 tokens.*must be exactly one"):
        answer_tokens(tokenizer, "the cat is", ["bad", "very good"])


def test_labels_that_are_the_same_token_are_an_error(tokenizer):
    with pytest.raises(DataError, match="same token"):
        answer_tokens(tokenizer, "the cat is", ["zebra", "yak"])


def test_unknown_labels_are_an_error(llama):
    with pytest.raises(DataError, match="token_ids="):
        LabelTokens().resolve(llama, None, None)


def test_a_network_without_output_embedding_is_an_error(bert):
    with pytest.raises(AttachError, match="BertForSequenceClassification has none"):
        LabelTokens(token_ids=IDS).logits(bert, padded("left"))


def test_given_tokens_keep_the_length_limit(tokenizer, llama):
    assert LabelTokens(token_ids=IDS).resolve(llama, tokenizer, None).max_length == 64


def test_an_answer_is_one_of_the_rows_own_choices(tokenizer):
    rows = [
        {"question": "?", "choices": ["a", "b", "c"], "answer": 2},
        {"question": "?", "choices": ["a", "b"], "answer": 2},
    ]
    likelihood = LabelTokens(labels=("A", "B", "C"), token_ids=(1, 2, 3))
    with pytest.raises(DataError, match="row 1: the answer is 2, and there are 2 choices"):
        likelihood.encode(rows, tokenizer)
    assert [row["labels"] for row in likelihood.encode(rows[:1], tokenizer)] == [2]


UNEVEN = [
    {"question": f"the {word} is ?", "choices": ["good", "bad", "ugly"][: 2 + i % 2], "answer": i % 2}
    for i, word in enumerate(["cat", "dog", "film", "book"] * 3)
]


@pytest.mark.filterwarnings("ignore:no temperature is best:UserWarning")
def test_rows_with_fewer_choices_share_nothing_with_labels_that_they_lack(llama, tokenizer):
    options = {"tokenizer": tokenizer, "progress": False, "targets": ["q_proj", "v_proj"]}
    posterior = bayespeft.fit(llama, UNEVEN, "laplace_lora", train=TrainConfig(steps=3, batch_size=4), **options)
    likelihood, few = posterior.likelihood, torch.tensor([len(row["choices"]) for row in UNEVEN])
    offered = torch.arange(3) < few[:, None]
    for found in (
        posterior.predict(UNEVEN, draws=3, prediction="sampled"),
        posterior.predict(UNEVEN),
        posterior.with_temperature(UNEVEN).predict(UNEVEN),
    ):
        assert bool((found.probs[~offered] == 0).all())
        assert bool((found.probs[offered] > 0).all())
        torch.testing.assert_close(found.probs.sum(1), torch.ones(12, dtype=torch.float64))
        assert bool(torch.isfinite(found.entropy).all() & torch.isfinite(found.mutual_information).all())
        assert bool((found.entropy <= few.log() + 1e-9).all())
    with torch.no_grad(), posterior.using("mean") as model:
        raw = [likelihood.logits(model, _batch(likelihood.encode([row], tokenizer)[0]))[0] for row in UNEVEN]
    expected = torch.stack(
        [torch.softmax(z.double().where(o, -torch.inf), 0) for z, o in zip(raw, offered, strict=True)]
    )
    mean = posterior.predict(UNEVEN, draws=0, prediction="sampled")
    torch.testing.assert_close(mean.probs, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        mean.log_likelihood, expected[range(12), [r["answer"] for r in UNEVEN]].log(), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
@pytest.mark.parametrize("per", ["all", "class"])
def test_conformal_sets_of_too_few_rows_hold_all_choices_that_a_row_offers_and_no_others(llama, tokenizer, method, per):
    posterior = bayespeft.fit(llama, UNEVEN, "mle", tokenizer=tokenizer, train=TrainConfig(steps=1), progress=False)
    sets = posterior.conformal(UNEVEN, 0.01, method=method, per=per).sets(UNEVEN)
    assert sets.sum(1).tolist() == [len(row["choices"]) for row in UNEVEN]
    assert all(own[: len(row["choices"])].all() for own, row in zip(sets, UNEVEN, strict=True))


def _batch(row):
    return Batch({k: torch.tensor([row[k]]) for k in ("input_ids", "attention_mask", "offered")}, None, torch.arange(1))


def test_the_gradient_does_not_see_labels_that_a_row_lacks():
    logits = torch.randn(2, 3, requires_grad=True)
    batch = Batch(
        {"input_ids": torch.ones(2, 1), "offered": torch.tensor([2, 3])}, torch.tensor([1, 2]), torch.arange(2)
    )
    likelihood = LabelTokens(token_ids=IDS)
    likelihood.distribution(likelihood.among(logits, batch)).log_prob(batch.labels).sum().backward()
    alone = torch.nn.functional.cross_entropy(logits[:1, :2], batch.labels[:1], reduction="sum")
    (own,) = torch.autograd.grad(-alone, logits)
    torch.testing.assert_close(logits.grad[0], own[0])
    assert logits.grad[0, 2] == 0
    with pytest.raises(DataError, match="example 0 has the label 2, and offers 2 choices"):
        likelihood.among(logits, replace(batch, labels=torch.tensor([2, 2])))


def test_a_common_beginning_is_read_once_for_rows_of_several_numbers_of_choices(llama, tokenizer):
    long = " ".join(["the film was good"] * 8)
    rows = [{**row, "question": f"{long} {row['question']}"} for row in UNEVEN]
    posterior = bayespeft.fit(llama, rows, "melora", tokenizer=tokenizer, train=TrainConfig(steps=2), progress=False)
    together = posterior.predict(rows, draws=2)
    alone = torch.cat([posterior.predict([row], draws=2).probs for row in rows])
    torch.testing.assert_close(together.probs, alone, atol=1e-5, rtol=1e-4)


def test_rows_that_are_tokenised_say_how_many_choices_they_offer(llama, tokenizer):
    options = {"train": TrainConfig(steps=1), "progress": False}
    posterior = bayespeft.fit(llama, UNEVEN, "mle", tokenizer=tokenizer, **options)
    rows = [{k: v for k, v in row.items() if k != "whole"} for row in posterior.likelihood.encode(UNEVEN, tokenizer)]
    torch.testing.assert_close(posterior.predict(rows).probs, posterior.predict(UNEVEN).probs)
    for wrong in (0, 4, 1.5):
        with pytest.raises(DataError, match=f"example 0 has {wrong:g} in column 'offered'"):
            posterior.predict([{**rows[0], "offered": wrong}])


def test_a_network_that_sees_answers_by_label_tokens():
    """Batches of a loader bring pictures beside the tokens: each row is read with its own, whatever tokens rows share."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    network = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**sizes, image_size=16, patch_size=8, initializer_range=0.5),
            text_config=LlamaConfig(**sizes, vocab_size=64, pad_token_id=0, initializer_range=0.5),
            image_token_index=60,
            vision_feature_layer=-1,
        )
    ).eval()
    pictures = torch.randn(32, 3, 16, 16)
    ids = torch.tensor([[2, *[60] * 4, 7, 8]] * 32)
    rows = [
        {"input_ids": ids[i], "attention_mask": torch.ones_like(ids[i]), "pixel_values": pictures[i], "labels": i % 2}
        for i in range(32)
    ]
    options = {"likelihood": LabelTokens(token_ids=(5, 9)), "targets": ["q_proj", "v_proj"], "progress": False}
    posterior = bayespeft.fit(network, DataLoader(rows, batch_size=8), "melora", train=TrainConfig(steps=2), **options)
    found = posterior.predict(DataLoader(rows, batch_size=16), draws=0).probs
    assert len(found.unique(dim=0)) == 32, "no two pictures are alike"
    with torch.no_grad():
        logits = posterior.merged_model()(input_ids=ids, pixel_values=pictures).logits[:, -1, [5, 9]]
    torch.testing.assert_close(found, logits.double().softmax(-1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"labels": ("A",)}, "labels=.*: one of its own for each class, of which there are at least two"),
        ({"labels": ("A", "B", "A")}, "labels=.*: one of its own for each class"),
        ({"token_ids": (5, 5)}, "token_ids=.*: one of its own for each class"),
        ({"token_ids": (-1, 5)}, "token_ids.0: Input should be greater than or equal to 0"),
        ({"token_ids": (2**63, 5)}, "token_ids.0: Input should be less than"),
        ({"labels": ("A", "B"), "token_ids": (4, 5, 6)}, "2 labels and 3 token_ids: they must be as many"),
        ({"labels": ("A", " ")}, "each must be a text that can be read"),
        ({"labels": ("A", "\x1b[2J")}, "each must be a text that can be read"),
        ({"labels": ("A", "\ud800")}, "each must be a text that can be read"),
        ({"template": "Which one? {choices}"}, "lacks {question}, so that all rows would be the same prompt"),
        ({"max_length": 0}, "max_length: Input should be greater than or equal to 1"),
    ],
)
def test_settings_that_give_no_right_number_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        LabelTokens(**settings)


def test_a_token_beyond_the_vocabulary_is_named(llama):
    with pytest.raises(DataError, match=r"token_ids has 64, and LlamaForCausalLM knows 0\.\.63"):
        LabelTokens(token_ids=(5, 64)).logits(llama, padded("left"))
