"""`Task`: a network and a data set, both by name, brought together. What the command line and `compare` work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from bayespeft import registry
from bayespeft.data.class_names import in_order
from bayespeft.data.columns import CHOICES, WORDS, Row, label_of
from bayespeft.data.files import is_file
from bayespeft.data.load import load as load_rows
from bayespeft.data.source import Source, source_of
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.multi_label import form_of
from bayespeft.networks.configuration import name_outputs, names_of_outputs
from bayespeft.pretrained.load import LIKELIHOODS, TaskKind
from bayespeft.pretrained.load import load as load_network
from bayespeft.utils.device import find_device


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network and a data set by name.

    Attributes:
        model: a registered name, a local folder, or a name on the hub: see `bayespeft.pretrained.load.load`.
        data: a built-in name, a folder of JSON lines, or a name on the hub: see `bayespeft.data.load.load`.
        data_dir: a folder of data sets, each a folder of files `<split>.jsonl`.
        data_options: the data set's own, such as groups of newsgroups.
        columns: which of the data's columns is which, where they have names of their own: see `bayespeft.fit`.
        kind: "classification", "multi_label", "tokens" or "causal"; None goes by the columns: text is classified, with several
            labels where rows list them, words are classified one by one, and questions with choices are answered by a causal
            language model.
        max_length: longest input in tokens; None for what network and tokenizer allow.
        device: "auto" (the GPU if there is one, else the CPU), or what `torch.device` accepts.
    """

    model: str
    data: str
    data_dir: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    kind: TaskKind | None = None
    max_length: int | None = None
    device: str = "auto"

    def rows(self, split: str, *, limit: int | None = None, seed: int = 0) -> Sequence[Row]:
        """Return the rows of a split as they are, or the first `limit` of them after a shuffle by `seed`."""
        return load_rows(
            self.data,
            split,
            data_dir=self.data_dir,
            limit=limit,
            seed=seed,
            columns=self.columns,
            **dict(self.data_options),
        )

    def source(self, split: str, *, limit: int | None = None, seed: int = 0) -> Source:
        """Return these rows as what `bayespeft.fit` and a posterior take them for.

        Raises:
            ConfigError: another split than "train" of a single file. And as `bayespeft.data.load.load`.
        """
        if is_file(self.data) and split != "train":
            raise ConfigError(
                f"{self.data} is one file, which has no split {split!r}: name a folder of files train.csv, {split}.csv (or of "
                "another known ending)."
            )
        return source_of(self.rows(split, limit=limit, seed=seed), split, self.columns)

    @cached_property
    def resolved_kind(self) -> TaskKind:
        """`kind`, or what the columns of the training data say.

        Raises:
            DataError: they say nothing.
        """
        if self.kind is not None:
            return self.kind
        first: Row = (self._train.rows or [{}])[0]
        columns = set(first)
        if {"question", CHOICES} <= columns:
            return "causal"
        if "text" in columns:
            return "multi_label" if isinstance(label_of(first, 0), (list, tuple)) else "classification"
        if WORDS in columns:
            return "tokens"
        raise DataError(
            f"{self.data} has the columns {', '.join(sorted(columns))}; to classify, 'text' and 'label' are needed, or "
            "'tokens' and 'ner_tags', and for multiple choice 'question', 'choices' and 'answer'. Say which column is which, "
            "as in columns={'text': ...} (--columns text=... on the command line)."
        )

    def network(self, seed: int = 0) -> tuple[nn.Module, Any]:
        """Load the network, with as many outputs as the training data has classes, and its tokenizer.

        Args:
            seed: of a fresh head.

        Raises:
            ConfigError, UnknownNameError, MissingPackageError: as `bayespeft.pretrained.load.load`; or there is no such
                device.
        """
        device = find_device(self.device)
        count, names = (None, ()) if self.resolved_kind == "causal" else _classes(self._train)
        model, tokenizer = load_network(self.model, self.resolved_kind, count, seed=seed)
        known = names_of_outputs(model)
        # A head that was trained on these very classes keeps its order of them.
        name_outputs(model, () if set(known) == set(names) else names)
        return model.to(device), tokenizer

    def likelihood(self) -> Likelihood:
        """Return the likelihood of this kind of task."""
        chosen: Likelihood = registry.get("likelihoods", LIKELIHOODS[self.resolved_kind])(max_length=self.max_length)
        return chosen

    @cached_property
    def _train(self) -> Source:
        return self.source("train")


def _classes(source: Source) -> tuple[int | None, tuple[str, ...]]:
    """Return how many classes the training data has, if it says so, and what it calls them, if it names them.

    Where rows have lists of labels, they are all that are in the lists; lists of a 0 or 1 for each label are as long.
    """
    if source.class_names:
        return len(source.class_names), source.class_names
    rows: Sequence[Row] = source.rows or ()
    labels = [label for number, row in enumerate(rows) if (label := label_of(row, number)) is not None]
    if labels and all(isinstance(label, (list, tuple)) for label in labels):
        if WORDS not in rows[0] and len(labels[0]) > 1 and form_of(labels) == "vectors":
            return len(labels[0]), ()
        labels = [part for label in labels for part in label]
    if labels and all(isinstance(label, str) for label in labels):
        names = in_order(labels)
        return len(names), names
    if labels and all(isinstance(label, int) for label in labels):
        return max(2, max(labels) + 1), ()
    return None, ()
