"""One run: a method fitted and evaluated with one seed. Failures are results too, so that no run loses the others."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from bayespeft.compare.claims import claimed
from bayespeft.compare.data_set import DataSet
from bayespeft.compare.results import FORMAT, Results
from bayespeft.compare.scores import contributions, encode
from bayespeft.compare.study import Job, Run, key
from bayespeft.compare.tuning import FIFTH, Trial, Tuned, held_out, search
from bayespeft.data.source import Source
from bayespeft.errors import ConfigError
from bayespeft.fitting.fit import fit
from bayespeft.likelihoods.categorical import Categorical
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.methods.base import Method
from bayespeft.posterior.posterior import Posterior
from bayespeft.prediction.temperature import as_weighed
from bayespeft.predictive.base import Details, Prediction
from bayespeft.task import Task
from bayespeft.utils.visible import visible
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
        return cls(job.title, visible(" ".join(f"{type(error).__name__}: {error}".split())), visible(details))


@dataclass
class Worker:
    """Makes runs one after the other, and keeps what the next one can use: test rows, other data and the network.

    Attributes:
        results: where finished runs are appended, or None.
        say: called with lines on how far it is.
        progress: show the progress of a fit on standard error.
        again: make runs that the file of results holds, too.
    """

    results: Results | None
    say: Say
    progress: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        self._data: tuple[Place, Task, Source, dict[str, Source]] | None = None
        self._network: tuple[tuple[Place, int], nn.Module, Any] | None = None

    def attempt(self, job: Job) -> Run | Failure | None:
        """Return the finished run, which is in the file of results, or what went wrong; None while another process makes it."""
        try:
            if self.results is None:
                return self.run(job)
            with claimed(self.results.folder, key(job.plan)) as place:
                if place is None:
                    return None
                run = None if self.again else self.results.read().get(key(job.plan))
                if run is None:
                    run = self.run(job, place)
                    self.results.append(run)
        except Exception as error:
            self._network = None  # who knows in which state it is
            return Failure.of(job, error)
        return run

    def run(self, job: Job, place: Path | None = None) -> Run:
        """Fit and evaluate: the job's plan with `report`, `history`, `scores`, `device` and `versions`.

        Where the study tunes, also `tuned`: see `bayespeft.compare.tuning.Tuned`.

        Args:
            job: what to do.
            place: a folder for the states of fits, from which they go on.

        Raises:
            ConfigError: the task has no classes. DataError: other data can't be read as its rows are. And what `Task`, `fit`
                and `Posterior.predict` raise.
        """
        task, test, others = self._rows(job)
        if "compare" not in task.likelihood().prediction_type(1).uses:
            raise ConfigError(
                f"{job.label}: methods are compared on rows with one class each as labels, and these are for "
                f"'{task.likelihood().kind}'."
            )
        rows = task.source("train", limit=job.data.limit, seed=job.seed)
        self._check(job, task, rows, others)
        method, tuned = self._tuned(job, task, rows, place) if job.tuning else (job.method, None)
        posterior = self._fit(job, task, method, rows, place)
        self.say(f"{job.title}: predicting {test.count:,} test examples")
        predictive = posterior.predict(test, job.draws, job.seed)
        if predictive.labels is None:
            raise ConfigError(f"{job.label}: methods are compared on test rows with classes as labels.")
        report = predictive.report(
            Details(
                names=posterior.likelihood.class_names or test.class_names,
                others=self._others(job, posterior, predictive, others),
            ),
            trainable_parameters=posterior.joint_guide.trainable(),
            total_parameters=posterior.total_parameters,
            method=job.method.title,
            name=f"{job.label} test",
            seed=job.seed,
        )
        return {
            "format": FORMAT,
            **job.plan,
            "report": report.to_dict(),
            "history": posterior.history.to_dict(),
            "scores": encode(contributions(predictive.log_probs.numpy(), predictive.labels.numpy())),
            "device": str(posterior.device),
            "versions": versions(),
            **({} if tuned is None else {"tuned": tuned.to_dict()}),
        }

    def _rows(self, job: Job) -> tuple[Task, Source, dict[str, Source]]:
        """Return the job's task, its test rows, and the other data's rows by name."""
        place = _place(job)
        if self._data is None or self._data[0] != place:
            task = job.data.task(job.model, job.device)
            others = {name: other.beside(job.data) for name, other in job.data.ood.items()}
            self._data = place, task, task.source("test", limit=job.data.test_limit), others
        return self._data[1:]

    def _base(self, job: Job, task: Task) -> tuple[nn.Module, Any]:
        """Return the network, unchanged by earlier fits, and its tokenizer."""
        # One network serves all methods that leave it as it was; its fresh head goes by the seed.
        which = _place(job), job.seed
        if self._network is None or self._network[0] != which:
            self._network = None  # before the next one is loaded: two may be more than memory holds
            self._network = which, *task.network(job.seed)
        return self._network[1:]

    def _check(self, job: Job, task: Task, rows: Source, others: dict[str, Source]) -> None:
        """Read other data once before the fit is paid for, so that what can't be read is found out now."""
        if others:
            model, tokenizer = self._base(job, task)
            likelihood = task.likelihood().resolve(model, tokenizer, rows.raw_rows)
            for other in others.values():
                as_examples(other, likelihood, tokenizer, model)

    def _fit(self, job: Job, task: Task, method: Method, rows: Source, place: Path | None, part: str = "") -> Posterior:
        """Fit a method to rows; one that fits a temperature holds a fifth of them out for it."""
        model, tokenizer = self._base(job, task)
        kept, validation = _parted(rows, job.seed) if method.temperature else (rows, None)
        self.say(f"{job.title}: fitting to {kept.count:,} examples{part and f', {part}'}")
        posterior = fit(
            model,
            kept,
            method,
            validation=validation,
            tokenizer=tokenizer,
            likelihood=task.likelihood(),
            class_weight=job.data.class_weight,
            seed=job.seed,
            progress=self.progress,
            checkpoint=place / (part or "fit") if place is not None and method.guide.resumable else None,
        )
        if posterior.merged is not None and posterior.merged.in_place:
            self._network = None  # the next fit needs one that nothing was merged into
        if posterior.likelihood.objective:
            self.say(f"{job.title}: {posterior.likelihood.objective}")
        corrects = job.data.prior_correction and _weighed(posterior)
        return posterior.with_prior_correction() if corrects else posterior

    def _tuned(self, job: Job, task: Task, rows: Source, place: Path | None) -> tuple[Method, Tuned]:
        """Return the method at the rates that held-out training rows choose."""
        assert job.tuning is not None
        kept, held = _parted(rows, job.seed, job.tuning.share)

        def attempt(method: Method) -> Trial:
            part = f"lr {method.train.lr:.3g}"
            posterior = self._fit(job, task, method, kept, place, part)
            # Rows judge the law that is predicted: the weighed one, or the data's own.
            weighed = _weighed(posterior)
            found = posterior.predict(held, job.draws, job.seed, keep_draws=weighed)
            nll = as_weighed(found, posterior.likelihood)(1.0) if weighed else found.validation_metrics()["nll"]
            ended = posterior.history.ended
            return Trial(nll, posterior.history.steps + (0 if ended is None else ended.search_steps))

        return search(job.method, job.tuning, held.count, attempt)

    def _others(
        self, job: Job, posterior: Posterior, predictive: Prediction, others: dict[str, Source]
    ) -> dict[str, Prediction]:
        """Predict other data, with as many draws as the test rows."""
        draws = predictive.draws if job.draws == "auto" else job.draws
        found: dict[str, Prediction] = {}
        for name, other in others.items():
            self.say(f"{job.title}: predicting {other.count:,} examples of {name}")
            found[name] = posterior.predict(other, draws, job.seed)
        return found


def _weighed(posterior: Posterior) -> bool:
    """Whether a posterior predicts with other frequencies of classes than the data's own."""
    likelihood = posterior.likelihood
    return isinstance(likelihood, Categorical) and likelihood.weights is not None and not likelihood.prior_corrected


def _parted(data: Source, seed: int, share: float = FIFTH) -> tuple[Source, Source]:
    """Return the data to train on, and what is held out: see `held_out`."""
    kept, held = held_out(data.rows or (), seed, share)
    return data.with_rows(kept), data.with_rows(held)


def _place(job: Job) -> Place:
    return job.model, job.data, job.device


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    packages = {name: version(name) for name in ("torch", "pyro-ppl", "transformers")}
    return {"bayespeft": __version__, "python": platform.python_version(), **packages}
