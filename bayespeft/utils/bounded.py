"""Tensors above a size are refused before they are allocated: for sizes that stand in a file, and may be anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# These operations make a tensor of a size that none of their tensor arguments has.
_OF_A_SIZE = frozenset(
    {"empty", "empty_strided", "full", "normal", "ones", "rand", "randint", "randn", "zeros"}
    | {"new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros"}
)


class TooLarge(Exception):
    """A tensor would be larger than the bound; `numbers` says how many it would hold."""

    def __init__(self, numbers: int) -> None:
        super().__init__(f"a tensor of {numbers:,} numbers")
        self.numbers = numbers


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within its `with` block no operation makes, or works on, a tensor of more than so many numbers.

    Args:
        numbers: the largest number of elements that is allowed.

    Raises:
        TooLarge: an operation would need more.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._numbers = numbers

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at the sizes that an operation was given, then let it run."""
        wanted = _wanted(func.overloadpacket.__name__, args)
        if wanted > self._numbers:
            raise TooLarge(wanted)
        return func(*args, **(kwargs or {}))


def _wanted(name: str, args: Sequence[Any]) -> int:
    """Return how many numbers an operation's largest tensor holds, as far as its arguments say."""
    tensors = [
        one for arg in args for one in (arg if isinstance(arg, (list, tuple)) else (arg,)) if isinstance(one, Tensor)
    ]
    wanted = max((tensor.numel() for tensor in tensors), default=0)
    sizes = [prod(arg) for arg in args if isinstance(arg, (list, tuple)) and arg and all(type(n) is int for n in arg)]
    if name in _OF_A_SIZE and sizes:
        return max(wanted, max(sizes))
    if name == "repeat" and sizes:
        return wanted * sizes[0]
    if name in ("eye", "randperm", "arange"):
        ends = [abs(int(arg)) for arg in args if isinstance(arg, (int, float))]
        return max(wanted, ends[0] * ends[-1] if name == "eye" else max(ends, default=0))
    if name in ("mm", "bmm"):
        rows = int(args[0].numel()) // max(int(args[0].shape[-1]), 1)
        return max(wanted, rows * int(args[1].shape[-1]))
    return wanted
