"""Laws of the next token by plain passes, a draw at a time."""

from __future__ import annotations

import pytest
import torch

from tests.generation.conftest import NETWORKS

each_network = pytest.mark.parametrize("posterior", NETWORKS, indirect=True)
DRAWS = 3


def laws(posterior, prompt: list[int], written: list[int], draws: int, seed: int = 0) -> torch.Tensor:
    """Next-token log-probabilities (draws, tokens, vocabulary) along a text: one plain pass a draw, alone, without a cache."""
    ids, found = torch.tensor([prompt]), []
    for d in range(draws):
        with posterior.using(d, seed) as model:
            if model.config.is_encoder_decoder:
                before = torch.tensor([[model.config.decoder_start_token_id, *written[:-1]]])
                logits = model(input_ids=ids, decoder_input_ids=before, use_cache=False).logits[0]
            else:
                whole = torch.tensor([[*prompt, *written[:-1]]])
                logits = model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 :]
            found.append(torch.log_softmax(logits.double(), -1))
    return torch.stack(found)


def entropy(probs: torch.Tensor) -> torch.Tensor:
    return -(probs * probs.log()).sum(-1)
