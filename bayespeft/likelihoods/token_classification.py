"""Token classification: the network's own output is one logit per class at each token, as in named entity recognition.

One example is a sequence; its log-probability is the sum over its labelled tokens, so that the ELBO counts sequences. A word is
labelled at its first token and read there; tokens with the label -100 say nothing, as in transformers. For
`AutoModelForTokenClassification` networks and for plain modules that map a tensor to logits (n, T, K).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.distributions import Distribution

from bayespeft.data.batch import Batch
from bayespeft.data.columns import TAGS, Row, label_of
from bayespeft.errors import DataError
from bayespeft.likelihoods.categorical import softmax_root
from bayespeft.likelihoods.named_classes import NamedClasses, number_of
from bayespeft.likelihoods.words import words_to_tokens
from bayespeft.networks.tokens import IGNORED
from bayespeft.predictive.tokens import TokenAverage, TokenLaw, TokenPredictive


class TokenClassification(NamedClasses):
    """Categorical over the network's K logits at each token; labels are (n, T) integers in [0, K), or -100.

    Attributes:
        label_names: names of the classes, for rows whose labels are strings, and B-..., I-... for entities; filled from the
            network's `id2label`, else from the data: its own names, or, where labels are strings, these in sorted order.
    """

    outputs: ClassVar[str] = "logits of shape (examples, tokens, classes)"
    axes: ClassVar[int] = 3
    columns: ClassVar[str] = f"tokens (a list of words), [{' or '.join(TAGS)}] (a label for each word)"
    token_labels: ClassVar[bool] = True
    tempers: ClassVar[bool] = True
    by_differences: ClassVar[bool] = True
    # A word is labelled, and its output read, at the token where it begins.
    reads: ClassVar[tuple[str, ...]] = ("word_starts",)

    def resolve(self, model: nn.Module, tokenizer: Any, rows: Sequence[Row] | None) -> TokenClassification:
        """Take the class names and the length limit from the network; errors as the base."""
        names, by_labels = self.names_of(model, rows)
        return super().resolve(model, tokenizer, rows).replace(label_names=names, named_by_labels=by_labels)

    def encode(self, rows: Sequence[Row], tokenizer: Any) -> list[dict[str, Any]]:
        """Tokenize `tokens`, word by word; words beyond the length limit are cut off."""
        for i, row in enumerate(rows):
            words = row.get("tokens")
            if not isinstance(words, (list, tuple)) or not words or not all(isinstance(word, str) for word in words):
                raise DataError(
                    f"row {i}: column 'tokens' must be a list of words, got {words!r:.80}. {self.kind} reads "
                    f"{self.columns}; this row has {', '.join(map(str, row))}."
                )
        examples = words_to_tokens(tokenizer, [row["tokens"] for row in rows], self.max_length)
        for i, (row, (example, word_of)) in enumerate(zip(rows, examples, strict=True)):
            starts = [
                word is not None and word != before for before, word in zip([None, *word_of], word_of, strict=False)
            ]
            example["word_starts"] = [int(start) for start in starts]
            if (label := label_of(row, i)) is not None:
                own = self.label(label, i)
                if len(own) != len(row["tokens"]):
                    raise DataError(
                        f"row {i} has {len(row['tokens'])} words and {len(own)} labels: one for each is needed."
                    )
                example["labels"] = [
                    own[word] if start and word is not None else IGNORED
                    for start, word in zip(starts, word_of, strict=True)
                ]
        return [example for example, _ in examples]

    def label(self, label: Any, row: int) -> list[Any]:
        """Return the numbers of the classes of a row's words."""
        values = label.tolist() if hasattr(label, "tolist") else label
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise DataError(f"row {row}: labels are {label!r:.80}, and {self.kind} needs a list of one for each word.")
        return [number_of(value, self.label_names, row) if isinstance(value, str) else value for value in values]

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the network's own output (n, T, K), 0 where no word begins, or at padding where that isn't known."""
        logits = super().logits(model, batch)
        counted = self.counted(batch)
        if batch.labels is not None and batch.labels.shape[1:] != logits.shape[1:2]:
            raise DataError(
                f"labels of shape {tuple(batch.labels.shape)} for outputs of shape {tuple(logits.shape)}: one label for each "
                "token is needed. Put -100 where there is none."
            )
        return logits if counted is None else logits.masked_fill(~counted[..., None], 0.0)

    def counted(self, batch: Batch) -> Tensor | None:
        """Return where a word begins, (n, T); of rows that were tokenised elsewhere, which tokens are no padding."""
        if not isinstance(batch.inputs, Mapping):
            return None
        found = batch.inputs.get("word_starts", batch.inputs.get("attention_mask"))
        return None if found is None or found.dim() != 2 else found.bool()

    def labelled(self, batch: Batch) -> Tensor | None:
        """Return which tokens have a label, (n, T)."""
        return self.counted(batch) if batch.labels is None else batch.labels != IGNORED

    def distribution(self, logits: Tensor) -> Distribution:
        """Return the law of (n, T) labels, with event shape (T,)."""
        return TokenLaw(logits)

    def check_labels(self, labels: Tensor, classes: int) -> None:
        """Check that labels are integers in [0, classes), or -100."""
        if labels.is_floating_point() or labels.dim() != 2:
            raise DataError(
                f"labels must be one integer for each token, or -100, got {labels.dtype} of shape {tuple(labels.shape)}; for "
                "one class an example take likelihood='sequence_classification'."
            )
        wrong = ((labels < 0) & (labels != IGNORED)) | (labels >= classes)
        if wrong.any():
            row, token = (int(place) for place in wrong.nonzero()[0])
            raise DataError(
                f"row {row} has the label {int(labels[row, token])} at token {token}, but the network has {classes} outputs: "
                f"labels must be in 0..{classes - 1}, or -100 where there is none."
            )

    def advise(self, labels: Tensor, whole: bool) -> None:
        """Refuse training data of which no token has a label.

        Raises:
            DataError: that is so.
        """
        if not (labels != IGNORED).any():
            raise DataError("no token has a label: all are -100, so there is nothing to learn.")

    def label_counts(self, labels: Tensor) -> Tensor:
        """Return how many tokens of each example are labelled."""
        return (labels != IGNORED).sum(1)

    def curvature_root(self, logits: Tensor, labels: Tensor | None, by_output: Tensor) -> Tensor:
        """Return that of `Categorical` at each labelled token, one behind the other; 0 at those that say nothing."""
        n, classes = len(logits), logits.shape[-1]
        flat = by_output.reshape(-1, classes, *by_output.shape[logits.dim() :])
        root = softmax_root(logits.reshape(-1, classes), flat)
        if labels is not None:
            root = root * (labels != IGNORED).reshape(-1, *[1] * (root.dim() - 1))
        found: Tensor = root.reshape(n, -1, *root.shape[2:])
        return found

    def average(self, n: int, keep: bool) -> TokenAverage:
        """Average the probabilities of each token."""
        return TokenAverage(n, keep)

    def prediction_type(self, classes: int) -> type[TokenPredictive]:
        """Return `TokenPredictive`."""
        return TokenPredictive


LIKELIHOOD = TokenClassification
