"""When a text ends: at an end token, or where it spells a stop string."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bayespeft.errors import DataError
from bayespeft.networks.tokens import end_tokens


class Stops:
    """Ends of texts.

    Args:
        model: its generation configuration, or else its configuration, names end tokens; the former may name strings.
        tokenizer: names one, too; spells tokens. None if there is none.
        strings: that end a text, besides those.
        tokens: that end a text, besides those.

    Attributes:
        tokens: the end tokens.

    Raises:
        DataError: strings can't be recognised without a tokenizer.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, strings: tuple[str, ...] = (), tokens: tuple[int, ...] = ()
    ) -> None:
        named = getattr(getattr(model, "generation_config", None), "stop_strings", None) or ()
        strings = (*strings, *((named,) if isinstance(named, str) else named))
        if strings and tokenizer is None:
            raise DataError(
                f"stop={strings!r} can't be recognised without a tokenizer: pass tokenizer= to fit or load."
            )
        self.tokens = sorted({*end_tokens(model, tokenizer), *tokens})
        self._tokenizer, self._strings = tokenizer, strings

    def ended(self, tokens: Tensor) -> Tensor:
        """Return whether each of the tokens, of any shape, is an end token."""
        return torch.isin(tokens, tokens.new_tensor(self.tokens))

    def spelled(self, sequences: Tensor) -> Tensor:
        """Return whether each text, (rows, T) tokens, holds a stop string, (rows,)."""
        if not self._strings:
            return torch.zeros(len(sequences), dtype=torch.bool, device=sequences.device)
        found = [self.cut(text) != text for text in self._tokenizer.batch_decode(sequences, skip_special_tokens=True)]
        return torch.tensor(found, device=sequences.device)

    def cut(self, text: str) -> str:
        """Return a text up to its first stop string."""
        return text[: min((text.find(string) for string in self._strings if string in text), default=len(text))]
