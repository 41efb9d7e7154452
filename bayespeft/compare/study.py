"""`Study`: what is to be compared, methods x data sets x models x seeds, and the jobs that this makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bayespeft import registry
from bayespeft.compare.code import code
from bayespeft.compare.data_set import DataSet
from bayespeft.compare.tuning import Tuning
from bayespeft.config import Targets, TrainConfig
from bayespeft.data.columns import Row
from bayespeft.errors import ConfigError
from bayespeft.methods.base import Method
from bayespeft.utils.annotations import Draws as CountOfDraws
from bayespeft.utils.annotations import Seed
from bayespeft.utils.checks import check

Run = dict[str, Any]
Draws = int | Literal["auto"]

METHODS = ("mle", "melora")


@dataclass(frozen=True)
class Job:
    """One run to be made: a method with one seed on one network and data set. It can be sent to another process.

    Attributes:
        model: the network's name.
        label: the data set's name in tables.
        data: the data set.
        method: the method.
        seed: of training rows, fresh head, fit and prediction.
        draws: posterior draws averaged in a prediction.
        plan: the run without its result: `method`, `title`, `data`, `seed`, and `settings`, all that decides the result.
        device: where to run.
        tuning: a search for the method's rates, or None.
    """

    model: str
    label: str
    data: DataSet
    method: Method
    seed: int
    draws: Draws
    plan: Run
    device: str = "auto"
    tuning: Tuning | None = None

    @property
    def title(self) -> str:
        """What the run is, for people."""
        return f"{self.method.title}, {self.model} on {self.label}, seed {self.seed}"


@dataclass(frozen=True)
class Study:
    """Everything that decides the results of a comparison.

    Attributes:
        models: registered names, local folders, or names on the hub.
        data: label -> data set.
        methods: with all their settings; names must differ.
        seeds: a seed decides training rows (with a limit), the fresh head, and all of the fit and of the prediction.
        draws: posterior draws averaged in a prediction.
        tuning: a search for the rates of every method, with the same budget; None: each has its own rates.

    Raises:
        ConfigError: none of one of these, or one twice; a seed or a number of draws can't be used.
    """

    models: tuple[str, ...]
    data: Mapping[str, DataSet]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...] = (0,)
    draws: Draws = 10
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        for what, found in (("models", self.models), ("data", self.data), ("methods", names), ("seeds", self.seeds)):
            if not found or len(set(found)) < len(found):
                each = "each name once" if what == "methods" else "each once"
                raise ConfigError(f"{what} is {list(found)}: at least one, and {each}.")
        object.__setattr__(self, "seeds", tuple(check("seeds", self.seeds, Sequence[Seed])))
        object.__setattr__(self, "draws", check("draws", self.draws, CountOfDraws | Literal["auto"]))

    @classmethod
    def of(
        cls, models: str | Sequence[str], data: str | Sequence[str], methods: Sequence[str | Method] = METHODS
    ) -> Study:
        """Return the study of these names.

        Args:
            models: see the class.
            data: sources of data sets, which are their labels, too.
            methods: names of registered methods, or methods.

        Raises:
            UnknownNameError: there is no such method. ConfigError: see the class.
        """
        sources = [data] if isinstance(data, str) else list(data)
        if len(set(sources)) < len(sources):
            raise ConfigError(f"data is {sources}: at least one, and each once.")
        return cls(
            models=(models,) if isinstance(models, str) else tuple(models),
            data={source: DataSet(source=source) for source in sources},
            methods=tuple(m if isinstance(m, Method) else registry.get("methods", m) for m in methods),
        )

    def over(
        self,
        *,
        methods: Sequence[str | Method] | None = None,
        seeds: Sequence[int] | None = None,
        draws: Draws | None = None,
        train: TrainConfig = TrainConfig(),
        targets: Targets | None = None,
        tuning: Tuning | None = None,
        options: Mapping[str, Any] | None = None,
        **data: Any,
    ) -> Study:
        """Return this study with settings that go over its own.

        Args:
            methods: a name is looked up among the study's own methods first.
            seeds, draws, tuning: see the class; None keeps them.
            train, targets: what is set explicitly goes over every method's.
            options: of every data set, over its own.
            data: further fields of every `DataSet`; None keeps what it has.
        """
        own = {method.name: method for method in self.methods}
        chosen = self.methods if methods is None else tuple(_method(m, own) for m in methods)
        changes = {name: value for name, value in data.items() if value is not None}
        return replace(
            self,
            methods=tuple(
                m.replace(train=train.over(m.train), targets=(targets or Targets()).over(m.targets)) for m in chosen
            ),
            seeds=self.seeds if seeds is None else tuple(seeds),
            draws=self.draws if draws is None else draws,
            tuning=self.tuning if tuning is None else tuning,
            data={
                label: one.replace(options={**one.options, **(options or {})}, **changes)
                for label, one in self.data.items()
            },
        )

    def jobs(self, device: str = "auto") -> list[Job]:
        """Return the runs to be made; those that can share a network follow each other.

        Reads all data sets, so that one that is missing is known before the first fit.

        Raises:
            DataError, UnknownNameError, MissingPackageError: a data set can't be read. ConfigError: two are the same.
        """
        read = {label: self._read(data) for label, data in self.data.items()}
        jobs = [
            Job(
                model, label, data, method, seed, self.draws, self._plan(model, label, method, seed, read[label]), device,
                self.tuning,
            )
            for model in self.models
            for label, data in self.data.items()
            for seed in self.seeds
            for method in self.methods
        ]  # fmt: skip
        labels: dict[str, str] = {}
        for job in jobs:
            if labels.setdefault(key(job.plan), job.label) != job.label:
                raise ConfigError(
                    f"data {labels[key(job.plan)]!r} and {job.label!r} are the same, with the same settings."
                )
        return jobs

    def _read(self, data: DataSet) -> Run:
        """Return those settings that the rows decide. Runs on other rows are other runs, which pair with none of these."""
        task = data.task(self.models[0])
        test, train = task.source("test", limit=data.test_limit), task.source("train")
        others = {name: _digest(other.beside(data).rows or ()) for name, other in data.ood.items()}
        rows = train.rows or ()
        return {
            "task": task.resolved_kind,
            "examples": len(rows) if data.limit is None else min(data.limit, len(rows)),
            "train_rows": _digest(rows),
            "test_rows": _digest(test.rows or ()),
            **({"ood_rows": others} if others else {}),
        }

    def _plan(self, model: str, label: str, method: Method, seed: int, read: Run) -> Run:
        data = self.data[label]
        told = {"kind", "device"} if data.columns else {"kind", "device", "columns"}
        task = {name: value for name, value in asdict(data.task(model)).items() if name not in told}
        settings = {
            **task,
            **read,
            "limit": data.limit,
            "test_limit": data.test_limit,
            **self._weighed(data),
            "draws": self.draws,
            "method": method.model_dump(mode="json"),
            "code": code(method),
        }
        # A study that does not tune says nothing of it, so that its runs are found again whatever a search can be told.
        if self.tuning is not None:
            settings["tuning"] = self.tuning.model_dump(mode="json")
        return {
            "method": method.name,
            "title": method.title,
            "data": label,
            "seed": seed,
            "settings": json.loads(json.dumps(settings, default=str)),
        }

    def _weighed(self, data: DataSet) -> Run:
        """Return how classes are weighed, where they are: runs of data that say nothing of it are found again."""
        if data.class_weight is None:
            return {}
        return {"class_weight": data.class_weight, "prior_correction": data.prior_correction}


def key(run: Run) -> str:
    """Return what tells runs apart: method, seed, and all that decides the result."""
    return json.dumps([run["method"], run["seed"], run["settings"]], sort_keys=True)


def _digest(rows: Sequence[Row]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return found.hexdigest()[:16]


def _method(method: str | Method, own: Mapping[str, Method]) -> Method:
    if isinstance(method, Method):
        return method
    found: Method = own[method] if method in own else registry.get("methods", method)
    return found
