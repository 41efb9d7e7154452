"""What trainers of transformers do to a network that they are made around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from bayespeft.networks.configuration import cache_as_it_was


@contextmanager
def given_to_trainer(network: nn.Module) -> Iterator[None]:
    """Let a trainer be made around a network inside a `with` block, and take off what it does to it.

    A quantised network passes for one with adapters, which it will have: trainers refuse it otherwise.
    """
    forward = network.__dict__.get("forward")
    marked = network.__dict__.get("_hf_peft_config_loaded")
    try:
        if getattr(network, "is_quantized", False):
            network._hf_peft_config_loaded = True  # type: ignore[assignment]
        with cache_as_it_was(network):
            yield
    finally:
        for name, before in (("forward", forward), ("_hf_peft_config_loaded", marked)):
            network.__dict__.pop(name, None)
            if before is not None:
                network.__dict__[name] = before
