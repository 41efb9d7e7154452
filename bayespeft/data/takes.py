"""What a network takes: which inputs, of which type, and which numbers its tables have a row for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayespeft.data.batch import Batch
from bayespeft.data.columns import TOKEN_TYPES, TOKENISED, TOKENS
from bayespeft.data.rows import RowExamples
from bayespeft.data.wrapped import WrappedExamples
from bayespeft.errors import DataError

# Tokenizers add these columns unasked, whether or not the network takes them.
BYPRODUCTS = TOKENISED[1:]


@dataclass(frozen=True)
class Takes:
    """What is known of a network's inputs; None where nothing is.

    Attributes:
        network: its class, for messages.
        names: the keyword arguments of its forward.
        dtype: of its numbers, and so of inputs that are no integers.
        vocabulary: token numbers are below this.
        positions: sequences are at most so long, since its table of positions has no more rows.
        token_types: token types are below this.
        end: the token that every sequence holds equally often, since the network finds its answer by it.
        others: what the batches hold that is not for the network.
    """

    network: str = "the network"
    names: frozenset[str] | None = None
    dtype: torch.dtype | None = None
    vocabulary: int | None = None
    positions: int | None = None
    token_types: int | None = None
    end: int | None = None
    others: frozenset[str] = frozenset()

    def column(self, name: str) -> bool:
        """Whether a column of tokenised rows is an input, or what the likelihood reads besides."""
        return name in TOKENISED or name in self.others or (self.names is not None and name in self.names)

    def fit(self, batch: Batch) -> Batch:
        """Return a batch as the network takes it.

        Raises:
            DataError: it has an input that the network does not take, or a number that it has no row for.
        """
        inputs = batch.inputs
        if isinstance(inputs, Tensor):
            return replace(batch, inputs=self._cast(inputs))
        known = self.names
        odd = [
            name for name in inputs if known is not None and name not in known | self.others and name not in BYPRODUCTS
        ]
        if known is not None and odd:
            raise DataError(
                f"the batches have {odd[0]!r}, which the forward of {self.network} does not take: leave it out. It takes "
                f"{', '.join(sorted(known))}."
            )
        kept = {
            name: self._cast(value)
            for name, value in inputs.items()
            if name != TOKEN_TYPES or known is None or name in known
        }
        self.check(kept, batch.index)
        return replace(batch, inputs=kept)

    def check(self, inputs: Mapping[str, Tensor], index: Tensor) -> None:
        """Check the numbers of padded sequences (n, T); `index` (n,) says which examples they are.

        Raises:
            DataError: the network's tables have no row for one; the message names the example.
        """
        ids, types = inputs.get(TOKENS), inputs.get(TOKEN_TYPES)
        if ids is None or ids.dim() != 2 or ids.is_floating_point():
            return
        if self.positions is not None and ids.shape[1] > self.positions:
            raise DataError(self._too_long(int(index[0]), ids.shape[1]))
        self.check_range(TOKENS, self.vocabulary, ids, index)
        if types is not None:
            self.check_range(TOKEN_TYPES, self.token_types, types, index)
        if self.end is not None:
            self.check_ends((ids == self.end).sum(1), index)

    def check_range(self, name: str, limit: int | None, numbers: Tensor, index: Tensor) -> None:
        """Check that (n, ...) numbers are in 0..limit - 1; `index` (n,) says which examples they are."""
        if limit is None or not len(numbers):
            return
        if int(numbers.min()) >= 0 and int(numbers.max()) < limit:
            return
        outside = (numbers < 0) | (numbers >= limit)
        row = int(outside.reshape(len(outside), -1).any(1).nonzero()[0, 0])
        token = int(numbers[row][outside[row]].reshape(-1)[0])
        if token < 0:
            remedy = "Negative numbers mark labels, not inputs: fill up with the padding token."
        elif name == TOKENS:
            remedy = (
                "Take the network's own tokenizer; after adding tokens, model.resize_token_embeddings(len(tokenizer))."
            )
        else:
            remedy = f"Leave {name} out, or number the kinds of tokens from 0."
        raise DataError(
            f"{name} of example {int(index[row])} has the number {token}, and {self.network} knows 0..{limit - 1}. {remedy}"
        )

    def check_lengths(self, lengths: Tensor) -> None:
        """Check (N,) lengths of all examples against the table of positions."""
        if self.positions is not None and int(lengths.max()) > self.positions:
            row = int(lengths.argmax())
            raise DataError(self._too_long(row, int(lengths[row])))

    def check_ends(self, counts: Tensor, index: Tensor) -> None:
        """Check that (n,) examples hold the end token equally often; `index` (n,) says which examples they are."""
        usual = int(counts.mode().values)
        if usual == 0:
            raise DataError(
                f"the sequences hold no end token (number {self.end}), and {self.network} reads its answer there: let the "
                "tokenizer add it, or put it at the end of each."
            )
        if bool((counts == usual).all()):
            return
        row = int((counts != usual).nonzero()[0, 0])
        raise DataError(
            f"example {int(index[row])} holds the end token (number {self.end}) {int(counts[row])} times and others {usual} "
            f"times, and {self.network} reads its answer at the last of equally many. Take the end token out of the text, or "
            "add it where it is missing."
        )

    def _too_long(self, example: int, length: int) -> str:
        return (
            f"input_ids of example {example} have {length} tokens, and {self.network} has {self.positions} positions. Cut "
            "them, or pass texts and tokenizer=, which are cut to fit."
        )

    def _cast(self, value: Tensor) -> Tensor:
        return value if self.dtype is None or not value.is_floating_point() else value.to(self.dtype)


ANYTHING = Takes()


@dataclass(frozen=True)
class FittingExamples(WrappedExamples):
    """Examples as a network takes them: see `Takes.fit`.

    Raises:
        DataError: while reading, or at once for rows of tokens, as `Takes.fit`.
    """

    takes: Takes

    def __post_init__(self) -> None:
        if isinstance(self.examples, RowExamples):
            _check_rows(self.examples, self.takes)

    def changed(self, batch: Batch) -> Batch:
        """Return a batch as the network takes it."""
        return self.takes.fit(batch)

    def digest(self) -> str:
        """Return that of the wrapped examples, whatever type the network's numbers have."""
        return self.examples.digest()


def _check_rows(rows: RowExamples, takes: Takes) -> None:
    """Check the numbers of all rows at once: what is wrong in the last one is found before the first is used."""
    numbers, ends = rows.flat(TOKENS)
    takes.check_lengths(ends.diff())
    example = torch.arange(len(rows)).repeat_interleave(ends.diff())
    takes.check_range(TOKENS, takes.vocabulary, numbers, example)
    if rows.has(TOKEN_TYPES):
        takes.check_range(TOKEN_TYPES, takes.token_types, rows.flat(TOKEN_TYPES)[0], example)
    if takes.end is not None:
        counts = torch.zeros(len(rows), dtype=torch.int64).index_add_(0, example, (numbers == takes.end).long())
        takes.check_ends(counts, torch.arange(len(rows)))
    padding = rows.padding.token_id
    if padding is not None and takes.vocabulary is not None and not 0 <= padding < takes.vocabulary:
        raise DataError(
            f"the padding token has the number {padding}, and {takes.network} knows 0..{takes.vocabulary - 1}: after adding "
            "tokens to the tokenizer, model.resize_token_embeddings(len(tokenizer))."
        )
