"""Stochastic variational inference: one loop, one torch optimiser, for every guide that does not bring its own."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import pyro
import torch
from torch import Tensor, nn

from bayespeft.adapters.attach import frozen, mode, recomputing
from bayespeft.config import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.data.columns import missing_labels
from bayespeft.data.examples import Examples
from bayespeft.errors import ConfigError, FitError
from bayespeft.layers.factors import Pack
from bayespeft.training.averaging import PathAverage
from bayespeft.training.history import History, Record
from bayespeft.training.horizon import Verdict
from bayespeft.training.layerwise import in_turn
from bayespeft.training.problem import Problem
from bayespeft.training.refresh import Refresher
from bayespeft.training.resume import Checkpoint, restore, snapshot
from bayespeft.training.schedule import kl_weight, lr_factor
from bayespeft.utils.interrupts import postponed
from bayespeft.utils.memory import PeakMemory
from bayespeft.utils.randomness import seeded
from bayespeft.variational.approximation import Approximation
from bayespeft.variational.reported import point_constants

RECORDS = 100


class Watcher(Protocol):
    """Sees training as it goes: a progress bar, a logger."""

    def start(self, steps: int) -> None:
        """Training is about to take this many steps."""

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


@dataclass
class _Stretch:
    """Sums since the last record.

    Attributes:
        priors: the prior terms of each step, as they were in its loss.
        nlls: the NLL of each step, summed over its examples.
        rows: the examples of each step.
    """

    priors: list[Tensor] = field(default_factory=list)
    nlls: list[Tensor] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def add(self, prior: Tensor, nll: Tensor, rows: int) -> None:
        self.priors.append(prior)
        self.nlls.append(nll)
        self.rows.append(rows)

    def means(self) -> tuple[float, float]:
        """Return loss and NLL per example, and begin anew."""
        nll = float(torch.stack(self.nlls).sum()) / sum(self.rows)
        loss = nll + float(torch.stack(self.priors).mean())
        for part in (self.priors, self.nlls, self.rows):
            part.clear()
        return loss, nll


def total_steps(train: TrainConfig, examples: Examples) -> int:
    """Return the number of optimiser steps of a run."""
    if isinstance(train.steps, int):
        return train.steps
    return max(1, math.ceil(train.epochs * examples.batch_count(train.batch_size) / train.accumulate))


def _endless(examples: Examples, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield epoch after epoch, in an order that the generator alone decides: a run that is resumed must have the same."""
    while True:
        yield from examples.batches(batch_size, shuffle=generator)


def make_optimiser(problem: Problem) -> torch.optim.Optimizer:
    """Return AdamW with groups for factors (one for each learning rate), variational spread and heads."""
    train, approximation = problem.train, problem.approximation
    spread = {id(parameter) for parameter in approximation.latent.spread()}
    rates = {pack.name: _rate(train, pack) for pack in approximation.packs}
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in approximation.named_parameters():
        if id(parameter) in spread:
            key = train.variational_lr, 0.0
        else:
            key = rates.get(name.rsplit(".", 1)[-1], train.lr), train.weight_decay
        found.setdefault(key, []).append(parameter)
    groups = [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in found.items()]
    return torch.optim.AdamW(groups)


def _rate(train: TrainConfig, pack: Pack) -> float:
    """Return the peak learning rate of a pack's elements.

    A step of Adam moves every element by about its rate, so that an output moves by the rate times the number of inputs.
    """
    inputs = pack.init.shape[-1] if pack.init.dim() > 2 else 1
    if pack.role == "head":
        return train.head_lr / inputs
    lr = train.factor_lr.get(pack.factor, train.lr)
    return lr if train.width is None or inputs <= train.width else lr * train.width / inputs


def _accumulate(problem: Problem, batches: list[Batch], weight: float, rows: float) -> tuple[Tensor, Tensor, int]:
    """Add up the gradients of micro-batches as if they were one batch.

    Args:
        problem: what is fitted.
        batches: the micro-batches of one step.
        weight: of KL / N.
        rows: the mean size of a micro-batch over a pass, by which sums over examples are divided: a short one then weighs
            less, and every example the same.

    Returns:
        The step's prior terms as they are in its loss, the sum of its examples' NLL (both detached), and their number.
    """
    prior, nll_sum = torch.zeros((), device=problem.device), torch.zeros((), device=problem.device)
    for batch in batches:
        if batch.labels is None:
            raise missing_labels("training")
        if problem.classes is not None:
            # Batch by batch: a loader's labels can't be checked beforehand.
            problem.likelihood.check_labels(batch.labels, problem.classes)
        loss, nll = problem.loss(batch.to(problem.device), weight, rows)
        torch.autograd.backward(loss / len(batches))
        prior += (loss.detach() - nll * len(batch) / rows) / len(batches)
        nll_sum += nll * len(batch)
    return prior, nll_sum, sum(map(len, batches))


def _descend_on_prior(problem: Problem, weight: float, lr: float) -> Tensor:
    """Take one step of plain gradient descent on the weighted prior terms; return their value before it, detached."""
    loss = problem.prior_loss(weight)
    if not loss.requires_grad:
        return loss
    torch.autograd.backward(loss)
    with torch.no_grad():
        for parameter in problem.approximation.parameters():
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-lr)
    return loss.detach()


def _finite(problem: Problem, loss: float, step: int) -> None:
    bad = [name for name, p in problem.approximation.named_parameters() if not torch.isfinite(p).all()]
    if math.isfinite(loss) and not bad:  # the parameters may have gone since the last loss
        return
    where = f"'{bad[0]}' is no longer finite" if bad else "the parameters are finite, so the network's output is not"
    raise FitError(
        f"the loss is {loss} at step {step}: {where}. Lower lr or variational_lr, set precision='float32', or check the "
        "inputs."
    )


