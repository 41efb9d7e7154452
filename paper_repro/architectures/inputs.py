"""Data that any architecture can be shown: tokens, images or sounds of random numbers, with labels of its task."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from paper_repro.architectures.tiny import CLASSES, VOCABULARY

# Unequal, so that a network that puts positions before examples can't pass for one that does not.
ROWS, LENGTH = 4, 8
SAMPLES = 2000


def data_for(task: str, model: nn.Module) -> Any:
    """Return a few labelled examples in a form that `bayespeft.fit` takes."""
    generator = torch.Generator().manual_seed(1)
    name = str(model.main_input_name)
    labels = torch.arange(ROWS) % CLASSES
    if name == "input_ids" and not task.startswith(("image", "audio")):
        tokens = torch.randint(10, VOCABULARY, (ROWS, LENGTH), generator=generator)
        if task == "sequence" and model.config.is_encoder_decoder:
            tokens[:, -1] = model.config.eos_token_id
        written: Any = tokens if task in ("causal", "seq2seq") else labels
        return [
            {"input_ids": ids.tolist(), "attention_mask": [1] * LENGTH, "labels": label.tolist()}
            for ids, label in zip(tokens, written, strict=True)
        ]
    inputs = _others(name, model, generator)
    if task in ("causal", "seq2seq"):
        labels = torch.randint(10, VOCABULARY, (ROWS, LENGTH), generator=generator)
    rows = [{**{key: value[i] for key, value in inputs.items()}, "labels": labels[i]} for i in range(ROWS)]
    return DataLoader(rows, batch_size=ROWS)  # type: ignore[arg-type]


def _others(name: str, model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Return images or sounds, as the input of a name has them."""
    config: Any = model.config

    def noise(*shape: int) -> Tensor:
        return torch.randn(ROWS, *shape, generator=generator)

    if name == "input_values" and hasattr(config, "max_length") and hasattr(config, "num_mel_bins"):
        return {name: noise(config.max_length, config.num_mel_bins)}  # a spectrogram
    if name == "input_values":
        return {name: noise(SAMPLES)}
    if name == "input_features" and config.model_type == "whisper":
        return {name: noise(config.num_mel_bins, 2 * config.max_source_positions)}
    if name == "input_features":
        sides = (getattr(config, side, None) for side in ("feature_projection_input_dim", "input_feat_per_channel"))
        return {name: noise(64, next((side for side in sides if side), 80))}
    if config.model_type == "imagegpt":
        return {"input_ids": torch.randint(10, VOCABULARY, (ROWS, LENGTH), generator=generator)}
    if config.model_type == "siglip2":
        shapes = torch.tensor([[4, 4]] * ROWS)
        mask = torch.ones(ROWS, 16, dtype=torch.long)
        return {
            name: noise(16, 3 * config.vision_config.patch_size**2),
            "pixel_attention_mask": mask,
            "spatial_shapes": shapes,
        }
    vision: Any = getattr(config, "vision_config", config)
    size = getattr(vision, "image_size", 64)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return {name: noise(getattr(vision, "num_channels", 3), height, width)}
