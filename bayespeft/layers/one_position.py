"""What a module does at one position of its tokens: seen, changed everywhere else, or done there alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

FIRST, LAST = 0, -1


def cut(module: nn.Module, position: int) -> Callable[[], None]:
    """Cut what a module is given, (n, T, d), to `FIRST` or `LAST` from now on; return what ends that."""

    def hook(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]
        return (x[:, :1] if position == FIRST else x[:, -1:], *args[1:])

    return module.register_forward_pre_hook(hook).remove


@contextmanager
def noted(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any], Any]]]:
    """Take note of a module's calls inside the block: arguments, and what it gave."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any], Any]] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls.append((args, kwargs, output))

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def changed_elsewhere(module: nn.Module, position: int) -> Iterator[None]:
    """Have a module give other numbers at all positions but one, inside the block."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        leaves, structure = tree_flatten(output)
        hidden = of_tokens(output)
        other = -2 * hidden.roll(1, 1)
        other[:, position] = hidden[:, position]
        return tree_unflatten([other if leaf is hidden else leaf for leaf in leaves], structure)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def of_tokens(output: Any) -> Tensor:
    """Return the first tensor of what a block gives: that of its tokens, (n, T, d)."""
    return next(leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, Tensor))
