"""What `adapt` returns: a network with adapters, its objective, and its posterior, for a loop of the user's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import pyro
import torch
from annotated_types import Gt
from torch import Tensor

from bayespeft.adapters.attach import set_mode
from bayespeft.data.batch import Batch
from bayespeft.data.columns import missing_labels
from bayespeft.data.layout import Columns
from bayespeft.errors import CheckpointError, FitError
from bayespeft.fitting.alike import check_alike, objective_of
from bayespeft.fitting.assembly import Assembly
from bayespeft.fitting.elbo_terms import ElboTerms
from bayespeft.fitting.objective import Objective
from bayespeft.fitting.on_network import OnNetwork
from bayespeft.fitting.process_noise import ProcessNoise
from bayespeft.fitting.reader import Reader
from bayespeft.posterior.posterior import Posterior
from bayespeft.prediction.predictor import Predictor
from bayespeft.training.history import History
from bayespeft.training.horizon import resolved
from bayespeft.training.optimiser import make_optimiser, parameter_groups
from bayespeft.training.schedule import lr_factor
from bayespeft.training.steps import Steps
from bayespeft.utils.annotations import Count, Draws, Seed
from bayespeft.utils.checks import checked_methods
from bayespeft.utils.processes import world_size
from bayespeft.utils.randomness import Stream, seeded
from bayespeft.utils.threads import alone

# A record covers a hundredth of the steps, but at most 20 of them: nobody may have said how many there will be.
RECORDS, STEPS_PER_RECORD = 100, 20


@checked_methods
class Adaptation:
    """A network whose adapters somebody else's loop trains: parameters, the objective by the step, and the posterior.

    Inside `with adaptation:`, or between `attach()` and `detach()`, the adapters are on the network, whose own parameters need
    no gradients there; outside it is as it was. Steps are counted by themselves: whenever a torch optimiser that holds these
    parameters has stepped, whoever called it, and the weight of the KL goes by that count.

    Made by `bayespeft.adapt`.

    Attributes:
        module: the objective as an `nn.Module`, for engines that take one: `module(batch)` is `loss(batch)`, and its
            parameters are all that is trained.
    """

    def __init__(self, assembly: Assembly, tokenizer: Any, columns: Columns, class_names: tuple[str, ...]) -> None:
        self._assembly, self._tokenizer, self._columns = assembly, tokenizer, columns
        problem = assembly.problem
        if isinstance(problem.train.steps, str):
            problem = replace(problem, train=resolved(problem.train, problem.train.most_steps))
        # The prior comes slowly where held-out rows choose along the path, and nobody does here.
        problem = replace(problem, train=problem.train.replace(kl_pace=0))
        self._problem = problem
        self._reader = Reader(problem, tokenizer, columns, class_names)
        self._steps = Steps(problem, problem.train.total_steps(problem.examples.batch_count(problem.train.batch_size)))
        self._noise = ProcessNoise(problem.seed)
        self._seen, self._taken = 0, 0
        self._terms = ElboTerms(self._steps)
        self._planned: int | None = None
        self._on_network = OnNetwork(problem, self._stepped)
        self.module = Objective(problem.joint_guide, self.loss, self._moved)

    def __repr__(self) -> str:
        """Return what it is in a line."""
        return (
            f"{type(self).__name__}(method={self._assembly.method.name!r}, model={type(self._problem.model).__name__}, "
            f"data_size={len(self._problem.examples)}, trainable={self._problem.joint_guide.trainable()}, "
            f"steps={self._steps.done})"
        )

    @property
    def steps(self) -> int:
        """Optimiser steps so far."""
        return self._steps.done

    @property
    def history(self) -> History:
        """What happened so far, a record for every hundredth of the steps."""
        return self._steps.history

    def parameters(self) -> list[dict[str, Any]]:
        """Return what is trained, in groups that every torch optimiser takes.

        Each group has `params`, the peak learning rate `lr`, `weight_decay`, and a `name`: "factors", "spread" or "head".
        """
        return parameter_groups(self._problem)

    def optimizer(self) -> torch.optim.AdamW:
        """Return the optimiser that `fit` takes, AdamW over `parameters()`."""
        optimiser = make_optimiser(self._problem)
        assert isinstance(optimiser, torch.optim.AdamW)
        return optimiser

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LambdaLR:
        """Return the learning rates' schedule that `fit` takes, to be stepped once after each step of the optimiser."""
        train = self._problem.train
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(train, step, self._steps.total))

    def plan(self, steps: Count) -> None:
        """Say how many optimiser steps there will be, which warm-ups and schedules are fractions of.

        It takes the place of `steps` and `epochs` of `train=`. A method that leaves its length open has warm-ups of its own
        length, and this then ends them in time.
        """
        if isinstance(self._assembly.problem.train.steps, str):
            self._problem.train = self._assembly.problem.train.replace(steps=steps, kl_pace=0)
        self._steps.total = self._planned = steps

    def attach(self) -> None:
        """Put the adapters on the network; `detach` takes them off again, after as many calls.

        Raises:
            AttachError: others are on it.
        """
        self._on_network.attach()

    def detach(self) -> None:
        """Take the adapters off, so that the network is as it was."""
        self._on_network.detach()

    def __enter__(self) -> Adaptation:
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def loss(self, batch: Any, rows: Annotated[float, Gt(0)] | None = None) -> Tensor:
        """Return the objective of `fit` on a batch, for a backward pass: E_q[mean NLL] + kl_weight * KL / N, nats per example.

        Each call takes a draw of its own, from random numbers of its own, so that dropout and the order of data elsewhere
        neither disturb it nor are disturbed. In a process group every process has other draws; the KL is in each process's
        loss, so that gradients are to be averaged over processes, as `DistributedDataParallel` does, and the KL counts once.
        Under `torch.no_grad()` the draw is always the same, and the call leaves no trace. Like the loss in `history`, it is
        without the normalising constants of points' densities.

        Args:
            batch: a dict of tensors with `labels`, a pair (x, y), or rows, as `bayespeft.fit` reads them.
            rows: what the sum of the examples' NLL is divided by; None: their number. With the mean size of a pass's batches
                the examples of a short batch count as much as others, as they do in `fit`.

        Raises:
            AttachError: the adapters are not on the network. DataError: the batch has no labels, or can't be used.
        """
        self._on_network.check()
        steps, problem = self._steps, self._problem
        with alone():
            read = self._reader.batch(batch)
            kind = problem.device.type
            problem.amp = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
            # Engines put networks into other modes; what is recomputed in the backward pass must meet the same.
            set_mode(problem.model, dropout=problem.train.dropout)
            if not torch.is_grad_enabled():
                if read.labels is None:
                    raise missing_labels("the objective")
                with seeded(problem.seed), torch.autocast(kind, enabled=False):
                    return problem.loss(read.to(problem.device), steps.loss_weight, rows)[0] + steps.offset
            # Pyro's checks of shapes and of model against guide cost time; once is enough.
            first = self._taken == 0
            with self._stream().continued(), torch.autocast(kind, enabled=False), pyro.validation_enabled(first):
                found = steps.loss(read, rows) + steps.offset
            self._taken += 1
            self._seen += len(read) * world_size()
        return found

    def read(self, batch: Any) -> Batch:
        """Return a batch as the network takes it, for a collator that is to do in a loader's workers what `loss` does.

        Args:
            batch: as for `loss`; labels may be missing.

        Raises:
            DataError: it can't be used.
        """
        return self._reader.batch(batch)

    def predict(self, data: Any, draws: Draws = 5, seed: Seed = 0, *, batch_size: Count = 32) -> Any:
        """Average predictions over draws of what is trained, as it is now: `Posterior.predict` while training.

        Args:
            data: as for `Posterior.predict`, or one batch as for `loss`, whose labels may be missing.
            draws: how many; 0 predicts with the mean. A method whose predictions are linearised draws logits, as there.
            seed: of the draws.
            batch_size: examples per pass.

        Raises:
            AttachError: the adapters are not on the network. ConfigError, DataError: as `Posterior.predict`.
        """
        self._on_network.check()
        problem = self._problem
        with alone():
            problem.attachment.bind({})
            examples = self._reader.examples(data)
            method, predictor = self._assembly.method, Predictor(problem)
            with self._steps.average.applied():
                if (method.prediction or method.guide.prediction) == "linearised" and draws != 0:
                    return predictor.linearised(examples, seed, batch_size)
                return predictor.run(examples, draws, seed, batch_size=batch_size)

    def terms(self) -> dict[str, float]:
        """Return the terms of the ELBO, for a log: of the steps since the last call.

        In a process group all processes call it, and get the same.

        Returns:
            "nll", the mean over these steps' examples, nats per example; "kl" of q as it is now, nats; and "elbo", of these,
            nats per example: -nll - (kl - log prior of points) / N, whatever the weight of the KL in the loss.

        Raises:
            FitError: there was no step since the last call.
        """
        return self._terms.read()

    def posterior(self) -> Posterior:
        """Return the posterior as it is now: a copy, which further training leaves alone.

        It predicts once the adapters are off the network: after the `with` block, or `detach()`.

        Raises:
            FitError: no step was taken, or none that could be counted.
        """
        if not self._steps.done:
            stepless = f"{self._taken} losses were taken, but no torch optimiser has stepped on parameters() meanwhile"
            why = stepless if self._taken else "nothing was trained"
            raise FitError(f"there is no posterior yet: {why}.")
        self._record()
        assembly, problem, steps = self._assembly, self._problem, self._steps
        with steps.average.applied():
            joint_guide = copy.deepcopy(problem.joint_guide)
        joint_guide.zero_grad(set_to_none=True)
        history = copy.deepcopy(steps.history)
        history.seconds = assembly.seconds + steps.seconds
        history.refresh_seconds = assembly.seconds
        return assembly.posterior(joint_guide, problem.likelihood, history, self._tokenizer, self._columns)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides how training goes on, but for the optimiser's own state: tensors and plain numbers.

        A run that is taken up by `load_state_dict` goes on bit by bit. In a process group each process has noise of its own,
        so each saves its own state; where one loads another's, its noise begins anew.
        """
        return {
            "joint_guide": dict(self._problem.joint_guide.state_dict()),
            "steps": self._steps.state(),
            "plan": self._planned,
            "seen": self._seen,
            "noise": self._noise.state(),
            "objective": objective_of(self._problem, self._assembly.method),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go on from a state that `state_dict` returned, of an adaptation that was made alike.

        Raises:
            CheckpointError: it is no such state, or one of other layers, another method or another objective.
        """
        wanted = self.state_dict().keys()
        if not isinstance(state, Mapping) or state.keys() != wanted:
            raise CheckpointError(
                f"load_state_dict: the state of an adaptation has {', '.join(wanted)}: see state_dict()."
            )
        check_alike(state["objective"], objective_of(self._problem, self._assembly.method))
        noise = ProcessNoise(self._problem.seed, state["noise"])
        try:
            self._problem.joint_guide.load_state_dict(state["joint_guide"], strict=True)
            self._steps.restore(state["steps"])
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the state is of another adaptation (other layers, method or network): {error}"
            ) from None
        if state["plan"] is not None:
            self.plan(state["plan"])
        self._seen, self._noise = state["seen"], noise

    def _stream(self) -> Stream:
        return self._noise.stream(self._problem.device, self._steps.done)

    def _stepped(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        """Count a step of an optimiser that holds what is trained, and do what comes after it."""
        ours = next(iter(self._problem.joint_guide.parameters()))
        if not self._taken or not any(p is ours for group in optimiser.param_groups for p in group["params"]):
            return
        with self._stream().continued():
            self._steps.after()
        assert self._steps.last is not None
        self._terms.add(self._steps.last)
        every = min(STEPS_PER_RECORD, max(1, self._steps.total // RECORDS))
        if self._steps.unrecorded >= every:
            self._record()

    def _record(self) -> None:
        """Add a record of the steps since the last one, if there are any."""
        if self._steps.unrecorded:
            loss, nll = self._steps.means()
            with self._steps.average.applied(), seeded(self._problem.seed):
                self._steps.record(loss, nll, self._seen / len(self._problem.examples))

    def _moved(self, device: torch.device) -> None:
        """Follow what is trained to another device."""
        if device != self._problem.device:
            self._problem.model.to(device)
            self._problem.device = device
            self._steps.average.follow()