def run(
    problem: Problem,
    watcher: Watcher | None = None,
    validate: Callable[[], dict[str, float]] | None = None,
    after: Callable[[int, Approximation], None] | None = None,
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
    train, examples, approximation = problem.train, problem.examples, problem.approximation
    steps = total_steps(train, examples)
    count = examples.batch_count(train.batch_size)
    per_epoch = max(1, math.ceil(count / train.accumulate))
    every = max(1, steps // RECORDS)
    rows = examples.rows_per_batch(train.batch_size)
    looks = frozenset(lookout.looks) if lookout else frozenset[int]()
    batches = _endless(examples, train.batch_size, torch.Generator().manual_seed(problem.seed))
    optimiser = make(problem)
    perturbed = getattr(optimiser, "sampled_params", None)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: lr_factor(train, step, steps))
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    average = PathAverage(parameters, train.average)
    best: dict[str, Tensor] = {}
    refresh = Refresher(problem, per_epoch)
    history, stretch, constant = History(), _Stretch(), point_constants(problem.approximation)
    start, first = time.perf_counter(), 0
    with (
        seeded(problem.seed),
        torch.enable_grad(),
        frozen(problem.model),
        mode(problem.model, dropout=train.dropout),
        recomputing(problem.model, train.checkpoint_activations),
        PeakMemory(problem.device) as memory,
        in_turn(problem, optimiser, steps) as begin,
        postponed(checkpoint is not None) as interrupts,
    ):
        state = checkpoint.read() if checkpoint else None
        if state is not None:
            first = steps if state["ended"] else state["done"]
            deque(islice(batches, state["done"] * train.accumulate), maxlen=0)  # the order of the data, replayed
            restore(problem, optimiser, state)
            scheduler.load_state_dict(state["scheduler"])
            history = History.from_dict(state["history"])
            priors, nlls = ([t.to(problem.device) for t in state[name]] for name in ("priors", "nlls"))
            stretch = _Stretch(priors, nlls, state["rows"])
            average.restore(state["average"])
            best = state["best"]
            start -= history.seconds
            refresh.seconds = history.refresh_seconds
        if watcher:
            watcher.start(steps)
        try:
            for step in range(first, steps):
                begin(step)
                weight = kl_weight(train, step, steps, len(examples))
                # Pyro's checks of shapes and of model against guide cost time; once is enough.
                with pyro.validation_enabled(step == first), perturbed(train=True) if perturbed else nullcontext():
                    joint = weight if train.kl_lr is None else 0.0
                    terms, nll, size = _accumulate(problem, list(islice(batches, train.accumulate)), joint, rows)
                if train.clip:
                    nn.utils.clip_grad_norm_(parameters, train.clip)
                optimiser.step()
                scheduler.step()
                optimiser.zero_grad(set_to_none=True)
                if train.kl_lr is not None:
                    terms = terms + _descend_on_prior(problem, weight, train.kl_lr * lr_factor(train, step, steps))
                    optimiser.zero_grad(set_to_none=True)
                stretch.add(terms + weight * constant / len(examples), nll, size)
                done = step + 1
                average.update(done)
                if after:
                    after(done, approximation)
                looking = done in looks or (lookout is None and (done % per_epoch == 0 or done == steps))
                ended = False
                if done % every == 0 or done == steps or (looking and (validate or lookout)):
                    mean_loss, mean_nll = stretch.means()
                    _finite(problem, mean_loss, done)
                    with average.applied():
                        validated = validate() if validate and looking else None
                        reported = problem.prior_terms()
                        seconds = time.perf_counter() - start
                        record = Record(
                            done,
                            done * train.accumulate / count,
                            mean_loss,
                            mean_nll,
                            reported.kl,
                            reported.prior + constant,
                            weight,
                            seconds,
                            validated,
                            reported.kl_error,
                        )
                        history.records.append(record)
                        if lookout and looking:
                            verdict = lookout.see(history)
                            ended = verdict.reason is not None
                            if lookout.keeps and verdict.best == done:
                                best = {k: v.detach().clone() for k, v in approximation.state_dict().items()}
                    if watcher:
                        watcher.record(record)
                history.steps = done
                if done < steps and not ended:
                    refresh(done, optimiser)
                asked = interrupts.received is not None
                if checkpoint and (ended or asked or checkpoint.due(done, steps)):
                    history.seconds, history.refresh_seconds = time.perf_counter() - start, refresh.seconds
                    checkpoint.write(
                        {
                            "done": done,
                            **snapshot(problem, optimiser),
                            "scheduler": scheduler.state_dict(),
                            "history": history.to_dict(),
                            "priors": stretch.priors,
                            "nlls": stretch.nlls,
                            "rows": stretch.rows,
                            "average": average.state(),
                            "best": best,
                            "ended": ended,
                        }
                    )
                    if asked:
                        interrupts.end(
                            f"Stopped after step {done} of {steps}; the state is in '{checkpoint.path}'. Call the same fit "
                            "again to go on from there."
                        )
                if ended:
                    break
        finally:
            if watcher:
                watcher.stop()
    approximation.zero_grad(set_to_none=True)
    average.adopt()
    if best:
        approximation.load_state_dict(best)
    history.seconds, history.peak_memory_bytes = time.perf_counter() - start, memory.peak
    history.refresh_seconds = refresh.seconds
    return history
