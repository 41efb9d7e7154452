"""What every likelihood offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.config import Plugin
from bayespeft.data.batch import Batch
from bayespeft.errors import DataError

Row = Mapping[str, Any]


class Likelihood(Plugin, ABC):
    """p(label | network output): how rows become inputs, which outputs are needed, and what they say of the labels.

    Attributes:
        max_length: longest sequence in tokens; longer ones are cut. None: the tokenizer's or the network's limit.
    """

    room: ClassVar[str] = "likelihoods"
    trains_head: ClassVar[bool] = False
    columns: ClassVar[str] = ""
    # Where rows are padded that are still lists; None: where the tokenizer says.
    padding_side: ClassVar[Literal["left", "right"] | None] = None
    max_length: int | None = None

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> Likelihood:
        """Fill in what depends on the network, its tokenizer and the training rows; checks that they fit together."""
        return self

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Turn raw rows into `input_ids`, `attention_mask`, ... and `labels` where the rows have them.

        Raises:
            DataError: a column is missing or has a value that can't be used.
        """

    @abstractmethod
    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Run the network and return float32 logits (n, K): what is needed and no more."""

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the law of the labels: categorical over (n, K) logits."""
        return dist.Categorical(logits=logits)  # type: ignore[no-any-return]

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels are integers in [0, classes).

        Raises:
            DataError: the message names the first row that is out of range.
        """
        if labels.is_floating_point() or labels.dim() != 1:
            raise DataError(
                f"labels must be one integer per example, got {labels.dtype} of shape {tuple(labels.shape)}; "
                "number the classes 0, 1, ..."
            )
        outside = torch.nonzero((labels < 0) | (labels >= classes)).flatten()
        if len(outside):
            row = int(outside[0])
            raise DataError(
                f"row {row} has label {int(labels[row])}, but the network has {classes} outputs: labels must be in "
                f"0..{classes - 1}. Load the network with num_labels={int(labels.max()) + 1}, or renumber the labels."
            )


def token_limit(likelihood: Likelihood, model_or_none: nn.Module | None, tokenizer: Any) -> int | None:
    """Return the longest sequence that likelihood, network and tokenizer allow, in tokens."""
    config = getattr(model_or_none, "config", None)
    limits = [likelihood.max_length, getattr(tokenizer, "model_max_length", None)]
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    # RoBERTa and its kin count positions from the padding token's number on.
    offset = (
        2 if "roberta" in getattr(config, "model_type", "") or getattr(config, "model_type", "") == "camembert" else 0
    )
    limits.append(positions and positions - offset)
    known = [limit for limit in limits if limit and limit < 10**9]
    return min(known) if known else None
