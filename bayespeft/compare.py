"""`compare`: several methods and seeds on one task; one table, one file of results, two plots.

Every run is written to the file of results as soon as it is done, and a run that is there with the same settings is
not done again.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bayespeft import registry
from bayespeft.api import fit
from bayespeft.config import Targets, TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.inference.history import History
from bayespeft.methods.base import Method
from bayespeft.report.calibration import CalibrationReport
from bayespeft.report.files import write_atomic
from bayespeft.task import Task
from bayespeft.version import __version__

Run = dict[str, Any]

FORMAT = 1
RESULTS, COMPARISON, RELIABILITY = "results.json", "comparison.png", "reliability.png"
METRICS = ("accuracy", "nll", "ece", "ece_equal_mass", "brier")
PERCENT = ("accuracy", "ece")


@dataclass(frozen=True)
class Comparison:
    """Finished runs of several methods and seeds on one task.

    Attributes:
        runs: one per method and seed, plain JSON: `method` (its name), `title`, `seed`, `settings` (all that decides
            the result), `report` (`CalibrationReport.to_dict`), `history` (`History.to_dict`), `device`, `versions`.
    """

    runs: tuple[Run, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One flat row per run: method, title, seed, the metrics (fractions and nats), costs."""
        return [_row(run) for run in self.runs]

    @property
    def headlines(self) -> list[str]:
        """The verdict of the first seed of each method, in words."""
        return [f"{title}: {report.headline}" for title, report in self._first().items()]

    def table(self) -> Table:
        """Return a table: mean and standard deviation over seeds, or one seed's values with their 95 % intervals.

        Seconds are those of fitting, on the machine that ran it.
        """
        settings, report = self.runs[0]["settings"], self.runs[0]["report"]
        seeds = len({run["seed"] for run in self.runs})
        spread = "one seed [95 % interval]" if seeds == 1 else f"mean ± standard deviation over {seeds} seeds"
        table = Table(
            title=Text(f"{settings['model']} on {settings['data']}"),  # Text: names may hold brackets
            caption=(
                f"{spread}; {settings['examples']:,} training examples, {report['n']:,} test examples in "
                f"{report['classes']} classes, {settings['draws']} draws"
            ),
        )
        table.add_column("method")
        for name in ("accuracy (%)", "NLL (nats)", "ECE (%)", "fit (s)", "trainable"):
            table.add_column(name, justify="right", no_wrap=True)
        for title, runs in self._by_method().items():
            metrics = [_cell(name, [run["report"][name] for run in runs]) for name in ("accuracy", "nll", "ece")]
            seconds = statistics.mean(run["history"]["seconds"] for run in runs)
            table.add_row(title, *metrics, f"{seconds:.0f}", f"{runs[0]['report']['trainable_parameters']:,}")
        return table

    def save(self, out: str | os.PathLike[str]) -> None:
        """Write `results.json`, `comparison.png` and `reliability.png` (the first seed of each method) into a folder.

        Runs with other settings that `results.json` holds already stay in it.

        Raises:
            DataError: the file of results that is there can't be read.
        """
        from bayespeft.report import plots  # here: matplotlib takes half a second

        results, comparison, reliability = self.files(out)
        _add(results, self.runs)
        titles = self._titles()
        plots.save(plots.comparison([{**row, "method": titles[row["method"]]} for row in self.rows]), comparison)
        plots.save(plots.reliability(self._first()), reliability)

    @staticmethod
    def files(out: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
        """Return the paths of the three files of `save`."""
        return Path(out) / RESULTS, Path(out) / COMPARISON, Path(out) / RELIABILITY

    def _titles(self) -> dict[str, str]:
        """Method -> title, or its name where two methods have one title."""
        titles = {run["method"]: run["title"] for run in self.runs}
        return titles if len(set(titles.values())) == len(titles) else {name: name for name in titles}

    def _by_method(self) -> dict[str, list[Run]]:
        return {title: [run for run in self.runs if run["method"] == name] for name, title in self._titles().items()}

    def _first(self) -> dict[str, CalibrationReport]:
        several = len({run["seed"] for run in self.runs}) > 1
        return {
            title + (f", seed {runs[0]['seed']}" if several else ""): CalibrationReport.from_dict(runs[0]["report"])
            for title, runs in self._by_method().items()
        }


def compare(
    model: str,
    data: str,
    methods: Sequence[str | Method] = ("mle", "melora"),
    seeds: Sequence[int] = (0,),
    *,
    out: str | os.PathLike[str] | None = None,
    draws: int | Literal["auto"] = 10,
    limit: int | None = None,
    test_limit: int | None = None,
    train: TrainConfig = TrainConfig(),
    targets: str | Sequence[str] | Targets = "auto",
    again: bool = False,
    progress: bool = True,
    **task: Any,
) -> Comparison:
    """Fit and evaluate each method with each seed.

    A seed decides the training rows (with a limit), the fresh head, and all of the fit and of the prediction. The test
    rows are the same for all. A method that fits a temperature holds a fifth of its training rows out for it.

    Args:
        model: a registered name, a local folder, or a name on the hub.
        data: a built-in name, a folder of JSON lines, or a name on the hub, with a test split.
        methods: names, or `Method`s, whose names must differ.
        seeds: which seeds.
        out: a folder for results and plots: see `Comparison.save`. None writes nothing.
        draws: posterior draws averaged in a prediction.
        limit: training rows; None for all.
        test_limit: test rows; None for all.
        train: settings that go over those of every method.
        targets: which layers; see `Targets`.
        again: do runs that `out` holds already once more.
        progress: show on standard error how far it is.
        task: data_dir, data_options, kind, max_length, device: see `Task`.

    Raises:
        ConfigError: no methods or seeds, or one of them twice. And what `Task`, `fit` and `Posterior.report` raise;
            runs that were finished before are in `out`.
    """
    chosen = _methods(methods, train)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds is {list(seeds)}: at least one, and each once.")
    here = Task(model=model, data=data, **task)
    wanted = (
        targets
        if isinstance(targets, Targets)
        else Targets(modules=targets if isinstance(targets, str) else list(targets))
    )
    test = here.rows("test", limit=test_limit)
    results = None if out is None else Path(out) / RESULTS
    done = {} if results is None or again else {_key(run): run for run in _read(results)}
    console = Console(stderr=True, quiet=not progress, highlight=False, markup=False, soft_wrap=True)
    runs: dict[tuple[str, int], Run] = {}
    for seed in seeds:
        rows = here.rows("train", limit=limit, seed=seed)
        network = None
        for method in chosen:
            run = _plan(
                here, method, seed, limit=limit, examples=len(rows), test_limit=test_limit, draws=draws, targets=wanted
            )
            title = f"{method.title}, seed {seed}"
            if _key(run) in done:
                console.print(f"{title}: done before, read from {results}")
                runs[method.name, seed] = done[_key(run)]
                continue
            # One network serves all methods, since fitting leaves it as it was; its fresh head goes by the seed.
            network = network or here.network(seed)
            console.print(f"{title}: fitting to {len(rows):,} examples")
            kept, validation = held_out(rows, seed) if method.temperature else (rows, None)
            posterior = fit(
                network[0],
                kept,
                method,
                validation=validation,
                tokenizer=network[1],
                likelihood=here.likelihood(),
                targets=wanted,
                seed=seed,
                progress=progress,
            )
            console.print(f"{title}: predicting {len(test):,} test examples")
            report = posterior.report(test, draws, seed, name=f"{data} test")
            run |= {
                "report": report.to_dict(),
                "history": posterior.history.to_dict(),
                "device": str(posterior.device),
                "versions": versions(),
            }
            if results is not None:
                _add(results, [run])
            console.print(f"{title}: {report.headline}")
            runs[method.name, seed] = run
    comparison = Comparison(tuple(runs[method.name, seed] for method in chosen for seed in seeds))
    if out is not None:
        comparison.save(out)
    return comparison


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    packages = {name: version(name) for name in ("torch", "pyro-ppl", "transformers")}
    return {"bayespeft": __version__, "python": platform.python_version(), **packages}


def _methods(methods: Sequence[str | Method], train: TrainConfig) -> list[Method]:
    chosen = [method if isinstance(method, Method) else registry.get("methods", method) for method in methods]
    names = [method.name for method in chosen]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"methods is {names}: at least one, and each name once.")
    return [method.replace(train=train.over(method.train)) for method in chosen]


