"""Fresh layers are found, wherever they are, and trained, saved and loaded; what can't be trained is named."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import transformers as tf
from torch import nn

import bayespeft
from bayespeft.config import TrainConfig
from bayespeft.errors import AttachError
from bayespeft.layers.heads import find_fresh, find_head, fresh_parameters

TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE = {**VISION, "image_size": 8, "patch_size": 4}
ROWS = [{"input_ids": [2, 5 + i % 3, 9, 3], "labels": i % 3} for i in range(12)]
TRAIN = TrainConfig(steps=4, batch_size=4, lr=1e-2)


def fit(model, data=ROWS, **options):
    return bayespeft.fit(model, data, options.pop("guide", "mle"), train=TRAIN, progress=False, **options)


def names(layers):
    return [layer.name for layer in layers]


def test_head_is_what_lies_outside_the_body_of_a_classifier(bert, llama, mlp):
    assert names(find_head(bert)) == ["classifier"]
    assert names(find_fresh(bert)) == ["classifier"]
    assert find_head(llama) == []
    assert find_head(mlp) == []
    assert find_head(bert.bert) == []


AUDIO = {
    "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_layers": 1,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "num_mel_bins": 8, "max_source_positions": 8,
    "classifier_proj_size": 8, "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip
SPEECH = {**VISION, "vocab_size": 16, "conv_dim": (8,), "conv_stride": (4,), "conv_kernel": (4,),
          "num_feat_extract_layers": 1, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
          "classifier_proj_size": 8}  # fmt: skip


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: tf.CLIPForImageClassification(tf.CLIPConfig(vision_config=IMAGE, text_config=TEXT)), ["classifier"]),
        (
            lambda: tf.SiglipForImageClassification(tf.SiglipConfig(vision_config=IMAGE, text_config=TEXT)),
            ["classifier"],
        ),
        (lambda: tf.ViTForImageClassification(tf.ViTConfig(**IMAGE)), ["classifier"]),
        (lambda: tf.WhisperForAudioClassification(tf.WhisperConfig(**AUDIO)), ["projector", "classifier"]),
        (lambda: tf.Wav2Vec2ForSequenceClassification(tf.Wav2Vec2Config(**SPEECH)), ["projector", "classifier"]),
        (lambda: tf.BertForMultipleChoice(tf.BertConfig(**TEXT)), ["classifier"]),
        (lambda: tf.BertForMaskedLM(tf.BertConfig(**TEXT)), []),
    ],
    ids=["clip", "siglip", "vit", "whisper", "wav2vec2", "choice", "masked"],
)
def test_heads_of_other_kinds_of_networks(build, expected):
    assert names(find_head(build())) == expected


BODIES = {
    "bert": (tf.BertConfig, tf.BertModel, tf.BertForSequenceClassification, "bert.pooler.dense"),
    "albert": (tf.AlbertConfig, tf.AlbertModel, tf.AlbertForSequenceClassification, "albert.pooler"),
    "ernie": (tf.ErnieConfig, tf.ErnieModel, tf.ErnieForSequenceClassification, "ernie.pooler.dense"),
    "big_bird": (tf.BigBirdConfig, tf.BigBirdModel, tf.BigBirdForSequenceClassification, "bert.pooler"),
}


def headless(kind, tmp_path):
    """A checkpoint without a pooler, whose other layers are trained: biases are no longer zeros."""
    config, body, _, _ = BODIES[kind]
    options = {"attention_type": "original_full"} if kind == "big_bird" else {}
    options |= {"embedding_size": 8} if kind == "albert" else {}
    torch.manual_seed(0)
    model = body(config(**TEXT, **options), add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "base")


def classifier(kind, tmp_path, seed, marks=True):
    torch.manual_seed(seed)
    model = BODIES[kind][2].from_pretrained(tmp_path / "base", num_labels=3).eval()
    # A deep copy loses the marks of transformers, as versions before 5.0 leave none.
    return model if marks else copy.deepcopy(model)


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("kind", BODIES)
def test_a_pooler_that_the_checkpoint_lacked_is_trained_and_comes_with_the_posterior(kind, marks, tmp_path):
    headless(kind, tmp_path)
    model, other = (classifier(kind, tmp_path, seed, marks) for seed in (1, 2))
    pooler = BODIES[kind][3]
    before = model.get_submodule(pooler).weight.clone()
    posterior = fit(model, targets=["query", "value"])
    if kind == "big_bird":  # runs its pooler, and uses it for another task
        assert posterior.heads == {pooler, "classifier.dense", "classifier.out_proj"}
    else:
        assert posterior.heads == {pooler, "classifier"}
        assert (posterior.merged_model().get_submodule(pooler).weight - before).abs().max() > 1e-3
    assert torch.equal(model.get_submodule(pooler).weight, before)
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", other)
    assert torch.equal(loaded.predict(ROWS).log_probs, posterior.predict(ROWS).log_probs)


def test_nothing_is_fresh_in_a_body_that_a_checkpoint_brought(tmp_path):
    torch.manual_seed(0)
    network = tf.BertForSequenceClassification(tf.BertConfig(**TEXT, num_labels=3))
    network.save_pretrained(tmp_path)
    loaded = tf.BertForSequenceClassification.from_pretrained(tmp_path)
    assert fresh_parameters(loaded) == set()
    assert names(find_fresh(loaded)) == ["classifier"]
    assert fresh_parameters(network) == set()  # made from a configuration: nothing can be told apart


class Around(nn.Module):
    """A user's module that calls a classifier of transformers."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, input_ids, attention_mask=None):
        return self.network(input_ids=input_ids, attention_mask=attention_mask)


