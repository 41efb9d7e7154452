"""Merge and go on: adapters that train in one subspace after another (ROSA) merge what they learned, and begin anew.

At a merge the function is preserved: the mean of the change goes into the layer's own weight, and the new factors start at
a change of zero. Means, fixed factors and prior centers are replaced, the adapter says how much spread is carried over, and
the optimiser forgets its moments of these factors, which belonged to others. The learning rate's schedule goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor

from bayespeft.layers.factors import Factor, StackedFactor
from bayespeft.training.problem import Problem


class Refresher:
    """Merges what layers have learned and gives them new factors, every so many steps.

    Attributes:
        seconds: spent so far.
    """

    def __init__(self, problem: Problem, steps_per_epoch: int) -> None:
        self.problem = problem
        self.seconds = 0.0
        # A fit that starts from a posterior trains in its subspace, and shares with it what was merged before.
        self._intervals = {
            p.layer.name: interval
            for p in problem.attachment.placements
            if not problem.started and (interval := p.adapter.merge_interval(steps_per_epoch)) is not None
        }

    def __call__(self, done: int, optimiser: torch.optim.Optimizer) -> None:
        """Merge the layers whose time has come after `done` steps."""
        due = {name for name, interval in self._intervals.items() if done % interval == 0}
        if not due:
            return
        begin = time.perf_counter()
        # The seed goes by the step and not by a stream, so that a resumed run draws what it would have drawn.
        generator = torch.Generator().manual_seed(self.problem.seed * 1_000_003 + done)
        self._merge(due, generator, optimiser)
        self.seconds += time.perf_counter() - begin

    @torch.no_grad()
    def _merge(self, due: set[str], generator: torch.Generator, optimiser: torch.optim.Optimizer) -> None:
        joint_guide, attachment = self.problem.joint_guide, self.problem.attachment
        old = joint_guide.by_layer()
        new: dict[str, dict[str, Factor]] = {}
        for placement in attachment.placements:
            layer = placement.layer
            if layer.name in due:
                assert attachment.merged is not None
                attachment.merged.merge(layer, *placement.adapter.low_rank_change(old[layer.name], layer))
                new[layer.name] = placement.adapter.factors(layer, generator)
        for stack in joint_guide.stacks:
            if due & set(stack.layers):
                self._restart(stack, old, new, optimiser)

    def _restart(
        self,
        stack: StackedFactor,
        old: Mapping[str, Mapping[str, Tensor]],
        new: Mapping[str, Mapping[str, Factor]],
        optimiser: torch.optim.Optimizer,
    ) -> None:
        joint_guide, device = self.problem.joint_guide, self.problem.device
        means = joint_guide.mean()[stack.name].clone()
        center = joint_guide.get_buffer(f"center_{stack.name}")
        for name, row in stack.rows.items():
            if name in new:
                factor = new[name][stack.factor]
                means[row] = factor.init.to(device)
                center[row] = 0 if factor.center is None else factor.center.to(device)

        variance = self._carried(stack, old, new)
        for parameter in joint_guide.restart(stack, means, variance):
            optimiser.state.pop(parameter, None)

    def _carried(
        self, stack: StackedFactor, old: Mapping[str, Mapping[str, Tensor]], new: Mapping[str, Mapping[str, Factor]]
    ) -> Tensor | None:
        """Return the variance (layers, ...) that a stack starts again with: of new factors, what their adapters carry over."""
        before = self.problem.joint_guide.variance(stack)
        if before is None:
            return None
        variance, initial = before
        adapters = {p.layer.name: p.adapter for p in self.problem.attachment.placements}
        rows = []
        for name, row in stack.rows.items():
            if name not in new:
                rows.append(variance[row])
                continue
            fresh = {key: factor.init.to(self.problem.device) for key, factor in new[name].items()}
            rows.append(adapters[name].carried(stack.factor, variance[row], initial, old[name], fresh))
        return torch.stack(rows)
