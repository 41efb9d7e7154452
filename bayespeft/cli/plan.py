"""`bayespeft doctor --plan MODEL`: what a fit will cost, from the network's configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from bayespeft import registry
from bayespeft.errors import ConfigError, UnknownNameError
from bayespeft.fitting.costs import Costs, costs
from bayespeft.pretrained.base import Pretrained
from bayespeft.utils.memory import byte_text

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def plan(name: str, method: str, batch: int, length: int, dtype: str) -> Costs:
    """Count the costs of a fit; weights are neither read nor downloaded, of a name on the hub only the configuration.

    Raises:
        UnknownNameError: there is no such network, or method. ConfigError: no such precision; or see `costs`.
    """
    import transformers  # slow to import

    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype!r} is none of {', '.join(DTYPES)}.")
    chosen = registry.get("methods", method)
    try:
        config: Any = transformers.AutoConfig.from_pretrained(_path(name))
    except (OSError, ValueError) as error:
        raise UnknownNameError(
            f"no configuration of a network is found under {name!r}: give a built-in name, a folder or a name on the hub. "
            f"transformers says: {error}"
        ) from error
    writes = any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in config.architectures or ())
    auto = transformers.AutoModelForCausalLM if writes else transformers.AutoModelForSequenceClassification
    return costs(lambda: auto.from_config(config, dtype=DTYPES[dtype]), chosen, batch, length)


def _path(name: str) -> str:
    """Return the folder that is named, that of a built-in network, or a name on the hub as it is."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    try:
        known: Pretrained = registry.get("pretrained", name)
        return str(known.path())
    except UnknownNameError:
        return name


def lines(found: Costs) -> Iterator[tuple[str, str]]:
    """Yield what is counted, by name, as it is shown."""
    yield "network", f"{found.parameters:,} numbers, {byte_text(found.weight_bytes)}"
    yield "trained", f"{found.trained:,} numbers at {found.layers} layers, {byte_text(found.adapter_bytes)}"
    yield "gradients", byte_text(found.gradient_bytes)
    yield "optimiser", f"{byte_text(found.optimiser_bytes)} (AdamW)"
    yield "activations", f"{byte_text(found.activation_bytes)}, kept for the backward pass"
    yield "together", byte_text(found.bytes)
    yield "forward pass", f"{found.forward_flops / 1e12:.3g} TFLOP"
    yield "training step", f"{found.step_flops / 1e12:.3g} TFLOP"