class OwnHead(nn.Module):
    """A user's head on the body of a classifier of transformers, whose own head plays no part."""

    def __init__(self, body, direct=False):
        super().__init__()
        self.body, self.direct = body, direct
        self.lines = nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask=None):
        first = self.body.base_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return nn.functional.linear(first, self.lines.weight) if self.direct else self.lines(first)


def test_the_head_of_a_network_inside_a_user_s_module_is_trained(bert, tmp_path):
    bert.classifier = nn.Linear(16, 3)
    bert.config.num_labels = 3
    plain = fit(bert, targets=["query", "value"])
    wrapped = fit(Around(bert), targets=["query", "value"])
    assert wrapped.heads == {"network.classifier"}
    assert torch.equal(wrapped.predict(ROWS).log_probs, plain.predict(ROWS).log_probs)


@pytest.mark.parametrize("marks", [True, False])
def test_a_user_s_own_head_is_trained_and_what_plays_no_part_may_differ(marks, tmp_path):
    headless("bert", tmp_path)

    def build(seed, **options):
        return OwnHead(classifier("bert", tmp_path, seed, marks), **options)

    posterior = fit(build(1), targets=["query", "value"])
    assert posterior.heads == {"lines", "body.bert.pooler.dense"}
    assert posterior.idle == {"body.classifier"}
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", build(2))
    assert torch.equal(loaded.predict(ROWS).log_probs, posterior.predict(ROWS).log_probs)
    with pytest.raises(AttachError, match=r"'lines' never runs as a module, but its weight is used directly"):
        fit(build(1, direct=True), targets=["query", "value"])


def test_what_is_random_and_not_trained_is_named(tmp_path):
    headless("bert", tmp_path)
    model = classifier("bert", tmp_path, 1)
    model.beside = nn.Embedding(3, 16)
    with pytest.warns(UserWarning, match=r"'beside.weight' came from no checkpoint.*save_pretrained"):
        fit(model, targets=["query", "value"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(classifier("bert", tmp_path, 1), targets=["query", "value"])


def test_a_head_of_images_learns():
    torch.manual_seed(0)
    model = tf.CLIPForImageClassification(tf.CLIPConfig(vision_config=IMAGE, text_config=TEXT, num_labels=3)).eval()
    rows = [{"pixel_values": torch.full((3, 8, 8), float(i % 3)), "labels": i % 3} for i in range(12)]
    train = TrainConfig(steps=30, lr=3e-2)
    loader = torch.utils.data.DataLoader(rows, batch_size=12)
    posterior = bayespeft.fit(model, loader, "mle", targets=["q_proj", "v_proj"], train=train, progress=False)
    assert posterior.heads == {"classifier"}
    assert posterior.history.records[-1].nll < 0.5  # it was ln 3 = 1.1
