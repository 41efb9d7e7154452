"""What a network's `forward` takes, and what its key-value cache is called there."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

# The key-value cache has these names in a forward call and in its output: in newer releases of transformers, and in older.
CACHE_NAMES = ("cache", "past_key_values")


@contextmanager
def forwards_as_they_were(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Give modules their own forwards back at the end of the `with` block, whatever was put in their place inside it.

    A network that is spread over devices carries forwards of its own on its blocks.
    """
    before = [module.__dict__.get("forward") for module in modules]
    try:
        yield
    finally:
        for module, forward in zip(modules, before, strict=True):
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def takes(model: nn.Module, name: str) -> bool:
    """Whether `forward` has an argument of a name."""
    return name in inspect.signature(model.forward).parameters


def inputs_of(model: nn.Module) -> frozenset[str] | None:
    """Return the names of the inputs that `forward` takes; None where it does not say."""
    parameters = inspect.signature(model.forward).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    # A forward that passes on what it is given does not say what that may be; transformers' names at least its main input.
    opaque = any(p.kind is p.VAR_KEYWORD for p in parameters) and getattr(model, "main_input_name", "") not in names
    return None if opaque else frozenset(names - {"labels"})


def cache_name(model: nn.Module) -> str:
    """Return the name of the argument that takes the key-value cache."""
    return next((name for name in CACHE_NAMES if takes(model, name)), CACHE_NAMES[-1])


def cache_of(output: Any) -> Any:
    """Return the key-value cache that a forward pass returned; None where there is none."""
    return next((found for name in CACHE_NAMES if (found := getattr(output, name, None)) is not None), None)


def last_logits(model: nn.Module, kept: Any) -> dict[str, Any]:
    """Return the argument that asks for logits at these positions alone; nothing where `forward` has none."""
    return {"logits_to_keep": kept} if takes(model, "logits_to_keep") else {}
