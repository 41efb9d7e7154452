"""Layers that are told what they are given: heads in the coordinates of their inputs."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.attach import Placement
from bayespeft.adapters.head import Head
from bayespeft.data.padding import Padding
from bayespeft.data.source import source_of
from bayespeft.fitting.stacking import make_stacks
from bayespeft.layers.heads import find_head
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.methods.melora import METHOD
from bayespeft.training.coordinates import measured

STILL = TrainConfig(steps=1, lr=0, head_lr=0, variational_lr=0)


def found(model, rows):
    """Return initial values of the head's layers, by layer and factor, and rows as token numbers."""
    placements = tuple(Placement(layer, Head(), head=True) for layer in find_head(model))
    stacks = make_stacks(placements, METHOD, torch.Generator().manual_seed(0))
    examples = source_of(rows).examples(padding=Padding(model.config.pad_token_id, "right"))
    stacks = measured(stacks, placements, model, SequenceClassification(), examples, seed=0)
    return {(layer, stack.factor): stack.init[row] for stack in stacks for layer, row in stack.rows.items()}, examples


def rows(n=20):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(
                4, 30, (int(torch.randint(3, 8, (), generator=generator)),), generator=generator
            ).tolist()
        }
        for _ in range(n)
    ]


def seeded(build):
    torch.manual_seed(0)
    return build().eval()


def test_a_causal_networks_head_sees_the_tokens_that_are_read():
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16, pad_token_id=0, num_labels=3)
    model = seeded(lambda: GPT2ForSequenceClassification(config))
    values, examples = found(model, rows())
    features = []
    with torch.no_grad():
        for batch in examples.batches(20):
            last = batch.inputs["attention_mask"].sum(1) - 1
            hidden = model.transformer(**batch.inputs).last_hidden_state
            features.append(hidden[torch.arange(len(last)), last])
    x = torch.cat(features)
    # It has no bias to make up for a mean.
    assert not values["score", "mean"].any()
    assert float(values["score", "scale"]) == pytest.approx(float(x.square().mean().sqrt()), rel=1e-4)
    torch.testing.assert_close(values["score", "W"], model.score.weight.detach() * values["score", "scale"])


def test_every_layer_of_a_head_is_measured_and_computes_what_it_did():
    config = RobertaConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=20, pad_token_id=0,
    )  # fmt: skip
    model = seeded(lambda: RobertaForSequenceClassification(config))
    values, examples = found(model, rows())
    with torch.no_grad():
        x = torch.cat([model.roberta(**batch.inputs).last_hidden_state[:, 0] for batch in examples.batches(20)])
    name = "classifier.dense"
    torch.testing.assert_close(values[name, "mean"], x.mean(0), atol=1e-5, rtol=1e-4)
    centered = (x - x.mean(0)).square().mean().sqrt()
    assert float(values[name, "scale"]) == pytest.approx(float(centered), rel=1e-3)
    plain = Head().layer({factor: values[name, factor] for factor in ("W", "b", "mean", "scale")})
    torch.testing.assert_close(plain["W"], model.classifier.dense.weight.detach(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(plain["b"], model.classifier.dense.bias.detach(), atol=1e-4, rtol=1e-3)


def test_features_that_never_vary_keep_their_size():
    head = Head()
    layer = find_head(seeded(lambda: BertForSequenceClassification(_tiny())))[0]
    values = head.measured(layer, torch.ones(5, layer.in_features))
    assert values["scale"].tolist() == [1.0]


def _tiny():
    return BertModel.config_class(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3
    )


def test_a_fresh_head_starts_at_nothing_and_a_trained_one_as_it_is(tmp_path, tokenizer, sentences):
    body = seeded(lambda: BertModel(_tiny()))
    for layer in body.modules():
        if isinstance(layer, torch.nn.Linear):  # as if trained: where transformers leaves no marks, values tell
            layer.bias.data.normal_()
    body.save_pretrained(tmp_path / "body")
    fresh = BertForSequenceClassification.from_pretrained(tmp_path / "body", num_labels=2).eval()
    posterior = bayespeft.fit(
        fresh, sentences, "map", tokenizer=tokenizer, targets=["query"], train=STILL, progress=False
    )
    torch.testing.assert_close(posterior.predict(sentences).probs, torch.full((24, 2), 0.5, dtype=torch.float64))

    with torch.no_grad():
        fresh.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
        fresh.classifier.bias.fill_(0.3)
    fresh.save_pretrained(tmp_path / "trained")
    trained = BertForSequenceClassification.from_pretrained(tmp_path / "trained").eval()
    posterior = bayespeft.fit(
        trained, sentences, "map", tokenizer=tokenizer, targets=["query"], train=STILL, progress=False
    )
    with torch.no_grad():
        inputs = tokenizer([row["text"] for row in sentences], padding=True, return_tensors="pt")
        expected = trained(**inputs).logits.double().softmax(-1)
    torch.testing.assert_close(posterior.predict(sentences).probs, expected, atol=1e-5, rtol=1e-4)
    # And what peft, and a plain network, are given is the layer in its own coordinates.
    with torch.no_grad():
        merged = posterior.merged_model()(**inputs).logits.double().softmax(-1)
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=1e-4)