def held_out(rows: Sequence[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """Return the rows to train on, and a random fifth for what must not be trained on, such as a temperature."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    count = max(1, len(rows) // 5)
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


def _plan(here: Task, method: Method, seed: int, *, targets: Targets, **settings: Any) -> Run:
    """Return a run with all that decides its result, as plain JSON, and without the result."""
    task = {name: value for name, value in asdict(here).items() if name not in ("kind", "device")}
    settings = {**task, "task": here.resolved_kind, **settings, "targets": targets.model_dump(mode="json")}
    settings["method"] = method.model_dump(mode="json")
    return {
        "method": method.name,
        "title": method.title,
        "seed": seed,
        "settings": json.loads(json.dumps(settings, default=str)),
    }


def _key(run: Run) -> str:
    return json.dumps([run["method"], run["seed"], run["settings"]], sort_keys=True)


def _read(path: Path) -> list[Run]:
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs = list(content["runs"])
        for run in runs:
            _key(run)
            CalibrationReport.from_dict(run["report"])
            History.from_dict(run["history"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no file of results ({error!r}): move it away, or choose another folder.") from error
    return runs


def _add(path: Path, runs: Sequence[Run]) -> None:
    """Write runs into the file, over those with the same settings and beside the others."""
    merged = {_key(run): run for run in [*_read(path), *runs]}
    text = json.dumps({"format": FORMAT, "runs": list(merged.values())}, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())


def _row(run: Run) -> dict[str, Any]:
    report = CalibrationReport.from_dict(run["report"])
    return {
        "method": run["method"],
        "title": run["title"],
        "seed": run["seed"],
        **{name: getattr(report, name).value for name in METRICS},
        "confidence": report.confidence,
        "mutual_information": report.mutual_information,
        "fit_seconds": run["history"]["seconds"],
        "predict_seconds": report.seconds,
        "trainable_parameters": report.trainable_parameters,
    }


def _cell(name: str, metrics: Sequence[Mapping[str, float]]) -> str:
    scale, digits = (100, 1) if name in PERCENT else (1, 3)
    values = [scale * metric["value"] for metric in metrics]
    if len(values) == 1:
        low, high = (scale * metrics[0][end] for end in ("low", "high"))
        return f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
