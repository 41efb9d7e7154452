"""What layers are given in a forward pass, and the dense gradients of their weights, by hooks on the untouched network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from bayespeft.errors import AttachError
from bayespeft.layers.layer import Layer
from bayespeft.utils.memory import free_memory

Summand = Literal["signed", "absolute", "squared"]

# What is added up of each gradient -> its function.
SUMMAND: dict[Summand, Callable[[Tensor], Tensor]] = {
    "signed": torch.Tensor.clone,
    "absolute": torch.abs,
    "squared": torch.square,
}


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], hook_of: Callable[[str], Any]) -> Iterator[None]:
    """Have a forward hook on each module inside the block, `hook_of` its name: (module, args, kwargs, output)."""
    handles = [module.register_forward_hook(hook_of(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def noting(layers: Iterable[Layer]) -> Iterator[set[str]]:
    """Note the names of those layers that run as modules inside the block.

    What gives more than a tensor, or other numbers than it says, is no linear map, though its class may stem from one
    (routers to experts) or it may have a linear map's attributes.
    """
    ran: set[str] = set()

    by_name = {layer.name: layer for layer in layers}

    def noter(name: str) -> Any:
        layer = by_name[name]
        return lambda _, args, kwargs, output: ran.add(name) if layer.fits(_given(args, kwargs), output) else None

    with _hooked({name: layer.module for name, layer in by_name.items()}, noter):
        yield ran


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
        size: of the input's first axis.
        like: another axis is as long as there are two examples.
        rows: a number for each row: a projection of it, always the same.
        exact: the input is in single precision at least.
    """

    size: int
    like: bool
    rows: Tensor
    exact: bool


@contextmanager
def calls_of(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Call]]]:
    """Note each call of each layer inside the block, in which the network runs on two examples."""
    found: dict[str, list[Call]] = {name: [] for name in modules}

    def noter(name: str) -> Any:
        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], __: object) -> None:
            x = _given(args, kwargs)
            generator = torch.Generator().manual_seed(0)
            direction = torch.randn(x.shape[-1], generator=generator).to(x.device)
            rows = x.detach().float().reshape(-1, x.shape[-1]) @ direction
            found[name].append(Call(len(x), 2 in x.shape[1:-1], rows, x.dtype in (torch.float32, torch.float64)))

        return note

    with _hooked(modules, noter):
        yield found


@contextmanager
def watching(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Note what each layer is given inside the block, and a leaf of zeros that was added to what it returned."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

    def watcher(name: str) -> Any:
        def watch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            leaf = torch.zeros_like(output, requires_grad=True)
            seen[name].append((_given(args, kwargs).detach(), leaf))
            return output + leaf

        return watch

    with _hooked(modules, watcher):
        yield seen


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the input of a layer, however it was passed."""
    x: Tensor = args[0] if args else next(iter(kwargs.values()))
    return x


class _Watched(torch.autograd.Function):
    """Pass y on; in the backward pass give the weight's dense gradient dy^T x to a leaf that stands for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, leaf: Tensor) -> Tensor:
        # Saved, not kept: activations that are computed again in the backward pass are not held here.
        ctx.save_for_backward(x)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[None, Tensor, Tensor]:
        (x,) = ctx.saved_tensors
        with torch.autocast(dy.device.type, enabled=False):
            return None, dy, dy.flatten(0, -2).float().mT @ x.flatten(0, -2).float()


@dataclass(frozen=True, slots=True)
class Counted:
    """Which gradients of a layer are added up, and how.

    Attributes:
        steps: those of these steps, the first of which is 0.
        of: what of each: the gradient itself, its absolute value, or its square.
    """

    steps: range
    of: Summand


class DenseGradients:
    """Adds up gradients of each layer inside a `with` block: one G for each backward pass, however often the layer ran.

    Args:
        counted: by layer.
        device: where the network runs. Sums are kept there, if it has room for them, or on the CPU.

    Attributes:
        totals: float32 (m, n) by the layer's name.

    Raises:
        AttachError: there is no room for the sums.
    """

    def __init__(self, counted: Mapping[Layer, Counted], device: torch.device) -> None:
        sizes = [layer.out_features * layer.in_features for layer in counted]
        need = 4 * (sum(sizes) + max(sizes))
        place = device if need < free_memory(device) // 2 else torch.device("cpu")
        if need > (free := free_memory(place)):
            raise AttachError(
                f"the gradients of {len(sizes)} layers that the mask is chosen by take {need:,} bytes, and {free:,} are free. "
                "Adapt fewer layers (targets=), or take mask='random'."
            )
        self._counted, self._device, self._done = counted, device, 0
        self.totals = {
            layer.name: torch.zeros(layer.out_features, layer.in_features, device=place) for layer in counted
        }

    def __enter__(self) -> DenseGradients:
        self._handles = []
        for layer, counted in self._counted.items():
            # No memory of its own: autograd sums a layer's gradients of one backward pass here, then hands them over.
            leaf = torch.zeros((), device=self._device).expand(self.totals[layer.name].shape).requires_grad_()
            leaf.register_post_accumulate_grad_hook(self._adder(layer.name, counted.of))  # type: ignore[no-untyped-call]
            self._handles.append(
                layer.module.register_forward_hook(self._watcher(counted.steps, leaf), with_kwargs=True)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def after(self, done: int, _: Any) -> None:
        """Note how many steps are done."""
        self._done = done

    def _adder(self, name: str, of: Summand) -> Any:
        def add(leaf: Tensor) -> None:
            assert leaf.grad is not None
            gradient = leaf.grad.to(self.totals[name].device)
            leaf.grad = None
            self.totals[name].add_(SUMMAND[of](gradient))

        return add

    def _watcher(self, steps: range, leaf: Tensor) -> Any:
        def watch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled() or self._done not in steps:
                return output
            watched = _Watched.apply(_given(args, kwargs), output, leaf)  # type: ignore[no-untyped-call]
            assert isinstance(watched, Tensor)
            return watched

        return watch
