"""Stochastic variational inference: one loop, one torch optimiser, for every guide that does not bring its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Protocol

import pyro
import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import frozen, mode, recomputing
from bayespeft.data.batch import Batch
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError
from bayespeft.training.history import History, Record
from bayespeft.training.horizon import Verdict
from bayespeft.training.layerwise import in_turn
from bayespeft.training.optimiser import make_optimiser
from bayespeft.training.problem import Problem
from bayespeft.training.refresh import Refresher
from bayespeft.training.resume import Checkpoint, restore, snapshot
from bayespeft.training.schedule import lr_factor
from bayespeft.training.steps import Steps
from bayespeft.training.usable import check_state, usable
from bayespeft.utils.interrupts import postponed
from bayespeft.utils.memory import PeakMemory
from bayespeft.utils.randomness import seeded
from bayespeft.variational.joint_guide import JointGuide

RECORDS = 100


class Watcher(Protocol):
    """Sees training as it goes: a progress bar, a logger."""

    def start(self, steps: int, open_end: bool) -> None:
        """Training is about to take this many steps, or fewer where its end is open."""

    def record(self, record: Record) -> None:
        """Another stretch of steps is done."""

    def stop(self) -> None:
        """Training ended, well or not."""


class Lookout(Protocol):
    """Looks at a run now and then, and says when it has gone far enough.

    Attributes:
        looks: the steps after which it looks; validation happens there, and not after each epoch.
        keeps: what is kept at the end is the state that it found best, not the last.
    """

    looks: Collection[int]
    keeps: bool

    def see(self, history: History) -> Verdict:
        """Judge the run by its records."""


def _endless(examples: Examples, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield epoch after epoch, in an order that the generator alone decides: a run that is resumed must have the same."""
    while True:
        yield from examples.batches(batch_size, shuffle=generator)


def run(
    problem: Problem,
    watcher: Watcher | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    after: Callable[[int, JointGuide], None] | None = None,
    make: Callable[[Problem], torch.optim.Optimizer] = make_optimiser,
    checkpoint: Checkpoint | None = None,
    lookout: Lookout | None = None,
) -> History:
    """Minimise the objective and return what happened.

    The caller's random state, the network's modes and its gradients' switches are as before afterwards.

    Args:
        problem: what to fit.
        watcher: is told of each record.
        validate: called after each epoch; its numbers go into the record.
        after: called after each step with the number of steps done and what is being fitted.
        make: makes the optimiser. One with a method `sampled_params` (as IVON's) takes its gradients inside that context.
        checkpoint: where the state is written to, and where a run that was interrupted is taken up from.
        lookout: may end the run before its last step, and say which state is kept.

    Raises:
        FitError: the loss or a parameter is not finite. GuideError: the adapter merges, and the guide can't. ConfigError: a
            run with `after`, or an optimiser of its own, has a state that no checkpoint holds.
    """
    if checkpoint and (after or make is not make_optimiser):
        raise ConfigError(
            "this guide keeps a state of its own while it trains, which a checkpoint does not hold: leave checkpoint= out."
        )
    train, examples, joint_guide = problem.train, problem.examples, problem.joint_guide
    count = examples.batch_count(train.batch_size)
    total = train.total_steps(count)
    per_epoch = max(1, math.ceil(train.steps_per_epoch(count)))
    every = max(1, total // RECORDS)
    rows = examples.rows_per_batch(train.batch_size)
    looks = frozenset(lookout.looks) if lookout else frozenset[int]()
    batches = _endless(examples, train.batch_size, torch.Generator().manual_seed(problem.seed))
    optimiser = make(problem)
    perturbed = getattr(optimiser, "sampled_params", None)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: lr_factor(train, step, total))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    steps = Steps(problem, total, parameters)
    best: dict[str, Tensor] = {}
    refresh = Refresher(problem, per_epoch)
    first = 0
    with (
        seeded(problem.seed),
        torch.enable_grad(),
        frozen(problem.model),
        mode(problem.model, dropout=train.dropout),
        recomputing(problem.model, train.checkpoint_activations),
        PeakMemory(problem.device) as memory,
        in_turn(problem, optimiser, total) as begin,
        postponed(checkpoint is not None) as interrupts,
        problem.trunk_kept(),
    ):
        state = checkpoint.read() if checkpoint else None
        if checkpoint and state is not None:
            with usable(checkpoint.path):
                check_state(state, joint_guide.state_dict(), optimiser, total, problem.attachment.merged is not None)
                first = total if state["ended"] else state["done"]
                problem.replay(islice(batches, state["done"] * train.accumulate))
                restore(problem, optimiser, state)
                scheduler.load_state_dict(state["scheduler"])
                steps.restore(state)
                best = state["best"]
                refresh.seconds = steps.history.refresh_seconds
        if checkpoint and first < total:
            checkpoint.check_room(joint_guide.trainable())
        if watcher:
            watcher.start(total, lookout is not None)
        try:
            for step in range(first, total):
                begin(step)
                # Pyro's checks of shapes and of model against guide cost time; once is enough.
                with pyro.validation_enabled(step == first), perturbed(train=True) if perturbed else nullcontext():
                    steps.backward(list(islice(batches, train.accumulate)), rows)
                if train.clip:
                    nn.utils.clip_grad_norm_(parameters, train.clip)
                optimiser.step()
                scheduler.step()
                optimiser.zero_grad(set_to_none=True)
                steps.after()
                done = steps.done
                if after:
                    after(done, joint_guide)
                looking = done in looks or (lookout is None and (done % per_epoch == 0 or done == total))
                ended = False
                if done % every == 0 or done == total or (looking and (validate or lookout)):
                    loss, nll = steps.means()
                    with steps.average.applied():
                        validated = validate() if validate and looking else None
                        record = steps.record(loss, nll, done * train.accumulate / count, validated)
                        if lookout and looking:
                            verdict = lookout.see(steps.history)
                            ended = verdict.reason is not None
                            if lookout.keeps and verdict.best == done:
                                best = {k: v.detach().clone() for k, v in joint_guide.state_dict().items()}
                    if watcher:
                        watcher.record(record)
                if done < total and not ended:
                    refresh(done, optimiser)
                asked = interrupts.received is not None
                if checkpoint and (ended or asked or checkpoint.due(done, total)):
                    steps.history.refresh_seconds = refresh.seconds
                    checkpoint.write(
                        {
                            **steps.state(),
                            **snapshot(problem, optimiser),
                            "scheduler": scheduler.state_dict(),
                            "best": best,
                            "ended": ended,
                        }
                    )
                    if asked:
                        interrupts.end(
                            f"Stopped after step {done} of {total}; the state is in '{checkpoint.path}'. Call the same fit "
                            "again to go on from there."
                        )
                if ended:
                    break
        finally:
            if watcher:
                watcher.stop()
    joint_guide.zero_grad(set_to_none=True)
    steps.average.adopt()
    if best:
        joint_guide.load_state_dict(best)
    steps.history.seconds, steps.history.peak_memory_bytes = steps.seconds, memory.peak
    steps.history.refresh_seconds = refresh.seconds
    return steps.history
