"""The warm-up of adapters that want to see gradients of the dense weight before they know what to train.

Point factors and heads train by maximum likelihood for some steps, none where there is nothing to train, and for some more, in
whose backward passes each layer's dense gradient G = dy^T x is computed, one layer at a time, added up (itself, its absolute
value, or its square), and dropped. Then the adapter chooses, and all that was trained is thrown away. Needs no layer's weight,
so a frozen quantised base will do. One accumulator, 4 m n bytes, for each layer that asks, and one gradient of the same size
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import WarmUp
from bayespeft.errors import AttachError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.point import Point
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.flat import Flat
from bayespeft.training.loop import run
from bayespeft.training.optimiser import make_optimiser
from bayespeft.training.problem import Problem
from bayespeft.utils.memory import free_memory
from bayespeft.variational.joint_guide import JointGuide

# What is added up of each gradient -> its function.
SUMMAND: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": torch.Tensor.clone,
    "absolute": torch.abs,
    "squared": torch.square,
}


def warmed_up(problem: Problem, guide: GuideSpec) -> Problem:
    """Return the problem with the fixed factors that its adapters choose after a warm-up, everything else fresh.

    A problem whose adapters want none, or that starts from a fitted posterior (which brings its choice), comes back as it
    is. Each micro-batch of the warm-up counts as one step, and its gradient is that of its NLL per example of a mean batch.

    Args:
        problem: with its hooks switched on.
        guide: the settings of its guide, which is built anew.

    Raises:
        AttachError: the accumulators don't fit into memory. FitError: the loss, or a gradient, is not finite.
    """
    placements = {placement.layer.name: placement for placement in problem.attachment.placements}
    asked = {name: warm for name, p in placements.items() if (warm := p.adapter.warm_up()) is not None}
    if problem.started or not asked:
        return problem
    stacks = problem.joint_guide.stacks
    absent = {(name, factor) for name, warm in asked.items() for factor in warm.absent}
    trained = [replace(stack, prior=Flat()) for stack in stacks if (stack.layers[0], stack.factor) not in absent]
    point = JointGuide(trained, Point(), torch.Generator().manual_seed(problem.seed), problem.device)
    if not any(True for _ in point.parameters()):
        # Steps in which nothing trains leave the network as it is, and have nothing to go backward to.
        asked = {name: replace(warm, steps=0) for name, warm in asked.items()}
    steps = max(warm.steps + warm.gradients for warm in asked.values())
    train = problem.train.replace(steps=steps, accumulate=1, lr_schedule="constant", layers_at_once=None)
    with _Recording({name: placements[name] for name in asked}, asked, problem.device) as recording:
        run(replace(problem, joint_guide=point, train=train), make=_optimiser, after=recording.after)
        totals = recording.totals
    chosen = {name: placements[name].adapter.warmed_up(placements[name].layer, totals.pop(name)) for name in asked}
    final = [_chosen(stack, chosen) for stack in stacks]
    joint_guide = JointGuide(final, guide, torch.Generator().manual_seed(problem.seed), problem.device)
    return replace(problem, joint_guide=joint_guide)


def _chosen(stack: StackedFactor, chosen: Mapping[str, Mapping[str, Tensor]]) -> StackedFactor:
    """Return the stack with those of its rows that were chosen."""
    rows = [chosen.get(layer, {}).get(stack.factor, stack.init[row]) for layer, row in stack.rows.items()]
    if stack.role != "fixed" or stack.shared:
        return stack
    return replace(stack, init=torch.stack([row.cpu() for row in rows]))


def _optimiser(problem: Problem) -> torch.optim.Optimizer:
    """Where nothing trains (no low-rank part, no head) gradients are those of the base."""
    if any(True for _ in problem.joint_guide.parameters()):
        return make_optimiser(problem)
    return torch.optim.SGD([torch.zeros(())], lr=0.0)


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


class _Recording:
    """Adds up gradients of each layer inside a `with` block: one G for each backward pass, however often the layer ran.

    Attributes:
        totals: (m, n) by layer.
    """

    def __init__(self, placements: Mapping[str, Placement], asked: Mapping[str, WarmUp], device: torch.device) -> None:
        sizes = {name: p.layer.out_features * p.layer.in_features for name, p in placements.items()}
        need = 4 * (sum(sizes.values()) + max(sizes.values()))
        place = device if need < free_memory(device) // 2 else torch.device("cpu")
        if need > (free := free_memory(place)):
            raise AttachError(
                f"the gradients of {len(sizes)} layers that the mask is chosen by take {need:,} bytes, and {free:,} are free. "
                "Adapt fewer layers (targets=), or take mask='random'."
            )
        self._asked, self._placements, self._device, self._done = asked, placements, device, 0
        self.totals = {
            name: torch.zeros(p.layer.out_features, p.layer.in_features, device=place) for name, p in placements.items()
        }

    def __enter__(self) -> _Recording:
        self._handles = []
        for name, placement in self._placements.items():
            # No memory of its own: autograd sums a layer's gradients of one backward pass here, then hands them over.
            leaf = torch.zeros((), device=self._device).expand(self.totals[name].shape).requires_grad_()
            leaf.register_post_accumulate_grad_hook(self._adder(name))  # type: ignore[no-untyped-call]
            self._handles.append(
                placement.layer.module.register_forward_hook(self._watcher(name, leaf), with_kwargs=True)
            )
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def after(self, done: int, _: Any) -> None:
        """Note how many steps are done."""
        self._done = done

    def _looks(self, name: str) -> bool:
        """Whether the gradients of the step that is under way count for a layer."""
        warm = self._asked[name]
        return warm.steps <= self._done < warm.steps + warm.gradients

    def _adder(self, name: str) -> Any:
        def add(leaf: Tensor) -> None:
            assert leaf.grad is not None
            gradient = leaf.grad.to(self.totals[name].device)
            leaf.grad = None
            self.totals[name].add_(SUMMAND[self._asked[name].of](gradient))

        return add

    def _watcher(self, name: str, leaf: Tensor) -> Any:
        def watch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            if not torch.is_grad_enabled() or not self._looks(name):
                return output
            x = args[0] if args else next(iter(kwargs.values()))
            watched = _Watched.apply(x, output, leaf)  # type: ignore[no-untyped-call]
            assert isinstance(watched, Tensor)
            return watched

        return watch
