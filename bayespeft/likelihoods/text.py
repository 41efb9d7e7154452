"""What likelihoods over the network's own output share: texts to tokens, and the output as it is.

For `AutoModelForSequenceClassification` networks and for plain modules that map a tensor to (n, K).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from bayespeft.data.batch import Batch, Inputs
from bayespeft.data.columns import Row, label_of, remedy
from bayespeft.errors import AttachError, BayesPeftError, ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.tokens import added, repeated
from bayespeft.networks.configuration import setting
from bayespeft.networks.positions import left_positions, token_limit
from bayespeft.utils.warned import warn

T = TypeVar("T", bound="TextLikelihood")


class TextLikelihood(Likelihood):
    """A text, or a pair of texts, in; K numbers out; the head is trained with the adapters.

    Attributes:
        paired: whether the training rows had pairs of texts; filled from them. Others are told of.
    """

    trains_head: ClassVar[bool] = True
    columns: ClassVar[str] = "text, [text_pair], label"
    # Networks with absolute positions would count padding on the left.
    padding_side: ClassVar[Literal["left", "right"] | None] = "right"
    # The network must return this, in words, with so many axes.
    outputs: ClassVar[str]
    axes: ClassVar[int] = 2
    # Several labels of an example may be right at once.
    several: ClassVar[bool] = False
    paired: bool | None = None

    def resolve(self: T, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> T:
        """Take the length limit from the network.

        Raises:
            DataError: tokenizer and network name different padding tokens: a decoder would read the wrong token.
            ConfigError: the network says that several labels may be right at once.
        """
        config = getattr(model, "config", None)
        if not self.several and setting(model, "problem_type") == "multi_label_classification":
            raise ConfigError(
                "the network's config.problem_type is 'multi_label_classification': each label is right or wrong alone, and "
                f"{self.kind} has no probability for each. Take likelihood='multi_label', or leave likelihood= out; or, "
                "if exactly one label is right, set model.config.problem_type = 'single_label_classification'."
            )
        pads = getattr(tokenizer, "pad_token_id", None), setting(model, "pad_token_id")
        if config is not None and pads[0] is not None and pads[0] != pads[1]:
            raise DataError(
                f"the tokenizer pads with token {pads[0]}, but the network's configuration says {pads[1]}; set "
                "model.config.pad_token_id = tokenizer.pad_token_id."
            )
        limit = token_limit(self.max_length, model, tokenizer) if tokenizer is not None else self.max_length
        paired = _paired(rows[:1]) if rows and "text" in rows[0] and self.paired is None else self.paired
        return self.replace(max_length=limit, paired=paired)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize `text` (and `text_pair`); a warning says where training rows had pairs and these have none, or otherwise."""
        for i, row in enumerate(rows):
            if not isinstance(row.get("text"), str):
                raise DataError(
                    f"row {i}: column 'text' must be a string, got {row.get('text')!r}. {self.kind} "
                    f"reads {self.columns}; this row has {', '.join(map(str, row))}. {remedy(row, 'text')}"
                )
        paired = _paired(rows)
        if self.paired is not None and paired != self.paired:
            with_pairs, without = (
                ("the training rows", "these") if self.paired else ("these rows", "those of the training")
            )
            warn(
                f"{with_pairs} have a 'text_pair' and {without} have none, so that the network reads other than what it was "
                f"fitted to. These have {', '.join(map(str, rows[0]))}: say which column is which, as in "
                "columns={'text_pair': ...}.",
            )
        pairs = [str(row.get("text_pair") or "") for row in rows] if paired else None
        texts = [row["text"] for row in rows]
        examples = _encoded(tokenizer, texts, pairs)
        long = [i for i, example in enumerate(examples) if len(example["input_ids"]) > (self.max_length or math.inf)]
        some = [[column[i] for i in long] if column else None for column in (texts, pairs)]
        cut = _encoded(tokenizer, *some, truncation=True, max_length=self.max_length) if long else []
        for i, shorter in zip(long, cut, strict=True):
            examples[i] = {**shorter, "whole": len(examples[i]["input_ids"])}
        for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
            if (label := label_of(row, i)) is not None:
                example["labels"] = self.label(label, i)
        return examples

    @abstractmethod
    def label(self, label: Any, row: int) -> Any:
        """Return a row's label as a number or a list of numbers.

        Raises:
            DataError: it can't be one; the message names column and row.
        """

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the network's own output (n, K)."""
        output = _output(model, batch.inputs, self.reads)
        logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor) or logits.dim() != self.axes:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
            raise AttachError(
                f"{self.kind} expects {self.outputs} from {type(model).__name__}, got {shape}; choose another likelihood=, or "
                "wrap the network so that it returns these."
            )
        return logits.float()


def _paired(rows: Sequence[Row]) -> bool:
    return any("text_pair" in row for row in rows)


def _encoded(tokenizer: Any, texts: Any, pairs: Any, **options: Any) -> list[dict[str, Any]]:
    # verbose=False: what is to be said of long texts is said for all of the data.
    encoded = tokenizer(texts, pairs, verbose=False, **options)
    front, _ = added(tokenizer)
    again = [repeated(ids, front) for ids in encoded["input_ids"]]
    return [{name: encoded[name][i][again[i] :] for name in encoded} for i in range(len(texts))]


def _output(model: nn.Module, inputs: Inputs, without: Sequence[str] = ()) -> Any:
    """Run the network on a copy of a batch's inputs, `without` some of them: it may write into what it is given.

    Raises:
        DataError: it fails on the batch.
    """
    try:
        if isinstance(inputs, Tensor):
            return model(inputs.clone())
        inputs = {name: value.clone() for name, value in inputs.items() if name not in without}
        mask = inputs.get("attention_mask")
        positions = {} if mask is None or mask.dim() != 2 else left_positions(model, mask)
        return model(**{**positions, **inputs})
    except (BayesPeftError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        named = {"x": inputs} if isinstance(inputs, Tensor) else inputs
        given = ", ".join(f"{name} {tuple(value.shape)} {value.dtype}" for name, value in named.items())
        raise DataError(
            f"{type(model).__name__} fails on a batch of {given}: {error}. Check that the data has the shape and the type that "
            "the network takes."
        ) from error
