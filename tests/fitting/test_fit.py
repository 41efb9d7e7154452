"""`fit`, `predict`, `report`, `save`, `load` as a user calls them, and every error that bad input must raise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import GPT2Config, GPT2ForSequenceClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import (
    AttachError,
    ConfigError,
    DataError,
)
from bayespeft.guides.mean_field import MeanField
from bayespeft.priors.normal import Normal

QUICK = TrainConfig(steps=3, batch_size=8)


def quick(model: nn.Module, data: Any, guide: Any = "melora", **options: Any) -> bayespeft.Posterior:
    return bayespeft.fit(model, data, guide, **{"train": QUICK, "progress": False, **options})


def test_three_lines(bert, tokenizer, sentences):
    posterior = quick(bert, sentences, tokenizer=tokenizer, train=TrainConfig(epochs=40, batch_size=8, lr=0.02))
    predictive = posterior.predict(sentences, draws=4)
    assert predictive.probs.shape == (24, 2)
    assert float((predictive.probs.argmax(1) == predictive.labels).double().mean()) > 0.9
    report = posterior.report(sentences, draws=4, name="sentences")
    assert report.accuracy.low <= report.accuracy.value <= report.accuracy.high
    assert (report.n, report.draws, report.forward_passes, report.name) == (24, 4, 4, "sentences")
    assert report.trainable_parameters == posterior.joint_guide.trainable()


def test_one_draw_is_used_and_merged_in_evaluation_mode(bert, tokenizer, sentences):
    """Without the network's own dropout, whose mode, layer by layer, is the user's again afterwards."""
    posterior = quick(bert, sentences, "blob", tokenizer=tokenizer)
    inputs = tokenizer([row["text"] for row in sentences], padding=True, return_tensors="pt")
    with posterior.using(1) as network:
        expected = network(**inputs).logits
    bert.train()
    bert.bert.encoder.eval()
    before = [module.training for module in bert.modules()]
    with posterior.using(1) as network:
        assert not any(module.training for module in network.modules())
        assert torch.equal(network(**inputs).logits, expected)
    merged = posterior.merged_model(1)
    assert not any(module.training for module in merged.modules())
    torch.testing.assert_close(merged(**inputs).logits, expected, atol=1e-5, rtol=1e-5)
    assert [module.training for module in bert.modules()] == before


def test_every_form_of_data_gives_the_same_predictions(bert, tokenizer, sentences):
    posterior = quick(bert, sentences, tokenizer=tokenizer)
    encoded = [{**dict(tokenizer(row["text"])), "labels": row["label"]} for row in sentences]

    def collate(rows):
        batch = tokenizer.pad([{"input_ids": row["input_ids"]} for row in rows], return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}

    forms = [sentences, Dataset.from_list(sentences), encoded, DataLoader(encoded, batch_size=5, collate_fn=collate)]
    expected = posterior.predict(forms[0], draws=2)
    for data in forms[1:]:
        found = posterior.predict(data, draws=2)
        torch.testing.assert_close(found.probs, expected.probs, atol=1e-5, rtol=1e-4)
        assert torch.equal(found.labels, expected.labels)
        quick(bert, data, tokenizer=tokenizer)


def test_plain_module_with_pairs(mlp, xy):
    loader = DataLoader(TensorDataset(*xy), batch_size=16, shuffle=True)
    for data in (xy, loader, TensorDataset(*xy)):
        posterior = quick(mlp, data, targets="all-linear")
        assert posterior.predict(xy, draws=3).probs.shape == (60, 3)
    assert posterior.predict((xy[0],), draws=3).labels is None


def test_text_labels_and_pairs(bert, tokenizer):
    bert.config.id2label, bert.config.label2id = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}
    rows = [{"text": "a b", "text_pair": "c" * (i % 2), "label": ["no", "yes"][i % 2]} for i in range(6)]
    posterior = quick(bert, rows, tokenizer=tokenizer)
    assert posterior.predict(rows, draws=2).labels.tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(DataError, match=r"row 0: label 'maybe' is not among the network's classes no, yes"):
        posterior.predict([{"text": "a", "text_pair": "c", "label": "maybe"}])


def test_multiple_choice(llama, tokenizer, questions):
    posterior = quick(llama, questions, tokenizer=tokenizer)
    assert posterior.likelihood.labels == ("A", "B", "C")
    assert posterior.predict(questions, draws=2).probs.shape == (12, 3)


@pytest.mark.parametrize("guide", ["mle", "melora", "blob"])
def test_base_is_bit_equal_and_modes_are_restored(bert, tokenizer, sentences, guide):
    bert.train()
    bert.bert.embeddings.eval()
    modes = [module.training for module in bert.modules()]
    before = copy.deepcopy(bert.state_dict())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    posterior = quick(bert, sentences, guide, tokenizer=tokenizer)
    posterior.predict(sentences, draws=2)
    assert torch.equal(torch.rand(1), expected), "the caller's random state"
    assert [module.training for module in bert.modules()] == modes
    assert list(bert.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in bert.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in bert.parameters())
    assert not any(module._forward_hooks for module in bert.modules())


def test_a_seed_decides_everything(bert, tokenizer, sentences):
    first, again, other = (quick(bert, sentences, tokenizer=tokenizer, seed=seed) for seed in (0, 0, 1))
    probs = [p.predict(sentences, draws=3, seed=5).probs for p in (first, again, other)]
    assert torch.equal(probs[0], probs[1])
    assert not torch.equal(probs[0], probs[2])
    assert not torch.equal(probs[0], first.predict(sentences, draws=3, seed=6).probs)


def test_using_gives_the_network_one_draw(bert, tokenizer, sentences):
    posterior = quick(bert, sentences, tokenizer=tokenizer, train=TrainConfig(steps=20, lr=0.02))
    ids = tokenizer(["the cat is good"], return_tensors="pt")["input_ids"]
    kept = posterior.predict([{"input_ids": ids[0].tolist()}], draws=3, seed=2, keep_draws=True).draw_log_probs
    for draw in (0, 2):
        with posterior.using(draw, seed=2) as model:
            torch.testing.assert_close(model(ids).logits.log_softmax(-1)[0], kept[draw, 0], atol=1e-5, rtol=1e-4)
    mean = posterior.predict([{"input_ids": ids[0].tolist()}], draws=0).log_probs[0]
    with posterior.using() as model:
        torch.testing.assert_close(model(ids).logits.log_softmax(-1)[0].double(), mean, atol=1e-5, rtol=1e-4)


def test_settings_of_the_user_win_over_those_of_the_method(bert, tokenizer, sentences):
    method = bayespeft.methods()["melora"]
    posterior = quick(bert, sentences, tokenizer=tokenizer, train=TrainConfig(steps=2, kl_weight=0.3))
    assert posterior.method.train.kl_weight == 0.3
    assert posterior.method.train.lr == method.train.lr
    assert posterior.history.steps == 2
    changed = method.replace(point_prior=Normal(scale=0.1))
    assert quick(bert, sentences, changed, tokenizer=tokenizer).method.point_prior == Normal(scale=0.1)
    by_guide = quick(bert, sentences, MeanField(noise="batch"), tokenizer=tokenizer)
    assert by_guide.method.guide.noise == "batch"


def test_validation_goes_into_the_history(bert, tokenizer, sentences):
    train = TrainConfig(epochs=2, batch_size=8)
    posterior = quick(bert, sentences, tokenizer=tokenizer, validation=sentences[:6], train=train)
    validated = [record.validation for record in posterior.history.records if record.validation]
    assert len(validated) == 2
    assert set(validated[0]) == {"nll", "accuracy"}


def test_bf16_and_recomputed_activations_train(llama, tokenizer, questions):
    train = TrainConfig(steps=2, precision="bf16", checkpoint_activations=True)
    posterior = quick(llama, questions, tokenizer=tokenizer, train=train)
    assert {p.dtype for p in posterior.joint_guide.parameters()} == {torch.float32}


def test_not_a_number_in_inputs_is_an_error(mlp, xy):
    x = xy[0].clone()
    x[7, 2] = float("nan")
    with pytest.raises(DataError, match="7"):
        quick(mlp, (x, xy[1]), targets="all-linear")


def test_negative_draws_are_an_error(mlp, xy):
    with pytest.raises(ConfigError, match=r"draws=-1 must be .* at least 0 .*posterior mean"):
        quick(mlp, xy, targets="all-linear").predict(xy, draws=-1)


def test_report_without_labels_is_an_error(mlp, xy):
    with pytest.raises(DataError, match="report needs labels"):
        quick(mlp, xy, targets="all-linear").report((xy[0],))


def test_methods_print_as_a_table_with_references():
    methods = bayespeft.methods()
    assert set(methods) >= {"mle", "map", "melora", "blob", "blob_official"}
    assert "arXiv 2406.11675" in repr(methods)
    assert "| `melora` |" in methods.markdown()


def test_using_takes_mean_or_the_number_of_a_draw(mlp, xy):
    posterior = quick(mlp, xy, targets="all-linear")
    for draw in ("meen", -1, 1.5):
        with pytest.raises(ConfigError, match="draw="), posterior.using(draw):
            pass
    with posterior.using(np.int64(1)) as model:
        first = model(xy[0])
    with posterior.using(1) as model:
        assert torch.equal(model(xy[0]), first)


def test_no_second_adapter_inside_using(mlp, xy):
    posterior = quick(mlp, xy, targets="all-linear")
    with posterior.using(), pytest.raises(AttachError, match=r"'0' carries an adapter already"):
        posterior.predict(xy)
    assert not any(module._forward_hooks for module in mlp.modules())


@pytest.mark.parametrize("label", [9, -100])
def test_labels_of_a_loader_are_checked_batch_by_batch(mlp, xy, label):
    y = xy[1].clone()
    y[50] = label
    loader = DataLoader(TensorDataset(xy[0], y), batch_size=20)
    with pytest.raises(DataError, match=rf"has label {label}"):
        quick(mlp, loader, targets="all-linear", train=TrainConfig(epochs=1))
    floats = DataLoader(TensorDataset(xy[0], xy[1].double()), batch_size=20)
    with pytest.raises(DataError, match="integer per example"):
        quick(mlp, floats, targets="all-linear")


@pytest.mark.filterwarnings("ignore:the DataLoader shuffles")
def test_a_shuffling_loader_does_not_touch_the_callers_random_state(mlp, xy):
    loader = DataLoader(TensorDataset(*xy), batch_size=20, shuffle=True)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    quick(mlp, loader, targets="all-linear").predict(loader, draws=2)
    assert torch.equal(torch.rand(1), expected)


def test_fitting_works_where_gradients_are_switched_off(mlp, xy):
    with torch.no_grad():
        assert quick(mlp, xy, targets="all-linear").history.steps == 3


def test_a_network_that_caches_tensors_can_still_be_trained_afterwards(xy):
    class Caches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.table = nn.Linear(5, 3), None

        def forward(self, x):
            if self.table is None:
                self.table = torch.ones(3) * 2
            return self.layer(x) * self.table

    model = Caches()
    quick(model, xy, targets="all-linear").predict(xy, draws=2)
    model(xy[0]).sum().backward()
    assert model.layer.weight.grad is not None


def test_settings_must_be_settings(mlp, xy):
    with pytest.raises(ConfigError, match=r"train=\{'steps': 1\} must be a TrainConfig"):
        quick(mlp, xy, targets="all-linear", train={"steps": 1})


def test_a_decoder_classifier_does_not_depend_on_the_batch(tokenizer, sentences):
    left = copy.deepcopy(tokenizer)
    left.padding_side = "left"
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.5, pad_token_id=0
    )
    model = GPT2ForSequenceClassification(config).eval()
    posterior = quick(model, sentences, tokenizer=left)
    alone = posterior.predict(sentences, draws=2, batch_size=1)
    together = posterior.predict(sentences, draws=2, batch_size=8)
    torch.testing.assert_close(alone.probs, together.probs, atol=1e-5, rtol=1e-4)


def test_inference_mode_is_told_as_what_it_is(mlp, xy):
    with torch.inference_mode(), pytest.raises(ConfigError, match=r"inference_mode\(\) is on: call it outside"):
        quick(mlp, xy)
    assert quick(mlp, xy, targets="all-linear").predict(xy, draws=2).probs.shape == (60, 3)
