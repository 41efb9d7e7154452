"""What a step of training computes and leaves behind, whoever owns the loop: `fit`, or somebody's own.

The objective takes its weight of the KL from the number of steps that are done; after each step of the optimiser come the
steps of their own that a method gives the prior, the average over the path, and the record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bayespeft.data.batch import Batch
from bayespeft.data.columns import missing_labels
from bayespeft.errors import DataError, FitError
from bayespeft.training.averaging import PathAverage
from bayespeft.training.gradients import reentrance_told
from bayespeft.training.history import History, Record
from bayespeft.training.problem import Problem
from bayespeft.training.schedule import kl_weight, lr_factor
from bayespeft.variational.reported import point_constants


class Terms(NamedTuple):
    """Parts of the loss, detached.

    Attributes:
        prior: the prior terms per example, as they are in the loss.
        nll: the sum of the examples' NLL.
        rows: the number of examples.
    """

    prior: Tensor
    nll: Tensor
    rows: int


class Steps:
    """Counts the steps of a run, and gives each its objective.

    Args:
        problem: what is trained.
        total: the optimiser steps of the run, which schedules are fractions of.
        parameters: what an average over the path is taken of, in one order; None: all that is trained.

    Attributes:
        done: optimiser steps so far.
        history: the records so far.
        average: over the path.
        last: parts of the loss of the step before.
    """

    def __init__(self, problem: Problem, total: int, parameters: Sequence[nn.Parameter] | None = None) -> None:
        self.problem, self.total, self.done = problem, total, 0
        trained = list(problem.joint_guide.parameters()) if parameters is None else parameters
        self.average = PathAverage(trained, problem.train.average)
        self.history = History()
        self._constant = point_constants(problem.joint_guide)
        # `_parts` holds the terms of the micro-batches of the step that is under way, `_stretch` those of the steps since the
        # last record.
        self._parts: list[Terms] = []
        self._stretch: list[Terms] = []
        self.last: Terms | None = None
        self._weight = 0.0
        self._start = time.perf_counter()

    @property
    def weight(self) -> float:
        """Weight of KL / N in the objective of the step that comes next."""
        return kl_weight(self.problem.train, self.done, self.total, len(self.problem.examples))

    @property
    def loss_weight(self) -> float:
        """Weight of KL / N in the loss of that step: 0 where the prior has steps of its own."""
        return self.weight if self.problem.train.kl_lr is None else 0.0

    @property
    def offset(self) -> float:
        """What is added to the loss, nats per example, so that it is one as it is in records: the points' constants."""
        return self.loss_weight * self._constant / len(self.problem.examples)

    def loss(self, batch: Batch, rows: float | None = None) -> Tensor:
        """Return the objective on one batch, in nats per example, for a backward pass; arguments as `Problem.loss`.

        Raises:
            DataError: the batch has no labels, or some that can't be used.
        """
        problem = self.problem
        if batch.labels is None:
            raise missing_labels("training")
        if problem.classes is not None:
            # Batch by batch: a loader's labels can't be checked beforehand.
            try:
                problem.likelihood.check_labels(batch.labels, problem.classes)
            except DataError as error:
                raise DataError(f"in a batch of the training data, whose rows are counted within it: {error}") from None
        loss, nll = problem.loss(batch.to(problem.device), self.loss_weight, rows)
        prior = loss.detach() - nll * len(batch) / (len(batch) if rows is None else rows)
        self._parts.append(Terms(prior, nll * len(batch), len(batch)))
        return loss

    def backward(self, batches: Sequence[Batch], rows: float) -> None:
        """Add up the gradients of a step's micro-batches as if they were one batch.

        Args:
            batches: the micro-batches of one step.
            rows: the mean size of a micro-batch over a pass, by which sums over examples are divided: a short one then
                weighs less, and every example the same.

        Raises:
            AttachError: the network's own re-entrant checkpoints can't share the factors of the adapters.
        """
        for batch in batches:
            loss = self.loss(batch, rows) / len(batches)
            with reentrance_told():
                torch.autograd.backward(loss)

    def terms(self) -> Terms:
        """Return the parts of the loss of the step that is under way, over all of its micro-batches."""
        prior, nll = torch.zeros((), device=self.problem.device), torch.zeros((), device=self.problem.device)
        for part in self._parts:
            prior += part.prior / len(self._parts)
            nll += part.nll
        return Terms(prior, nll, sum(part.rows for part in self._parts))

    def after(self) -> None:
        """Do what comes after a step of the optimiser: steps on the prior, the average, the count."""
        train, self._weight = self.problem.train, self.weight
        prior, nll, rows = self.terms()
        self._parts.clear()
        if train.kl_lr is not None:
            prior = prior + self._descend_on_prior(train.kl_lr * lr_factor(train, self.done, self.total))
        constant = self._weight * self._constant / len(self.problem.examples)
        self.last = Terms(prior + constant, nll, rows)
        self._stretch.append(self.last)
        self.done += 1
        self.history.steps = self.done
        self.average.update(self.done)

    def _descend_on_prior(self, lr: float) -> Tensor:
        """Take one step of plain gradient descent on the weighted prior terms; return their value before it, detached."""
        loss = self.problem.prior_loss(self._weight)
        if not loss.requires_grad:
            return loss
        parameters = list(self.problem.joint_guide.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True
            ):
                if gradient is not None:
                    parameter.add_(gradient, alpha=-lr)
        return loss.detach()

    @property
    def unrecorded(self) -> int:
        """Steps since the last record."""
        return len(self._stretch)

    def means(self) -> tuple[float, float]:
        """Return loss and NLL per example over the steps since the last record, and begin anew.

        Raises:
            FitError: the loss, or a parameter, is not finite.
        """
        nll = float(torch.stack([terms.nll for terms in self._stretch]).sum()) / sum(t.rows for t in self._stretch)
        loss = nll + float(torch.stack([terms.prior for terms in self._stretch]).mean())
        self._stretch.clear()
        self._check_finite(loss)
        return loss, nll

    def record(self, loss: float, nll: float, epoch: float, validated: dict[str, float] | None = None) -> Record:
        """Add a record of the state as it is to the history, and return it.

        Args:
            loss, nll: the means since the last record.
            epoch: passes over the data done.
            validated: metrics on validation data.
        """
        reported = self.problem.prior_terms()
        record = Record(
            self.done,
            epoch,
            loss,
            nll,
            reported.kl,
            reported.prior + self._constant,
            self._weight,
            self.seconds,
            validated,
            reported.kl_error,
        )
        self.history.records.append(record)
        return record

    def prior_terms(self) -> tuple[float, float]:
        """Return KL of the latents, and -log prior of the points less its least, as they are in records, nats."""
        reported = self.problem.prior_terms()
        return reported.kl, reported.prior + self._constant

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start, that of interrupted processes included."""
        return time.perf_counter() - self._start

    def state(self) -> dict[str, Any]:
        """Return where the run stands between two steps, as plain containers of tensors and numbers."""
        self.history.seconds = self.seconds
        return {
            "done": self.done,
            "history": self.history.to_dict(),
            "priors": [terms.prior for terms in self._stretch],
            "nlls": [terms.nll for terms in self._stretch],
            "rows": [terms.rows for terms in self._stretch],
            "average": self.average.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` returned."""
        device = self.problem.device
        self.done = state["done"]
        self.history = History.from_dict(state["history"])
        priors, nlls = ([tensor.to(device) for tensor in state[name]] for name in ("priors", "nlls"))
        self._stretch = [Terms(*terms) for terms in zip(priors, nlls, state["rows"], strict=True)]
        self._parts.clear()
        self.average.restore(state["average"])
        self._start = time.perf_counter() - self.history.seconds

    def _check_finite(self, loss: float) -> None:
        bad = [name for name, p in self.problem.joint_guide.named_parameters() if not torch.isfinite(p).all()]
        if math.isfinite(loss) and not bad:  # the parameters may have gone since the last loss
            return
        where = (
            f"'{bad[0]}' is no longer finite" if bad else "the parameters are finite, so the network's output is not"
        )
        raise FitError(
            f"the loss is {loss} at step {self.done}: {where}. Lower lr or variational_lr, set precision='float32', or check "
            "the inputs."
        )
