"""Sequence classification: the network's own output is one logit per class.

For `AutoModelForSequenceClassification` networks and for plain modules that map a tensor to logits (n, K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from bayespeft.data.batch import Batch
from bayespeft.errors import AttachError, DataError
from bayespeft.likelihoods.base import Likelihood, Row, token_limit


class SequenceClassification(Likelihood):
    """Categorical over the network's K logits.

    Attributes:
        label_names: names of the classes, for rows whose labels are strings; filled from the network's `label2id`.
    """

    trains_head: ClassVar[bool] = True
    columns: ClassVar[str] = "text, [text_pair], label"
    # Networks with absolute positions would count padding on the left.
    padding_side: ClassVar[Literal["left", "right"] | None] = "right"
    label_names: tuple[str, ...] = ()

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> SequenceClassification:
        """Take the class names and the length limit from the network.

        Raises:
            DataError: tokenizer and network name different padding tokens: a decoder would classify by the wrong token.
        """
        config = getattr(model, "config", None)
        pads = getattr(tokenizer, "pad_token_id", None), getattr(config, "pad_token_id", None)
        if config is not None and pads[0] is not None and pads[0] != pads[1]:
            raise DataError(
                f"the tokenizer pads with token {pads[0]}, but the network's configuration says {pads[1]}; set "
                "model.config.pad_token_id = tokenizer.pad_token_id."
            )
        names = self.label_names
        if not names and getattr(config, "id2label", None):
            assert config is not None
            names = tuple(str(config.id2label[i]) for i in range(len(config.id2label)))
        limit = token_limit(self, model, tokenizer) if tokenizer is not None else self.max_length
        return self.replace(label_names=names, max_length=limit)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize `text` (and `text_pair`)."""
        for i, row in enumerate(rows):
            if not isinstance(row.get("text"), str):
                raise DataError(
                    f"row {i}: column 'text' must be a string, got {row.get('text')!r}. Sequence classification "
                    f"reads {self.columns}; this row has {', '.join(map(str, row))}."
                )
        paired = any("text_pair" in row for row in rows)
        pairs = [str(row.get("text_pair") or "") for row in rows] if paired else None
        texts = [row["text"] for row in rows]
        # verbose=False: a long text is cut on purpose, no need for a warning.
        encoded = tokenizer(
            texts, pairs, truncation=self.max_length is not None, max_length=self.max_length, verbose=False
        )
        examples = [{name: encoded[name][i] for name in encoded} for i in range(len(rows))]
        for i, (row, example) in enumerate(zip(rows, examples, strict=True)):
            if row.get("label") is not None:
                example["labels"] = self._label(row["label"], i)
        return examples

    def _label(self, label: Any, row: int) -> Any:
        if not isinstance(label, str):
            return label
        if label not in self.label_names:
            raise DataError(
                f"row {row}: label {label!r} is not among the network's classes {', '.join(self.label_names) or '(none)'}; "
                "use integers, or load the network with id2label and label2id."
            )
        return self.label_names.index(label)

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the network's logits (n, K)."""
        inputs = batch.inputs
        output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
        logits = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(output).__name__
            raise AttachError(
                f"sequence_classification expects logits of shape (examples, classes) from {type(model).__name__}, got "
                f"{shape}; choose another likelihood=, or wrap the network so that it returns such logits."
            )
        return logits.float()


LIKELIHOOD = SequenceClassification
