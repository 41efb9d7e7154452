"""`RowReading`: which of a data set's rows a trainer collates, and which are still to be read."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, default_data_collator

from bayespeft import registry
from bayespeft.data.columns import LABELS
from bayespeft.errors import ConfigError, DataError
from bayespeft.fitting.adaptation import Adaptation
from bayespeft.integrations.collator import Collator
from bayespeft.likelihoods.base import Likelihood
from bayespeft.networks.forward import inputs_of

# Type checkers look for the trainer's own attributes in whatever it is mixed into.
_Trainer: Any = object

# Layers are tried out on this many rows of the training data, and heads take their units from these.
ROWS = 512


class RowReading(_Trainer):  # type: ignore[misc]
    """The part of `BayesTraining` that looks at rows before anything is trained."""

    _columns: dict[str, str]
    _signature_columns: Any
    data_collator: Any

    def _prepare_columns(self, network: nn.Module, likelihood: str | Likelihood | None) -> None:
        """Keep those columns that the likelihood reads, and have raw rows read, where the collator is the trainer's own."""
        self._set_signature_columns_if_needed()
        kind = registry.get("likelihoods", likelihood) if isinstance(likelihood, str) else likelihood
        self._signature_columns += () if kind is None else kind.reads
        names: list[str] = self.args.label_names or []
        if len(names) == 1 and names[0] not in LABELS:
            self._columns.setdefault(LABELS[0], names[0])
        if self.data_collator is default_data_collator or type(self.data_collator) is DataCollatorWithPadding:
            self.data_collator = Collator(self.data_collator, inputs_of(network), self._columns)

    def _raw(self, data: Any) -> bool:
        """Whether rows are still to be read."""
        return isinstance(self.data_collator, Collator) and self.data_collator.raw(next(iter(data), None))

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        """Leave raw rows as they are: the network takes none of their columns."""
        return dataset if self._raw(dataset) else super()._remove_unused_columns(dataset, description)

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        """Leave raw rows as they are."""
        if not isinstance(data_collator, Collator):
            return super()._get_collator_with_removed_columns(data_collator, description)
        return data_collator.with_usual(super()._get_collator_with_removed_columns(data_collator.usual, description))

    def _example(self) -> tuple[Any, bool]:
        """Return some rows of the training data, anywhere in it, and whether they are raw: others are collated."""
        data = self.train_dataset
        if data is None:
            raise DataError(
                "train_dataset= is missing: the posterior's layers are tried out on it, and N is its length."
            )
        if hasattr(data, "column_names") and hasattr(data, "remove_columns"):
            data, collate = self._remove_unused_columns(data, "training"), self.data_collator
        else:
            collate = self._get_collator_with_removed_columns(self.data_collator, "training")
        if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.args.seed))[:ROWS].tolist()
            # Rows that are taken out of a data set no longer say what it calls its classes.
            rows: Any = data.select(order) if hasattr(data, "select") else [data[i] for i in order]
        else:
            rows = list(islice(data, ROWS))
        if not len(rows):
            raise DataError("train_dataset= is empty: it has no rows to train on.")
        if self._raw(rows):
            return rows, True
        size = min(self.args.per_device_train_batch_size, len(rows))
        return DataLoader(rows, batch_size=size, collate_fn=collate), False

    def _balanced(self) -> dict[str | int, float]:
        """Return N / (K n_k) by label, of all rows that are trained on.

        Raises:
            ConfigError: labels can't be had without reading all inputs.
        """
        data = self.train_dataset
        names = (self._columns.get(LABELS[0]), *LABELS)
        if hasattr(data, "column_names"):
            column = next((name for name in names if name in (data.column_names or ())), None)
            labels = None if column is None or not hasattr(data, "__len__") else list(data[column])
        else:
            rows = data if isinstance(data, (list, tuple)) else ()
            labels = [next((row[name] for name in names if name in row), None) for row in rows]
        plain = [label.item() if hasattr(label, "item") else label for label in labels or ()]
        if not plain or not all(isinstance(label, (str, int)) for label in plain):
            raise ConfigError(
                "class_weight='balanced' needs a train_dataset with a column of labels, one for each row: pass the weight of "
                "each class, N / (K n_k) for n_k of N rows and K classes."
            )
        counts = Counter(plain)
        return {label: len(plain) / (len(counts) * count) for label, count in counts.items()}

    def _reads_with(self, adaptation: Adaptation) -> None:
        """Have raw rows read, from now on."""
        if isinstance(self.data_collator, Collator):
            self.data_collator.read = adaptation.read
