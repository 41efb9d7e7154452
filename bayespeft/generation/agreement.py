"""Whether texts say the same: by their tokens, and by what they mean to an encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

Embed = Callable[[Sequence[str]], Tensor]


def rouge_l(a: Sequence[int], b: Sequence[int]) -> float:
    """Return ROUGE-L F1 of two sequences (Lin 2004): 2 LCS / (|a| + |b|), LCS the longest common subsequence; two empty: 1."""
    if not a and not b:
        return 1.0
    before = [0] * (len(b) + 1)
    for x in a:
        now = [0]
        for j, y in enumerate(b):
            now.append(before[j] + 1 if x == y else max(before[j + 1], now[j]))
        before = now
    return 2 * before[-1] / (len(a) + len(b))


def pairs_across(draws: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of texts, by number, that different draws wrote; all pairs where one draw wrote all."""
    pairs = list(combinations(range(len(draws)), 2))
    return [(i, j) for i, j in pairs if draws[i] != draws[j]] or pairs


def mean_rouge_l(sequences: Sequence[Sequence[int]], pairs: Sequence[tuple[int, int]]) -> float:
    """Return the mean ROUGE-L F1 of pairs of sequences, by number; 1 where there are none."""
    scores = [rouge_l(sequences[i], sequences[j]) for i, j in pairs]
    return sum(scores) / len(scores) if scores else 1.0


def mean_cosine(embeddings: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Return the mean cosine of pairs of (n, d) embeddings, by number, a scalar; 1 where there are none."""
    if not pairs:
        return torch.ones(())
    unit = nn.functional.normalize(embeddings.float(), dim=-1)
    first, second = torch.tensor(pairs, device=unit.device).T
    return (unit @ unit.T)[first, second].mean()


def mean_pooling(model: nn.Module, tokenizer: Any, batch_size: int = 32) -> Embed:
    """Return a function from texts to sentence embeddings: an encoder's last hidden states, averaged over tokens.

    So MiniLM's sentence embeddings are made: `mean_pooling(AutoModel.from_pretrained(...), tokenizer)`.

    Args:
        model: an encoder whose output has `last_hidden_state`.
        tokenizer: its own.
        batch_size: texts per pass.
    """
    device = next(model.parameters()).device

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> Tensor:
        found = []
        for first in range(0, len(texts), batch_size):
            part = list(texts[first : first + batch_size])
            inputs = tokenizer(part, padding=True, truncation=True, return_tensors="pt").to(device)
            weight = inputs["attention_mask"].unsqueeze(-1)
            hidden = model(**inputs).last_hidden_state
            found.append((hidden * weight).sum(1) / weight.sum(1).clamp_min(1))
        return torch.cat(found).cpu()

    return embed
