"""The network, token after token: one pass over the prompts, then a pass a token, with its own key-value cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import AttachError
from bayespeft.networks.forward import CACHE_NAMES, cache_name, cache_of, last_logits, takes
from bayespeft.networks.tokens import start_token


class Stream(ABC):
    """Some rows of text that a network writes side by side, and what it remembers of them.

    The cache is the network's own, made by its first forward pass. Weights must be bound by the caller, and be the same in
    each call: what is in the cache was computed with them.

    Args:
        model: the network.
        ids: (rows, T) prompts, a causal model's padded on the left.
        mask: (rows, T), 0 where they are padded.
    """

    def __init__(self, model: nn.Module, ids: Tensor, mask: Tensor) -> None:
        self._model, self._ids, self._mask = model, ids, mask
        self._cache: Any = None
        self._cache_name = cache_name(model)

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self._ids)

    @abstractmethod
    def begin(self) -> Tensor:
        """Read the prompts and return the logits (rows, vocabulary) of the first token."""

    @abstractmethod
    def go_on(self, tokens: Tensor) -> Tensor:
        """Read one more token of each row, (rows,), and return the logits (rows, vocabulary) of the next."""

    def _run(self, **arguments: Any) -> Tensor:
        # Said aloud, since the network's configuration has it switched off meanwhile.
        output = self._model(**arguments, **{self._cache_name: self._cache}, use_cache=True)
        self._cache = cache_of(output)
        if self._cache is None:
            raise AttachError(
                f"{type(self._model).__name__} returns no {' or '.join(CACHE_NAMES)}: generation needs a network with a "
                "key-value cache."
            )
        logits: Tensor = output.logits[:, -1].float()
        return logits


class CausalStream(Stream):
    """A decoder alone: prompts and what follows are one sequence."""

    def __init__(self, model: nn.Module, ids: Tensor, mask: Tensor) -> None:
        super().__init__(model, ids, mask)
        self._positions = takes(model, "position_ids")
        self._last = last_logits(model, 1)

    def begin(self) -> Tensor:
        """As the base."""
        # Networks with absolute positions would count the padding.
        return self._read(self._ids, (self._mask.cumsum(1) - 1).clamp_min(0))

    def go_on(self, tokens: Tensor) -> Tensor:
        """As the base."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], 1)
        return self._read(tokens[:, None], self._mask.sum(1, keepdim=True) - 1)

    def _read(self, ids: Tensor, positions: Tensor) -> Tensor:
        where = {"position_ids": positions} if self._positions else {}
        return self._run(input_ids=ids, attention_mask=self._mask, **where, **self._last)


class EncoderDecoderStream(Stream):
    """An encoder that reads the prompts once, and a decoder that writes from its start token on."""

    def begin(self) -> Tensor:
        """As the base."""
        encoder = self._model.get_encoder()  # type: ignore[operator]
        self._encoded = encoder(input_ids=self._ids, attention_mask=self._mask, return_dict=True)
        return self.go_on(self._ids.new_full((len(self._ids),), start_token(self._model)))

    def go_on(self, tokens: Tensor) -> Tensor:
        """As the base."""
        return self._run(decoder_input_ids=tokens[:, None], encoder_outputs=self._encoded, attention_mask=self._mask)
