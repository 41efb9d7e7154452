"""Images: rows as they are, a processor in the place of the tokenizer, and a posterior over adapters of a vision transformer.

Stripes are told from checks in noise, by a tiny network of random weights, so that nothing is downloaded. With a network of
the hub: AutoModelForImageClassification and AutoImageProcessor, and rows of `datasets.load_dataset`, whose `image` is read
as it stands. Sounds go the same way, with `audio` and a feature extractor.

python examples/image_classification.py
"""

import numpy as np
import torch
import typer
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import bayespeft
from bayespeft import CalibrationReport, TrainConfig

NAMES = ("stripes", "checks")


def pictures(n: int, seed: int, noise: float = 60.0) -> list[dict[str, object]]:
    """Return rows with an `image`, (32, 32, 3) in 0..255, and a `label`, the name of its class."""
    random = np.random.default_rng(seed)
    across = np.arange(32) // 4 % 2
    patterns = np.broadcast_to(across, (32, 32)), across ^ across[:, None]
    rows: list[dict[str, object]] = []
    for i in range(n):
        clean = 60.0 + 120.0 * np.roll(patterns[i % 2], random.integers(8, size=2), (0, 1))
        image = np.clip(clean[..., None] + noise * random.standard_normal((32, 32, 3)), 0, 255).astype(np.uint8)
        rows.append({"image": image, "label": NAMES[i % 2]})
    return rows


def network() -> ViTForImageClassification:
    """Return a vision transformer of random weights that knows the names of the two classes."""
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    return ViTForImageClassification(config).eval()


def main(rows: int = 64, test_rows: int = 64, steps: int = 150) -> CalibrationReport:
    """Fit, predict and report."""
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    posterior = bayespeft.fit(
        network(),
        pictures(rows, seed=1),
        "melora",
        tokenizer=processor,
        targets="all-linear",
        train=TrainConfig(steps=steps, lr=5e-3),
    )
    found = posterior.predict([{"image": row["image"]} for row in pictures(4, seed=2)], draws=8)
    print(found.probs)
    report = posterior.report(pictures(test_rows, seed=3), draws=8, name="stripes and checks")
    print(report)
    return report


if __name__ == "__main__":
    typer.run(main)
