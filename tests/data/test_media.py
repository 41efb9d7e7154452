"""Images and sounds: read by batch, fitted, reported and loaded again; what is no image or sound is our error."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2FeatureExtractor,
)

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.media import MediaExamples
from bayespeft.errors import ConfigError, DataError
from bayespeft.testing import networks

ONE = {"train": TrainConfig(steps=1, batch_size=4), "progress": False}
RATE = 100


@pytest.fixture
def processor():
    return ViTImageProcessor(size={"height": 16, "width": 16})


@pytest.fixture
def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        initializer_range=0.3, num_labels=2,
    )  # fmt: skip
    return ViTForImageClassification(config).eval()


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [
        {"image": random.integers(0, 256, (20, 24, 3)).astype(np.uint8), "label": i % 2} for i in range(8)
    ]  # sizes that the processor changes


def sounds(lengths):
    random = np.random.default_rng(0)
    return [
        {"audio": {"array": random.standard_normal(n), "sampling_rate": RATE}, "label": i % 2}
        for i, n in enumerate(lengths)
    ]


class Ear(torch.nn.Module):
    """A network of sounds: the mean of its samples, those of padding left out if a mask says which these are."""

    main_input_name = "input_values"

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Linear(1, 6), torch.nn.Linear(6, 2)

    def forward(self, input_values, attention_mask=None):
        mask = torch.ones_like(input_values) if attention_mask is None else attention_mask
        hidden = torch.tanh(self.first(input_values[..., None])) * mask[..., None]
        return self.last(hidden.sum(1) / mask.sum(1, keepdim=True))


def extractor(mask):
    return Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=False, return_attention_mask=mask)


def label(value, row):
    return value


def read(rows, processor=None, **options):
    return MediaExamples(rows, processor, label, **options)


def test_images_in_every_form_are_the_same_batch(images, processor, tmp_path):
    wanted = next(read(images, processor).batches(8)).inputs["pixel_values"]
    assert wanted.shape == (8, 3, 16, 16)
    pictures = [{**row, "image": Image.fromarray(row["image"])} for row in images]
    for i, row in enumerate(pictures):
        row["image"].save(tmp_path / f"{i}.png")
    forms = {
        "pillow": pictures,
        "paths": [{**row, "image": str(tmp_path / f"{i}.png")} for i, row in enumerate(images)],
        "tensors": [{**row, "image": torch.tensor(row["image"])} for row in images],
    }
    for rows in forms.values():
        torch.testing.assert_close(next(read(rows, processor).batches(8)).inputs["pixel_values"], wanted)
    grey = [{"image": row["image"].convert("L"), "label": 0} for row in pictures]
    assert next(read(grey, processor).batches(8)).inputs["pixel_values"].shape == (8, 3, 16, 16)
    ready = [{"pixel_values": tensor, "label": row["label"]} for tensor, row in zip(wanted, images, strict=True)]
    batch = next(read(ready).batches(8))
    torch.testing.assert_close(batch.inputs["pixel_values"], wanted)
    assert batch.labels.tolist() == [row["label"] for row in images]


def test_rows_are_read_when_their_batch_is(images, processor):
    class Counting(list):
        seen = 0

        def __getitem__(self, number):
            type(self).seen += 1
            return super().__getitem__(number)

    rows = Counting(images)
    batches = read(rows, processor).batches(2)
    before = Counting.seen
    next(batches)
    assert Counting.seen == before + 2
    part = read(rows, processor).subset(torch.tensor([3, 1]))
    assert next(part.batches(2)).labels.tolist() == [1, 1]


def test_a_posterior_over_a_network_of_images(vit, images, processor, tmp_path):
    posterior = bayespeft.fit(vit, images, "melora", tokenizer=processor, **ONE)
    assert {p.layer.name.rsplit(".", 1)[-1] for p in posterior.placements if not p.head} <= {
        "query",
        "value",
        "q_proj",
        "v_proj",
    }
    unlabelled = [{"image": row["image"]} for row in images]
    found = posterior.predict(unlabelled, draws=2)
    assert found.probs.shape == (8, 2)
    report = posterior.report(images, draws=2)
    assert (report.n, report.classes) == (8, 2)
    posterior.save(tmp_path / "run")
    again = bayespeft.load(tmp_path / "run", vit, tokenizer=processor)
    torch.testing.assert_close(again.predict(unlabelled, draws=2).probs, found.probs)
    # What the processor makes of them is as good, without it.
    ready = [
        {"pixel_values": p} for p in processor([row["image"] for row in images], return_tensors="pt")["pixel_values"]
    ]
    torch.testing.assert_close(bayespeft.load(tmp_path / "run", vit).predict(ready, draws=2).probs, found.probs)


def test_a_hub_data_set_names_columns_and_classes(vit, images, processor):
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    columns = {"img": [Image.fromarray(row["image"]) for row in images], "label": [row["label"] for row in images]}
    data = datasets.Dataset.from_dict(columns, features=features)
    posterior = bayespeft.fit(vit, data, "mle", tokenizer=processor, **ONE)
    plain = posterior.predict([{"image": row["image"]} for row in images], draws=1)
    torch.testing.assert_close(posterior.predict(data, draws=1).probs, plain.probs)
    assert posterior.likelihood.class_names == ("no", "yes")


def test_sounds_are_padded_where_a_mask_says_so():
    rows = sounds([30, 50, 40, 30])
    torch.manual_seed(0)
    posterior = bayespeft.fit(Ear(), rows, "mle", tokenizer=extractor(True), targets=["first"], **ONE)
    together = posterior.predict(rows, draws=1, batch_size=4).probs
    alone = torch.cat([posterior.predict([row], draws=1).probs for row in rows])
    torch.testing.assert_close(together, alone)
    with pytest.raises(DataError, match=r"rows 0 and 1 have 30 and 50 samples.*silence.*return_attention_mask"):
        next(read(rows, extractor(False)).batches(4))
    assert next(read(sounds([30] * 4), extractor(False)).batches(4)).inputs["input_values"].shape == (4, 30)


def test_a_spectrogram_transformer_reads_its_own_features():
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=16, num_mel_bins=16,
        num_labels=2, initializer_range=0.3,
    )  # fmt: skip
    rows = [{"input_values": torch.randn(16, 16), "label": i % 2} for i in range(6)]
    posterior = bayespeft.fit(ASTForAudioClassification(config).eval(), rows, "melora", **ONE)
    assert posterior.predict(rows, draws=2).probs.shape == (6, 2)


AUDIO = {"audio": {"array": [0.1] * 30, "sampling_rate": RATE}}
WRONG = {
    "no processor": ([{"image": np.zeros((8, 8, 3))}], None, "nothing to read it with.*AutoImageProcessor"),
    "a tokenizer": (
        [{"image": np.zeros((8, 8, 3))}],
        "tokenizer",
        "does not read that.*AutoImageProcessor",
    ),
    "of sounds": ([{"image": np.zeros((8, 8, 3))}], "ear", "Wav2Vec2FeatureExtractor.*AutoImageProcessor"),
    "of images": ([AUDIO], "image", r"ViTImageProcessor\w*, passed as.*AutoFeatureExtractor"),
    "a number": ([{"image": 3}], "image", "column 'image' of row 0 is 3: an image of Pillow"),
    "a missing file": ([{"image": "nowhere.png"}], "image", "'nowhere.png', which can't be read"),
    "undecoded": ([{"image": {"bytes": b"", "path": None}}], "image", "not decoded.*cast_column"),
    "none": ([{"image": np.zeros((8, 8, 3))}, {"image": None}], "image", "row 1 has no 'image'"),
    "two": (
        [{"image": np.zeros((8, 8, 3)), "pixel_values": np.zeros((3, 8, 8))}],
        "image",
        "one image or one sound a row",
    ),
    "a text besides": ([{"image": np.zeros((8, 8, 3)), "text": "what?"}], "image", "columns image, text"),
    "some labelled": ([{**AUDIO, "label": 1}, AUDIO], "ear", "row 1 has no label, and row 0 has one"),
    "bare samples": ([{"audio": [0.1, 0.2]}], "ear", "a mapping of 'array'.*'sampling_rate'"),
    "another rate": (
        [{"audio": {"array": [0.1] * 9, "sampling_rate": 44}}],
        "ear",
        "has 44 samples a second.* wants 100",
    ),
    "shapes": (
        [{"pixel_values": np.zeros((3, 4, 4))}, {"pixel_values": np.zeros((3, 4, 5))}],
        None,
        "arrays of one shape",
    ),
    "not finite": ([{"input_values": np.array([1.0, np.nan])}], None, "NaN or infinite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case, processor, tokenizer):
    rows, reader, message = WRONG[case]
    given = {"image": processor, "ear": extractor(True), "tokenizer": tokenizer, None: None}[reader]
    with pytest.raises(DataError, match=message):
        list(read(rows, given).batches(4))


def test_a_processor_for_texts_is_an_error(bert, sentences, processor, vit, images):
    with pytest.raises(DataError, match=r"ViTImageProcessor\w*, passed as tokenizer=, reads images or sounds"):
        bayespeft.fit(bert, sentences, "mle", tokenizer=processor, **ONE)
    with pytest.raises(DataError, match=r"likelihood 'language_modelling' reads .*images and sounds are classified"):
        bayespeft.fit(networks.llama(), images, "mle", tokenizer=processor, likelihood="language_modelling", **ONE)
    with pytest.raises(ConfigError, match="an image processor"):
        bayespeft.fit(vit, images, "mle", tokenizer=len, **ONE)
    rows = [{**row, "label": 7 if i == 3 else 0} for i, row in enumerate(images)]
    with pytest.raises(DataError, match=r"label 7, but the network has 2 outputs"):
        bayespeft.fit(vit, rows, "mle", tokenizer=processor, train=TrainConfig(steps=2, batch_size=8), progress=False)
