"""What was pretrained in a network, and what was made beside it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter

from bayespeft.networks.configuration import setting
from bayespeft.networks.embeddings import output_embedding


def pretrained(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost models of transformers in a network, each with the beginning of its parameters' names."""
    within: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(within or ("\0",)):
            continue
        if isinstance(getattr(module, "base_model_prefix", None), str) and hasattr(module, "config"):
            prefix = f"{name}." if name else ""
            yield prefix, module
            if not name:
                return
            within = (*within, prefix)


def body_of(network: nn.Module) -> nn.Module:
    """Return the part of a model that its task did not add; the whole of a language model, or of a body alone."""
    if output_embedding(network) is not None:
        return network
    body = getattr(network, str(network.base_model_prefix) or "\0", None)
    if isinstance(body, nn.Module):
        return body
    if "Classification" not in type(network).__name__:
        return network
    # Some hold their body under other names (CLIP's vision_model, Whisper's encoder): it is by far the largest part.
    return max(network.children(), key=lambda child: sum(p.numel() for p in child.parameters()))


def came_from_checkpoint(parameter: Parameter) -> bool:
    """Whether transformers (5.0 and later) left the mark on a parameter that it leaves on those that it loaded."""
    return bool(getattr(parameter, "_is_hf_initialized", False))


def initial_spread(network: nn.Module) -> float | None:
    """Return the standard deviation that a network's fresh weights are drawn with; None where it does not say."""
    found: float | None = setting(network, "initializer_range")
    return found
