"""Layer-wise training: the network's blocks in turn, from the last to the first, everything else all of the time.

Block-coordinate descent as in BAdam (Luo et al. 2024, arXiv 2404.02827), each block visited once and in descending order;
unlike gradual unfreezing (Howard and Ruder 2018, arXiv 1801.06146), a block is at rest again when its turn is over. What
rests is bound without gradients, so the backward pass ends at the lowest block that is trained, and what lies below keeps
no activations. Blocks are told by number, as in `Targets.layers`; heads, layers without a number (a pooler) and factors
that several blocks share with one in training are trained along. Every stage begins with fresh moments of the blocks'
factors; the learning rate goes on along its one schedule. The objective stays what it is: prior terms count all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import ConfigError
from bayespeft.layers.factors import StackedFactor
from bayespeft.layers.layer import block_of
from bayespeft.training.problem import Problem


def stages(problem: Problem) -> list[frozenset[int]]:
    """Return the numbers of the blocks that are trained together, in the order of training."""
    names = {layer for stack in problem.stacks if stack.role != "head" for layer in stack.layers}
    blocks = sorted({block for name in names if (block := block_of(name)) is not None}, reverse=True)
    size = problem.train.layers_at_once or max(len(blocks), 1)
    return [frozenset(blocks[i : i + size]) for i in range(0, len(blocks), size)]


def resting_rows(stack: StackedFactor, stage: frozenset[int]) -> frozenset[int]:
    """Return the rows of a stack all of whose layers rest in a stage."""
    if stack.role in ("head", "fixed"):
        return frozenset()
    awake = {row for layer, row in stack.rows.items() if (block := block_of(layer)) is None or block in stage}
    return frozenset(stack.rows.values()) - awake


@contextmanager
def in_turn(problem: Problem, optimiser: torch.optim.Optimizer, steps: int) -> Iterator[Callable[[int], None]]:
    """Train the blocks in turn inside a `with` block, if the settings say so.

    Args:
        problem: what is trained; `train.layers_at_once` says how.
        optimiser: of its parameters, made with `train.weight_decay`.
        steps: of the whole run.

    Yields:
        A function to call before each step with its number, counted from 0, wherever a resumed run begins.

    Raises:
        ConfigError: there is nothing to take in turn, or there are fewer steps than stages, or the optimiser is not AdamW.
    """
    if problem.train.layers_at_once is None or len(stages(problem)) == 1:
        yield lambda step: None
        return
    turns = _Turns(problem, optimiser, steps)
    try:
        yield turns.begin
    finally:
        turns.end()


class _Turns:
    """Stage after stage of one run."""

    def __init__(self, problem: Problem, optimiser: torch.optim.Optimizer, steps: int) -> None:
        self._joint_guide, self._optimiser, self._steps = problem.joint_guide, optimiser, steps
        self._stages = stages(problem)
        self._resting = [{p.name: rows for p in problem.stacks if (rows := resting_rows(p, s))} for s in self._stages]
        self._stacks = {stack.name: stack for stack in problem.stacks}
        self._check(problem)
        self._parameters = self._by_stack()
        self._stage: int | None = None
        self._stack = ExitStack()
        # Decay moves what has no gradient, too: it is done here, row by row, in place of AdamW's.
        decay = problem.train.weight_decay
        spread = {id(parameter) for parameter in self._joint_guide.latent.spread()}
        for group in optimiser.param_groups:
            if decay and not spread & {id(parameter) for parameter in group["params"]}:
                group["weight_decay"] = 0.0
        self._decay = optimiser.register_step_pre_hook(partial(self._decayed, decay, spread)) if decay else None

    def _check(self, problem: Problem) -> None:
        size = problem.train.layers_at_once
        if not any(self._resting):
            names = sorted({layer for stack in problem.stacks if stack.role != "head" for layer in stack.layers})
            raise ConfigError(
                f"layers_at_once={size}: the adapted layers ({names[0]}, ...) have no block's number in their names, or share "
                "all that is trained, so there is nothing to take in turn. Leave layers_at_once out."
            )
        if self._steps < len(self._stages):
            raise ConfigError(
                f"layers_at_once={size} makes {len(self._stages)} stages, but there are {self._steps} steps. Raise epochs, "
                "steps or layers_at_once."
            )
        if not isinstance(self._optimiser, torch.optim.AdamW):
            raise ConfigError(
                f"layers_at_once={size} trains with AdamW, and this guide brings its own optimiser, "
                f"{type(self._optimiser).__name__}, which would go on moving the layers at rest. Leave layers_at_once out."
            )

    def _by_stack(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each stack that ever rests; each has a row for a row of its stack."""
        found: dict[str, list[nn.Parameter]] = {name: [] for resting in self._resting for name in resting}
        for name, parameter in self._joint_guide.named_parameters():
            stack = name.rsplit(".", 1)[-1]
            if stack not in self._stacks or len(parameter) != len(self._stacks[stack].init):
                raise ConfigError(
                    f"layers_at_once: parameter '{name}' of the guide has no row for each layer, so a layer can't rest. Leave "
                    "layers_at_once out, or take another guide."
                )
            if stack in found:
                found[stack].append(parameter)
        return found

    def begin(self, step: int) -> None:
        """Put to rest and wake what the stage of this step says."""
        stage = step * len(self._stages) // self._steps
        if stage == self._stage:
            return
        self._stack.close()
        self._stage = stage
        self._joint_guide.resting = self._resting[stage]
        if step == 0 or (step - 1) * len(self._stages) // self._steps != stage:
            for parameters in self._parameters.values():
                for parameter in parameters:
                    self._optimiser.state.pop(parameter, None)
        for name, rows in self._resting[stage].items():
            for parameter in self._parameters[name]:
                index = torch.tensor(sorted(rows), device=parameter.device)
                # Prior terms give every layer gradients, whichever is bound.
                handle = parameter.register_hook(partial(_without, index))  # type: ignore[no-untyped-call]
                self._stack.callback(handle.remove)

    def _decayed(self, decay: float, spread: set[int], optimiser: torch.optim.Optimizer, *_: Any) -> None:
        """Decay what is trained now, as AdamW does before its step."""
        resting = self._row_indices(self._joint_guide.resting)
        with torch.no_grad():
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None or id(parameter) in spread:
                        continue
                    factor = torch.full_like(parameter, 1 - group["lr"] * decay)
                    if id(parameter) in resting:
                        factor[resting[id(parameter)]] = 1.0
                    parameter.mul_(factor)

    def _row_indices(self, resting: Mapping[str, frozenset[int]]) -> dict[int, list[int]]:
        return {id(p): sorted(rows) for name, rows in resting.items() for p in self._parameters[name]}

    def end(self) -> None:
        """Wake everything, and take the hooks off."""
        self._stack.close()
        self._joint_guide.resting = {}
        if self._decay is not None:
            self._decay.remove()


def _without(index: Tensor, gradient: Tensor) -> Tensor:
    return gradient.index_fill(0, index, 0.0)
