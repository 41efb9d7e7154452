"""Data as users hand it over, as examples: rows, batches, or the name of a data set."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from bayespeft.data.batch import Batch
from bayespeft.data.class_names import aligned
from bayespeft.data.columns import without_labels
from bayespeft.data.examples import Examples
from bayespeft.data.load import load as load_rows
from bayespeft.data.prepare import Padding, prepare, raw_rows
from bayespeft.data.takes import Takes
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.positions import has_table, longest, vocabulary


def as_examples(data: Any, likelihood: Likelihood, tokenizer: Any, model: nn.Module, split: str) -> Examples:
    """Read data in any accepted form, as a network takes it.

    Classes that both the data and the network name are numbered as the network numbers them.

    Args:
        data: the name of a data set means its rows of `split`.
        likelihood: says how rows are read and padded.
        tokenizer: for rows of text.
        model: the network.
        split: "train" is what is trained on.

    Raises:
        DataError: the data can't be read, or holds what the network has no place for.
    """
    data = load_rows(data, split) if isinstance(data, str) else data
    return _read(aligned(data, likelihood.class_names), likelihood, tokenizer, model, split)


def takes_of(model: nn.Module, likelihood: Likelihood) -> Takes:
    """Return what is known of a network's inputs."""
    parameters = inspect.signature(model.forward).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    # A forward that passes on what it is given does not say what that may be; transformers' names at least its main input.
    opaque = any(p.kind is p.VAR_KEYWORD for p in parameters) and getattr(model, "main_input_name", "") not in names
    config = getattr(model, "config", None)
    types = getattr(config, "type_vocab_size", None)
    # Decoders behind an encoder classify by the state at the last end token, and refuse rows that hold unequally many.
    pooled = getattr(config, "is_encoder_decoder", False) and likelihood.trains_head and not likelihood.token_labels
    return Takes(
        network=type(model).__name__,
        names=None if opaque else frozenset(names - {"labels"}),
        dtype=next((p.dtype for p in model.parameters() if p.is_floating_point()), None),
        vocabulary=vocabulary(model),
        positions=longest(model) if has_table(model) else None,
        token_types=types if isinstance(types, int) and types > 0 else None,
        end=getattr(config, "eos_token_id", None) if pooled else None,
        others=frozenset(likelihood.reads),
    )


def _read(data: Any, likelihood: Likelihood, tokenizer: Any, model: nn.Module, split: str) -> Examples:
    side: Any = likelihood.pads or likelihood.padding_side or getattr(tokenizer, "padding_side", "right")
    named = (getattr(source, "pad_token_id", None) for source in (tokenizer, getattr(model, "config", None)))
    padding = Padding(next((token for token in named if token is not None), None), side, likelihood.token_labels)

    def encode(rows: Sequence[Any]) -> list[dict[str, Any]]:
        return likelihood.encode(rows, tokenizer)

    return prepare(
        data,
        encode if tokenizer is not None else None,
        padding=padding,
        training=split == "train",
        takes=takes_of(model, likelihood),
    )


def unlabelled(data: Any, likelihood: Likelihood, tokenizer: Any, model: nn.Module, split: str) -> Examples:
    """Read data, as `as_examples`, whose labels don't matter: they may be missing, or of classes that the network lacks."""
    data = load_rows(data, split) if isinstance(data, str) else data
    rows = raw_rows(data)
    if rows is not None:  # names of unknown classes can't even be read
        kept = (rows[i] for i in range(len(rows)))
        data = list(map(without_labels, kept))
    return _Unlabelled(_read(data, likelihood, tokenizer, model, split))


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

    def uneven(self) -> Batch | None:
        """As the base, with no labels."""
        found = self.examples.uneven()
        return None if found is None else replace(found, labels=None)
