"""One run: a method fitted and evaluated with one seed. Failures are results too, so that no run loses the others."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from bayespeft.compare.results import FORMAT, Results
from bayespeft.compare.scores import contributions, encode
from bayespeft.compare.study import DataSet, Job, Run
from bayespeft.errors import ConfigError
from bayespeft.fitting.fit import fit
from bayespeft.task import Task
from bayespeft.version import __version__

Say = Callable[[str], None]
Place = tuple[str, DataSet, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed.

    Attributes:
        title: of the run.
        error: what happened, in a line.
        details: the traceback.
    """

    title: str
    error: str
    details: str

    @classmethod
    def of(cls, job: Job, error: BaseException) -> Failure:
        """Return what is to be told of an exception."""
        details = "".join(traceback.format_exception(error))
        return cls(job.title, " ".join(f"{type(error).__name__}: {error}".split()), details)


@dataclass
class Worker:
    """Makes runs one after the other, and keeps what the next one can use: test rows and the network.

    Attributes:
        results: where finished runs are appended, or None.
        say: called with lines on how far it is.
        progress: show the progress of a fit on standard error.
    """

    results: Results | None
    say: Say
    progress: bool = False

    def __post_init__(self) -> None:
        self._data: tuple[Place, Task, list[Any]] | None = None
        self._network: tuple[tuple[Place, int], nn.Module, Any] | None = None

    def attempt(self, job: Job) -> Run | Failure:
        """Return the finished run, which is in the file of results, or what went wrong."""
        try:
            run = self.run(job)
            if self.results is not None:
                self.results.append(run)
        except Exception as error:
            self._network = None  # who knows in which state it is
            return Failure.of(job, error)
        return run

    def run(self, job: Job) -> Run:
        """Fit and evaluate: the job's plan with `report`, `history`, `scores`, `device` and `versions`.

        Raises:
            ConfigError: the task has no classes. And what `Task`, `fit` and `Posterior.predict` raise.
        """
        place, seed = (job.model, job.data, job.device), job.seed
        if self._data is None or self._data[0] != place:
            found = job.data.task(job.model, job.device)
            self._data = place, found, found.rows("test", limit=job.data.test_limit)
        _, task, test = self._data
        # One network serves all methods that leave it as it was; its fresh head goes by the seed.
        if self._network is None or self._network[0] != (place, seed):
            self._network = None  # before the next one is loaded: two may be more than memory holds
            self._network = (place, seed), *task.network(seed)
        rows = task.rows("train", limit=job.data.limit, seed=seed)
        kept, validation = held_out(rows, seed) if job.method.temperature else (rows, None)
        self.say(f"{job.title}: fitting to {len(kept):,} examples")
        posterior = fit(
            self._network[1],
            kept,
            job.method,
            validation=validation,
            tokenizer=self._network[2],
            likelihood=task.likelihood(),
            seed=seed,
            progress=self.progress,
        )
        self.say(f"{job.title}: predicting {len(test):,} test examples")
        predictive = posterior.predict(test, job.draws, seed)
        if "compare" not in predictive.uses or predictive.labels is None:
            raise ConfigError(f"{job.label}: methods are compared on test rows with classes as labels.")
        report = predictive.report(
            trainable_parameters=posterior.approximation.trainable(),
            total_parameters=posterior.total_parameters,
            method=job.method.title,
            name=f"{job.label} test",
            seed=seed,
        )
        if posterior.merged is not None and posterior.merged.in_place:
            self._network = None  # the next method needs one that nothing was merged into
        return {
            "format": FORMAT,
            **job.plan,
            "report": report.to_dict(),
            "history": posterior.history.to_dict(),
            "scores": encode(contributions(predictive.log_probs.numpy(), predictive.labels.numpy())),
            "device": str(posterior.device),
            "versions": versions(),
        }


def held_out(rows: Sequence[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """Return the rows to train on, and a random fifth for what must not be trained on, such as a temperature."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    count = max(1, len(rows) // 5)
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    packages = {name: version(name) for name in ("torch", "pyro-ppl", "transformers")}
    return {"bayespeft": __version__, "python": platform.python_version(), **packages}
