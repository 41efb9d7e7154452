"""Annotations, and values that don't fit them, in words: what error messages are made of."""

from __future__ import annotations

import os
import reprlib
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from torch import Tensor, nn

from bayespeft.utils.annotations import BOUNDS, Must

NAMES: dict[Any, str] = {
    type(None): "None",
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    nn.Module: "a network: an nn.Module, as AutoModelForSequenceClassification.from_pretrained returns one",
    Tensor: "a tensor",
}


def described(hint: Any) -> str:
    """Return what a hint asks for, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        said = [bound.say for bound in arguments[1:] if isinstance(bound, Must)]
        limits = [
            f"{BOUNDS[type(b)][2]} {getattr(b, BOUNDS[type(b)][0]):,}" for b in arguments[1:] if type(b) in BOUNDS
        ]
        notes = "".join(f" ({note})" for note in arguments[1:] if isinstance(note, str))
        return said[0] if said else f"{described(arguments[0])}, {' and '.join(limits)}{notes}"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(one) for one in arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, os.PathLike):
            return "a path"
        if issubclass(origin, Callable):  # type: ignore[arg-type]
            return "a function"
        if issubclass(origin, Mapping):
            return f"a mapping from {described(arguments[0])} to {described(arguments[1])}"
        each = " or ".join(dict.fromkeys(described(one) for one in arguments if one is not ...))
        return f"a {origin.__name__.lower()} in which each is {each}"
    if hint is Any:
        return "anything"
    return NAMES.get(hint, f"a {getattr(hint, '__name__', hint)}")


def layout_of(tensor: Tensor) -> str:
    """Return what a tensor is that does not have its numbers side by side."""
    return "nested" if tensor.is_nested else f"sparse ({tensor.layout})"


def shown(value: Any) -> str:
    """Return a short text of any value, in one line; of tensors and arrays the shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        return f"<{type(value).__name__} of shape {tuple(value.shape)}>"
    try:
        return " ".join(reprlib.repr(value).split())
    except Exception:  # a foreign object's repr may do anything
        return f"<{type(value).__name__}>"
