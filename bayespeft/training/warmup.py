"""The warm-up of adapters that want to see gradients of the dense weight before they know what to train.

Point factors and heads train by maximum likelihood for some steps, or none where there is nothing to train. In the steps that
follow, each layer's dense gradient G = dy^T x is computed in the backward pass, one layer at a time, added up (itself, its
absolute value, or its square), and dropped. Then the adapter chooses, and all that was trained is thrown away. No weight of a
layer is read, so that the base may be frozen and quantised. It takes an accumulator of 4 m n bytes for each layer that asks,
and one gradient of that size at a time.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bayespeft.guides.base import GuideSpec
from bayespeft.guides.point import Point
from bayespeft.layers.watched import Counted, DenseGradients
from bayespeft.priors.flat import Flat
from bayespeft.training.loop import run
from bayespeft.training.optimiser import make_optimiser
from bayespeft.training.problem import Problem
from bayespeft.variational.joint_guide import JointGuide


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
    counted = {
        placements[name].layer: Counted(range(warm.steps, warm.steps + warm.gradients), warm.of)
        for name, warm in asked.items()
    }
    with DenseGradients(counted, problem.device) as recording:
        run(replace(problem, joint_guide=point, train=train), make=_optimiser, after=recording.after)
        totals = recording.totals
    chosen = {name: placements[name].adapter.warmed_up(placements[name].layer, totals.pop(name)) for name in asked}
    final = [stack.starting_at(chosen) if stack.role == "fixed" and not stack.shared else stack for stack in stacks]
    joint_guide = JointGuide(final, guide, torch.Generator().manual_seed(problem.seed), problem.device)
    return replace(problem, joint_guide=joint_guide)


def _optimiser(problem: Problem) -> torch.optim.Optimizer:
    """Return the optimiser of the warm-up; one that does nothing where nothing trains (no low-rank part, no head)."""
    if any(True for _ in problem.joint_guide.parameters()):
        return make_optimiser(problem)
    return torch.optim.SGD([torch.zeros(())], lr=0.0)
