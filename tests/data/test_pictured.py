"""Questions about images: rows answer as the batches do that a processor makes of them by hand, in every kind of network."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import DataError
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.testing import networks

Image = pytest.importorskip("PIL.Image", reason="images are Pillow's")

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SIZES, "vocab_size": 64, "pad_token_id": 0, "initializer_range": 0.5}
TOKENS = ["<image>", "<fake_token_around_image>", "<global-img>", "<row_1_col_1>", "<end_of_utterance>"]
QWEN = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TRAIN: dict[str, Any] = {"train": TrainConfig(steps=2, batch_size=8), "progress": False}


def reader(side: str = "right") -> Any:
    tokenizer = networks.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [*TOKENS, *QWEN]})
    tokenizer.padding_side = side
    return tokenizer


def picture(i: int, size: tuple[int, int] = (20, 30)) -> Any:
    return Image.fromarray(np.random.default_rng(i).integers(0, 255, (*size, 3), dtype=np.uint8))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        {
            "image": picture(i),
            "question": f"is the cat {'very ' * (i % 3)}good ?",
            "choices": ["good", "bad"] if i % 4 else ["good", "bad", "fine"],
            "answer": "AB"[i % 2],
        }
        for i in range(16)
    ]


def seeded(build: Any, config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config).eval()


def llava(side: str = "right") -> tuple[Any, Any]:
    tokenizer = reader(side)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer=tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        image_token="<image>",
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SIZES, image_size=16, patch_size=8, initializer_range=0.5),
        text_config=LlamaConfig(**TEXT),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    return seeded(LlavaForConditionalGeneration, config), processor


def idefics3(side: str = "right") -> tuple[Any, Any]:
    tokenizer, edge = reader(side), {"longest_edge": 32}
    images = Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(**SIZES, image_size=32, patch_size=8, initializer_range=0.5),
        text_config=LlamaConfig(**TEXT),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    processor = Idefics3Processor(image_processor=images, tokenizer=tokenizer, image_seq_len=4)
    return seeded(Idefics3ForConditionalGeneration, config), processor


class Patches:
    """What Qwen-VL's processor does: the patches of all images in one row. The class itself needs torchvision."""

    image_token, model_input_names, chat_template = "<|image_pad|>", ["input_ids", "pixel_values"], "a template"

    def __init__(self, tokenizer: Any, names: Any) -> None:
        self.image_processor = Qwen2VLImageProcessor(min_pixels=64, max_pixels=256, patch_size=4, merge_size=2)
        self.tokenizer, self._names = tokenizer, names

    def apply_chat_template(self, messages: Any, tokenize: bool, add_generation_prompt: bool) -> str:
        assert add_generation_prompt
        assert not tokenize
        asked = messages[0]["content"]
        assert [part["type"] for part in asked] == ["image", "text"]
        return f"[CLS]<|vision_start|><|image_pad|><|vision_end|>{asked[1]['text']}"

    def __call__(self, text: list[str], images: list[list[Any]], **options: Any) -> dict[str, Any]:
        pixels = self.image_processor(images=images, return_tensors="pt")
        counts = (pixels["image_grid_thw"].prod(1) // 4).tolist()
        texts = [t.replace(self.image_token, self.image_token * n) for t, n in zip(text, counts, strict=True)]
        found = self.tokenizer(texts, return_token_type_ids=False, **options)
        if "mm_token_type_ids" in self._names:
            places = found["input_ids"] == self.tokenizer.convert_tokens_to_ids(self.image_token)
            found["mm_token_type_ids"] = places.long()
        return {**found, **pixels}


def qwen(side: str = "right") -> tuple[Any, Any]:
    tokenizer = reader(side)
    number = tokenizer.convert_tokens_to_ids
    text = {**TEXT, "num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3}
    config = Qwen2VLConfig(
        text_config={**text, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        vision_config={
            "depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2,
            "initializer_range": 0.5,
        },
        **{f"{name}_token_id": number(f"<|{token}|>") for name, token in (
            ("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"), ("vision_end", "vision_end")
        )},
    )  # fmt: skip
    network = seeded(Qwen2VLForConditionalGeneration, config)
    return network, Patches(tokenizer, inspect.signature(network.forward).parameters)


def by_hand(rows: Any, processor: Any, front: str = "[CLS]<image>\n") -> dict[str, torch.Tensor]:
    """What the network takes, of a prompt that is written out."""
    texts = [
        f"{front}Question: {row['question']}\n"
        + "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABC", row["choices"], strict=False))
        + "\nAnswer:"
        for row in rows
    ]
    images = [[row["image"]] for row in rows]
    return dict(processor(text=texts, images=images, padding=True, add_special_tokens=False, return_tensors="pt"))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("make", [llava, idefics3])
def test_rows_answer_as_the_batches_of_a_loader(make, side, rows, tmp_path):
    network, processor = make(side)
    posterior = bayespeft.fit(network, rows, tokenizer=processor, **TRAIN)
    assert isinstance(posterior.likelihood, LabelTokens)
    assert posterior.likelihood.labels == ("A", "B", "C")
    found = posterior.predict(rows, draws=3)
    assert found.labels.tolist() == [i % 2 for i in range(16)]

    def collate(some: list[int]) -> dict[str, torch.Tensor]:
        few = [rows[i] for i in some]
        offered = torch.tensor([len(row["choices"]) for row in few])
        return {**by_hand(few, processor), "offered": offered}

    loader = DataLoader(range(16), batch_size=4, collate_fn=collate)
    torch.testing.assert_close(posterior.predict(loader, draws=3).log_probs, found.log_probs, atol=1e-5, rtol=1e-4)
    assert len(found.probs.unique(dim=0)) == 16, "each row has its own picture"
    alone = posterior.predict(rows, draws=3, batch_size=1)
    torch.testing.assert_close(alone.log_probs, found.log_probs, atol=1e-5, rtol=1e-4)
    # Rows that offer two choices have no third.
    assert all((probs[2] > 0) == (i % 4 == 0) for i, probs in enumerate(found.probs))
    posterior.save(tmp_path / "saved")
    loaded = bayespeft.load(tmp_path / "saved", network, tokenizer=processor)
    assert torch.equal(loaded.predict(rows, draws=3).log_probs, found.log_probs)
    unlabelled = [{name: value for name, value in row.items() if name != "answer"} for row in rows]
    assert torch.equal(loaded.predict(unlabelled, draws=3).log_probs, found.log_probs)
    assert posterior.report(rows, draws=2, resamples=20).n == 16


def test_the_mean_is_the_network_itself(rows):
    network, processor = llava()
    posterior = bayespeft.fit(network, rows, tokenizer=processor, **TRAIN)
    row = [rows[0]]
    with torch.no_grad():
        logits = posterior.merged_model()(**by_hand(row, processor)).logits[0, -1]
    ids = list(posterior.likelihood.token_ids)
    expected = logits[ids].double().softmax(-1)
    torch.testing.assert_close(posterior.predict(row, draws=0).probs[0], expected, atol=1e-5, rtol=1e-4)


def test_images_that_come_as_patches_in_a_row_have_equally_many(rows):
    network, processor = qwen()
    posterior = bayespeft.fit(network, rows, tokenizer=processor, **TRAIN)
    found = posterior.predict(rows, draws=3)
    alone = posterior.predict(rows, draws=3, batch_size=1)
    torch.testing.assert_close(alone.log_probs, found.log_probs, atol=1e-5, rtol=1e-4)
    assert len(found.probs.unique(dim=0)) == 16
    with torch.no_grad():
        inputs = by_hand(rows[:1], processor, "[CLS]<|vision_start|><|image_pad|><|vision_end|>")
        logits = posterior.merged_model()(**inputs).logits[0, -1, list(posterior.likelihood.token_ids)]
    expected = logits.double().softmax(-1)
    torch.testing.assert_close(posterior.predict(rows[:1], draws=0).probs[0], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(DataError, match=r"'pixel_values' of the shapes .* for row 0 and .* for row 1.*equally many"):
        posterior.predict([rows[0], {**rows[1], "image": picture(1, (40, 8))}])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_may_have_several_images(side, rows):
    """Of a network whose processor gives each row its own; layers of its eyes see an image a row, and group them."""
    network, processor = idefics3(side)
    more = [
        {"images": [row["image"], picture(100 + i)], **{k: v for k, v in row.items() if k != "image"}}
        for i, row in enumerate(rows)
    ]
    posterior = bayespeft.fit(network, more, tokenizer=processor, **TRAIN)
    found = posterior.predict(more, draws=3)
    alone = posterior.predict(more, draws=3, batch_size=1)
    torch.testing.assert_close(alone.log_probs, found.log_probs, atol=1e-5, rtol=1e-4)
    other = [{**row, "images": [row["images"][0], picture(200)]} for row in more]
    assert (posterior.predict(other, draws=3).probs - found.probs).abs().amax(1).min() > 1e-4
    row = more[1]
    text = f"[CLS]<image><image>\nQuestion: {row['question']}\nA. good\nB. bad\nAnswer:"
    inputs = processor(text=[text], images=[row["images"]], add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        logits = posterior.merged_model()(**inputs).logits[0, -1, list(posterior.likelihood.token_ids[:2])]
    expected = logits.double().softmax(-1)
    torch.testing.assert_close(posterior.predict([row], draws=0).probs[0, :2], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(DataError, match="row 1 has 1 images and row 0 has 2"):
        posterior.predict([more[0], {**more[1], "images": [picture(1)]}])


def test_several_images_whose_row_nobody_says_are_refused_by_name(rows):
    network, processor = llava()
    more = [{**row, "image": [row["image"], picture(50)]} for row in rows]
    with pytest.raises(DataError, match=r"has several images, and .* gives 'pixel_values' of all rows' images one"):
        bayespeft.fit(network, more, tokenizer=processor, **TRAIN)


def test_an_own_loop_reads_them_and_columns_may_be_called_otherwise(rows):
    network, processor = llava()
    named = [{"photo": row["image"], **{k: v for k, v in row.items() if k != "image"}} for row in rows]
    columns = {"image": "photo"}
    with bayespeft.adapt(network, named, 16, tokenizer=processor, columns=columns) as adaptation:
        optimizer = adaptation.optimizer()
        adaptation.loss(named[:4]).backward()
        optimizer.step()
        before = adaptation.predict(named[:4], draws=2)
    found = adaptation.posterior().predict(named[:4], draws=2)
    torch.testing.assert_close(found.log_probs, before.log_probs, atol=1e-5, rtol=1e-4)


def test_a_run_goes_on_and_classes_are_weighed(rows, tmp_path):
    network, processor = llava()
    fit = partial(bayespeft.fit, network, rows, tokenizer=processor, class_weight={"B": 0.5}, **TRAIN)
    first, again = fit(checkpoint=tmp_path), fit(checkpoint=tmp_path)
    assert first.likelihood.weights == (1, 0.5, 1)
    for name, value in first.joint_guide.state_dict().items():
        assert torch.equal(again.joint_guide.state_dict()[name], value)


def test_what_can_not_be_read_is_named(rows):
    network, processor = llava()
    fit = partial(bayespeft.fit, network, **TRAIN)
    with pytest.raises(
        DataError, match=r"CLIPImageProcessor.*, which reads one of both, was passed.*the network's processor"
    ):
        fit(rows, tokenizer=processor.image_processor)
    with pytest.raises(DataError, match="nothing was passed as tokenizer="):
        fit(rows)
    with pytest.raises(DataError, match="row 3: column 'question' must be a string"):
        fit([*rows[:3], {**rows[3], "question": 5}], tokenizer=processor)
    with pytest.raises(DataError, match="row 1 has no 'image'"):
        fit([rows[0], {**rows[1], "image": None}], tokenizer=processor)
    with pytest.raises(DataError, match=r"row \d+ has \d+ tokens with those of its image, and 12 fit"):
        fit(rows, tokenizer=processor, likelihood=LabelTokens(max_length=12))
    with pytest.raises(DataError, match="the answer is 2, and there are 2 choices"):
        fit([rows[0], {**rows[1], "answer": 2}], tokenizer=processor)
    with pytest.raises(DataError, match="column 'choices' must be a list of at least two strings"):
        fit([{name: value for name, value in row.items() if name != "choices"} for row in rows], tokenizer=processor)
    with pytest.raises(DataError, match="'image' and a question, and likelihood 'sequence_classification' reads"):
        fit(rows, tokenizer=processor, likelihood="sequence_classification")
    del processor.image_token
    with pytest.raises(DataError, match="no chat_template and no image_token"):
        fit(rows, tokenizer=processor)
