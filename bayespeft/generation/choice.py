"""Which token comes next, given its law: the most probable one, or a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bayespeft.generation.settings import Decoding


class Choice:
    """Chooses tokens. Text i has random numbers of its own, whatever other texts are written beside it.

    Args:
        settings: whether to sample, and how.
        texts: which texts, by number.
        device: of the laws.
    """

    def __init__(self, settings: Decoding, texts: Tensor, device: torch.device) -> None:
        self._uniforms: Tensor | None = None
        self._warpers: list[Any] = []
        if settings.do_sample:
            self._uniforms = _uniforms(settings.seed, texts, settings.max_new_tokens).to(device)
            self._warpers = _warpers(settings)

    def __call__(self, log_probs: Tensor, step: int) -> Tensor:
        """Return one token each, (rows,), from their laws (rows, vocabulary), which need not be normalised."""
        if self._uniforms is None:
            return log_probs.argmax(-1)
        for warper in self._warpers:
            log_probs = warper(None, log_probs)
        below = torch.softmax(log_probs.double(), -1).cumsum(-1)
        # Scaled by the last sum, which rounding leaves beside 1: a token without probability is then never reached.
        at = self._uniforms[:, step, None] * below[:, -1:]
        return torch.searchsorted(below, at, right=True)[:, 0].clamp_max(below.shape[-1] - 1)


def _uniforms(seed: int, texts: Tensor, steps: int) -> Tensor:
    """Return (texts, steps) uniform random numbers; a row depends on the seed and the text's number alone."""
    rows = [np.random.default_rng([seed, number]).random(steps) for number in texts.tolist()]
    return torch.from_numpy(np.stack(rows))


def _warpers(settings: Decoding) -> list[Any]:
    """Return transformers' own, in its order."""
    import transformers  # slow to import

    warpers: list[Any] = []
    if settings.temperature != 1:
        warpers.append(transformers.TemperatureLogitsWarper(settings.temperature))
    if settings.top_k is not None:
        warpers.append(transformers.TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(transformers.TopPLogitsWarper(settings.top_p))
    if settings.min_p > 0:
        warpers.append(transformers.MinPLogitsWarper(settings.min_p))
    return warpers
