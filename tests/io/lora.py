"""LoRAs as peft trains and saves them, and what networks say of the same rows."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import bayespeft
from bayespeft.likelihoods.label_tokens import LabelTokens

LETTERS = LabelTokens(labels=("A", "B", "C"))


def peft_trained(base: nn.Module, path: Any, **options: Any) -> nn.Module:
    """What peft's user has after training: random B, and a head that is not the base's; saved at `path`."""
    network = get_peft_model(
        copy.deepcopy(base), LoraConfig(**{"r": 4, "lora_alpha": 8, "init_lora_weights": False} | options)
    ).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter))
    network.save_pretrained(path)
    return network


def encoded(posterior: bayespeft.Posterior, rows: Any) -> list[dict[str, torch.Tensor]]:
    examples = posterior.likelihood.encode(rows, posterior.tokenizer)
    return [{k: torch.tensor([v]) for k, v in example.items() if k != "labels"} for example in examples]


@torch.no_grad()
def log_probs(network: nn.Module, posterior: bayespeft.Posterior, rows: Any) -> torch.Tensor:
    """Predict one row at a time, with the network's own forward and nothing of this package's."""
    logits = torch.cat([network(**inputs).logits for inputs in encoded(posterior, rows)])
    return torch.log_softmax(logits, -1)


@torch.no_grad()
def label_log_probs(network: nn.Module, posterior: bayespeft.Posterior, rows: Any) -> torch.Tensor:
    ids = list(posterior.likelihood.token_ids)
    logits = torch.cat([network(**inputs).logits[:, -1, ids] for inputs in encoded(posterior, rows)])
    return torch.log_softmax(logits, -1)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected.double(), atol=1e-5, rtol=0)


def differ(found: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((found - other).abs().max() > 1e-2)


def logits(network, ids):
    with torch.no_grad():
        return network.eval()(input_ids=ids).logits
