"""Data as users hand it over, as examples: rows, batches, or the name of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bayespeft.data.batch import Batch
from bayespeft.data.class_names import LABELS, aligned
from bayespeft.data.examples import Examples
from bayespeft.data.load import load as load_rows
from bayespeft.data.prepare import Padding, prepare, raw_rows
from bayespeft.likelihoods.base import Likelihood


def as_examples(data: Any, likelihood: Likelihood, tokenizer: Any, split: str) -> Examples:
    """Read data in any accepted form; the name of a data set means its rows of `split`, and "train" is what is trained on.

    Classes that both the data and the network name are numbered as the network numbers them.
    """
    data = load_rows(data, split) if isinstance(data, str) else data
    return _read(aligned(data, likelihood.class_names), likelihood, tokenizer, split)


def _read(data: Any, likelihood: Likelihood, tokenizer: Any, split: str) -> Examples:
    side: Any = likelihood.padding_side or getattr(tokenizer, "padding_side", "right")
    padding = Padding(getattr(tokenizer, "pad_token_id", None), side, likelihood.token_labels)

    def encode(rows: Sequence[Any]) -> list[dict[str, Any]]:
        return likelihood.encode(rows, tokenizer)

    return prepare(data, encode if tokenizer is not None else None, padding=padding, training=split == "train")


def unlabelled(data: Any, likelihood: Likelihood, tokenizer: Any, split: str) -> Examples:
    """Read data, as `as_examples`, whose labels don't matter: they may be missing, or of classes that the network lacks."""
    data = load_rows(data, split) if isinstance(data, str) else data
    rows = raw_rows(data)
    if rows is not None:  # names of unknown classes can't even be read
        kept = (rows[i] for i in range(len(rows)))
        data = [{name: value for name, value in row.items() if name not in LABELS} for row in kept]
    return _Unlabelled(_read(data, likelihood, tokenizer, split))


@dataclass(frozen=True)
class _Unlabelled(Examples):
    """Examples without their labels, which may be of other classes than the network's."""

    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[Batch]:
        """As the base, with no labels."""
        return (replace(batch, labels=None) for batch in self.examples.batches(batch_size, shuffle))

    def batch_count(self, batch_size: int) -> int:
        """As the base."""
        return self.examples.batch_count(batch_size)
