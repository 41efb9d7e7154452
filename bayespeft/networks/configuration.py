"""What a network's configuration says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from bayespeft.errors import ConfigError


def setting(model: nn.Module | None, name: str) -> Any:
    """Return what a network's configuration says under a name; None where it says nothing, or there is none."""
    return getattr(getattr(model, "config", None), name, None)


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether a network is a decoder behind an encoder."""
    return bool(setting(model, "is_encoder_decoder"))


def remembers_everything(model: nn.Module) -> bool:
    """Whether nothing in a network's configuration says that a token's keys depend on what follows, or are forgotten.

    Windows and chunks of attention forget; some ways to count positions (dynamic, longrope) depend on how long a text is.
    """
    parts = [part for part in (setting(model, "text_config"), getattr(model, "config", None)) if part is not None]

    def said(name: str) -> Any:
        return next((found for part in parts if (found := getattr(part, name, None)) is not None), None)

    window = said("sliding_window") is not None and said("use_sliding_window") is not False
    kinds = set(said("layer_types") or ())
    rope = said("rope_parameters") or said("rope_scaling") or {}
    nested = [value for value in rope.values() if isinstance(value, dict)] or [rope]
    counted = {str(part.get("rope_type", part.get("type", "default"))) for part in nested}
    return (
        bool(parts)
        and not (is_encoder_decoder(model) or window or said("attention_chunk_size"))
        and kinds <= {"full_attention"}
        and counted <= {"default", "linear", "llama3", "yarn"}
    )


def name_of(model: nn.Module) -> str:
    """Return where a network was loaded from, as far as it says so; an empty text otherwise."""
    return str(setting(model, "name_or_path") or "")


def names_of_outputs(model: nn.Module | None) -> tuple[str, ...]:
    """Return what a network's configuration calls its outputs, in order; none where it says nothing.

    Raises:
        ConfigError: its `id2label` does not number them 0, 1, ...
    """
    known = setting(model, "id2label") or {}
    try:
        # Keys may be text: JSON has no others.
        by_number = {int(number): str(name) for number, name in known.items()}
    except (AttributeError, TypeError, ValueError):
        by_number = {-1: ""}
    if sorted(by_number) != list(range(len(by_number))):
        raise ConfigError(
            f"model.config.id2label is {known!r:.200}: it must name the outputs 0, 1, ..., as in {{0: 'no', 1: 'yes'}}."
        )
    return tuple(by_number[number] for number in range(len(by_number)))


def name_outputs(model: nn.Module, names: Sequence[str]) -> None:
    """Let a network's configuration call its outputs by these names, where there are any."""
    config: Any = getattr(model, "config", None)
    if names and config is not None:
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}


@contextmanager
def cache_as_it_was(model: nn.Module, *, off: bool = False) -> Iterator[None]:
    """Leave a network's key-value cache switched as it was at the end of the `with` block; inside, it may be switched off."""
    config: Any = getattr(model, "config", None)
    before = setting(model, "use_cache")
    try:
        if off and before:
            config.use_cache = False
        yield
    finally:
        if before is not None:
            config.use_cache = before
