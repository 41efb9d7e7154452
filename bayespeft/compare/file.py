"""A study in a TOML file.

    model = "minilm"                    # or models = ["minilm", "smollm2"]
    data = ["newsgroups", "sst2"]       # or a table for each, as below for the methods
    methods = ["mle", "melora"]
    seeds = [0, 1, 2]
    draws = 10
    limit = 400                         # as test_limit, max_length, kind, data_dir, columns, ood: of all data that says nothing
    ood.films = "sst2"                  # other data, which uncertainty should tell from the test rows; several if named
    tune = [0.5, 1, 2]                  # multiples of each method's own rates, chosen by held-out training rows

    [train]                             # over every method's own; [targets] likewise
    epochs = 12

    [run]                               # where and how, which no result depends on
    out = "runs/first"
    workers = 2

In the place of the lists, tables change what is in them:

    [data.space]
    source = "newsgroups"               # the table's name if left out
    options.groups = ["sci.med", "sci.space"]

    [data.reviews]
    source = "reviews/"                 # a folder of files train.csv, test.csv
    columns = { text = "body", label = "stars" }
    class_weight = { bad = 5 }          # what rows of a class count in the objective, or "balanced"
    prior_correction = true             # but predict with the data's own frequencies of classes

    [methods.melora]                    # an empty table: the method as it is

    [methods.wide]
    base = "melora"                     # the table's name if left out
    title = "Me-LoRA, wide"
    guide.init_std = [0.5, 0.5]         # of the base's guide
    latent_prior = { kind = "normal", scale = 1.0 }
    train.lr = 2e-3                     # over [train]

Paths are relative to where the command runs, as in its arguments.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from bayespeft import registry
from bayespeft.compare.data_set import DataSet
from bayespeft.compare.study import METHODS, Draws, Study
from bayespeft.compare.tuning import Tuning
from bayespeft.config import Config, Plugin, Targets, TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.methods.base import Method

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same, for Python 3.10
    import tomli as tomllib

T = TypeVar("T", bound=Config)
DATA = ("data_dir", "columns", "kind", "max_length", "limit", "test_limit", "class_weight", "prior_correction", "ood")


class Execution(Config):
    """Where and how runs are made; no result depends on it.

    Attributes:
        out: folder of results, tables and plots.
        device: see `Task`.
        workers: processes; None is one for each GPU, or one.
        engine: "local"; "slurm", an array of jobs; or "ray", tasks of a cluster.
        slurm: see `bayespeft.compare.slurm.by_slurm`.
        ray: see `bayespeft.compare.ray.by_ray`.
    """

    out: str | None = None
    device: str = "auto"
    workers: int | None = Field(default=None, ge=1)
    engine: Literal["local", "slurm", "ray"] = "local"
    slurm: dict[str, str | bool | int | float] = Field(default_factory=dict)
    ray: dict[str, str | bool | int | float] = Field(default_factory=dict)


class _File(Config):
    model: str | None = None
    models: list[str] | None = None
    data: list[str] | dict[str, dict[str, Any]] | str
    methods: list[str] | dict[str, dict[str, Any]] = Field(default_factory=lambda: list(METHODS))
    seeds: list[int] = Field(default_factory=lambda: [0])
    draws: Draws = 10
    data_dir: str | None = None
    columns: Any = None
    kind: Any = None
    max_length: Any = None
    limit: Any = None
    test_limit: Any = None
    class_weight: Any = None
    prior_correction: Any = None
    ood: Any = None
    tune: list[float] | dict[str, Any] | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    targets: dict[str, Any] = Field(default_factory=dict)
    run: dict[str, Any] = Field(default_factory=dict)


def read(path: str | os.PathLike[str]) -> tuple[Study, Execution]:
    """Read a study, and how to run it.

    Raises:
        ConfigError: the file can't be read; a key is unknown, or a value can't be used. The message names file, table and
            key.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}.") from error
    file = _table(_File, content, f"{path}")
    if (file.model is None) == (file.models is None):
        raise ConfigError(f"{path}: model or models is expected, one of the two.")
    common = {name: value for name in DATA if (value := getattr(file, name)) is not None}
    _table(DataSet, {"source": "", **common}, f"{path}")
    sources = [file.data] if isinstance(file.data, str) else file.data
    tables = _named(sources, f"{path}: data")
    train = _table(TrainConfig, file.train, f"{path}, [train]")
    targets = _table(Targets, file.targets, f"{path}, [targets]")
    tune = file.tune if file.tune is None or isinstance(file.tune, dict) else {"multiples": file.tune}
    tuning = None if tune is None else _table(Tuning, tune, f"{path}, tune")
    data = {
        name: _table(DataSet, {"source": name, **common, **table}, f"{path}, [data.{name}]")
        for name, table in tables.items()
    }
    methods = [
        _method(name, dict(table), train, targets, f"{path}, [methods.{name}")
        for name, table in _named(file.methods, f"{path}: methods").items()
    ]
    try:
        study = Study(
            models=tuple(file.models or [str(file.model)]),
            data=data,
            methods=tuple(methods),
            seeds=tuple(file.seeds),
            draws=file.draws,
            tuning=tuning,
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return study, _table(Execution, file.run, f"{path}, [run]")


def _named(found: list[str] | dict[str, dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    if isinstance(found, dict):
        return found
    if len(set(found)) < len(found):
        raise ConfigError(f"{where} is {found}: each once.")
    return {name: {} for name in found}


def _method(name: str, table: dict[str, Any], train: TrainConfig, targets: Targets, where: str) -> Method:
    """Return the method of a table; `where` lacks its last bracket, as tables go on within it."""
    try:
        base: Method = registry.get("methods", table.pop("base", name))
    except ConfigError as error:
        raise ConfigError(f"{where}]: {error} base = names the method that a table changes.") from error
    if "name" in table:
        raise ConfigError(f"{where}]: name is the table's own name.")
    method = base.replace(name=name, train=train.over(base.train), targets=targets.over(base.targets))
    return _changed(method, table, where)


def _changed(config: T, table: dict[str, Any], where: str) -> T:
    """Return settings with those of a table over them, and in turn for settings within them."""
    changes: dict[str, Any] = {}
    for field, value in table.items():
        own = getattr(config, field, None) if field in type(config).model_fields else None
        if isinstance(own, Config) and isinstance(value, dict) and _same_kind(own, value):
            inner = {name: item for name, item in value.items() if name != "kind"}
            changes[field] = _changed(own, inner, f"{where}.{field}")
        else:
            changes[field] = value
    try:
        return config.replace(**changes)
    except ConfigError as error:
        raise ConfigError(f"{where}]: {error}") from error


def _same_kind(own: Config, table: dict[str, Any]) -> bool:
    """Whether a table changes a setting, instead of putting another class in its place."""
    return not isinstance(own, Plugin) or table.get("kind", own.kind) == own.kind


def _table(cls: type[T], table: dict[str, Any], where: str) -> T:
    try:
        return cls(**table)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
