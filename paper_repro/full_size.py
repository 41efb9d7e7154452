"""A paper's own configuration, tried dry: how many numbers it trains in LLaMA-2-7B, and one step of it on a tiny Llama.

The network of 7B is on PyTorch's meta device, which knows shapes and holds no numbers; the adapter makes its tensors for one
layer of each shape. The step on the tiny one builds what the configuration says: adapter, guide, priors, schedule.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import bayespeft
from bayespeft import Method, TrainConfig
from bayespeft.layers.targets import find_layers
from bayespeft.testing import networks

# LLaMA-2-7B, as its configuration says.
SHAPE: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
}  # fmt: skip


def trained(method: Method) -> tuple[int, int]:
    """Return how many layers of LLaMA-2-7B a method adapts, and how many numbers it trains in them.

    A latent counts by the numbers of its guide: a mean and a standard deviation each in mean field.
    """
    with torch.device("meta"):
        network = LlamaForCausalLM(LlamaConfig(**SHAPE))
    layers = find_layers(network, method.targets)
    shapes = Counter((layer.out_features, layer.in_features) for layer in layers)
    total, shared = 0, {}
    for shape, number in shapes.items():
        layer = next(layer for layer in layers if (layer.out_features, layer.in_features) == shape)
        for name, factor in method.adapter.blank(layer, torch.Generator().manual_seed(0)).items():
            if factor.role == "fixed":
                continue
            spread = 2 if factor.role == "latent" and method.guide.kind in ("mean_field", "mean_field_reversed") else 1
            size = spread * math.prod(factor.init.shape)
            if factor.shared:
                shared[name] = size
            else:
                total += number * size
    return len(layers), total + sum(shared.values())


def step(method: Method) -> float:
    """Take one step of a configuration on a tiny random Llama with questions of three choices; return its NLL in nats.

    Raises:
        RuntimeError: what was fitted is not what the configuration says, or the NLL is no number.
    """
    posterior = bayespeft.fit(
        networks.llama(),
        networks.questions(),
        method,
        tokenizer=networks.tokenizer(),
        train=TrainConfig(steps=1, batch_size=4),
        progress=False,
    )
    fitted = posterior.method
    same = ("adapter", "guide", "latent_prior", "point_prior", "targets")
    wrong = [name for name in same if getattr(fitted, name) != getattr(method, name)]
    nll = posterior.history.records[-1].nll
    if wrong or not math.isfinite(nll):
        raise RuntimeError(f"{method.name}: {', '.join(wrong) or 'the NLL'} is not what the configuration says ({nll})")
    return nll
