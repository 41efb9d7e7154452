"""A data set of a study, and the other data that uncertainty should tell from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bayespeft.config import Config
from bayespeft.data.load import load
from bayespeft.data.source import Source, source_of
from bayespeft.likelihoods.categorical import Weight
from bayespeft.pretrained.load import TaskKind
from bayespeft.task import Task


class OtherData(Config):
    """Rows of another kind, by which uncertainty is judged; their labels are not used.

    Attributes:
        source: as a data set's; its test split is used.
        data_dir: see `DataSet`; None is that of the data set that it is compared with.
        options: the data's own.
        limit: rows; None for all.
    """

    source: str
    data_dir: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    limit: int | None = Field(default=None, ge=1)

    def beside(self, data: DataSet) -> Source:
        """Return the rows, whose columns are called as those of the data set beside it are, or as usual.

        Raises:
            As `bayespeft.data.load.load`.
        """
        rows = load(
            self.source,
            "test",
            data_dir=self.data_dir or data.data_dir,
            limit=self.limit,
            columns=data.columns,
            **self.options,
        )
        return source_of(rows, "test", remembered=data.columns).without_labels()


class DataSet(Config):
    """A data set of a study, and how much of it is used.

    Attributes:
        source: a built-in name, a folder with a file of rows for each split, or a name on the hub, with a test split.
        data_dir: a folder of data sets, each a folder of files `<split>.jsonl` or of another ending.
        options: the data set's own, such as groups of newsgroups.
        columns: which of its columns is which, where they have names of their own: see `bayespeft.fit`.
        kind: of the task, as for `bayespeft.Task`; None goes by the columns.
        max_length: longest input in tokens; None for what network and tokenizer allow.
        limit: training rows; None for all.
        test_limit: test rows; None for all.
        class_weight: what each training row counts, by its class, as for `bayespeft.fit`; classes are named as texts.
        prior_correction: predict with the training data's own frequencies of classes, where they are weighed: see
            `Posterior.with_prior_correction`.
        ood: name -> other data (or the name of its source), which uncertainty should tell from the test rows.
    """

    source: str
    data_dir: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict)
    kind: TaskKind | None = None
    max_length: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)
    class_weight: Literal["balanced"] | dict[str | int, Weight] | None = None
    prior_correction: bool = False
    ood: dict[str, OtherData] = Field(default_factory=dict)

    @field_validator("ood", mode="before")
    @classmethod
    def _by_name(cls, ood: Any) -> Any:
        if not isinstance(ood, Mapping):
            return ood
        return {name: {"source": other} if isinstance(other, str) else other for name, other in ood.items()}

    @model_validator(mode="after")
    def _corrects_something(self) -> DataSet:
        if self.prior_correction and self.class_weight is None:
            raise ValueError("prior_correction leads weighed classes back, and there is no class_weight: set it, too")
        return self

    def task(self, model: str, device: str = "auto") -> Task:
        """Return it with a network."""
        return Task(
            model=model,
            data=self.source,
            data_dir=self.data_dir,
            data_options=self.options,
            columns=self.columns,
            kind=self.kind,
            max_length=self.max_length,
            device=device,
        )
