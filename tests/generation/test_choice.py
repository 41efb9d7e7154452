"""How the next token is chosen."""

from __future__ import annotations

import torch

from bayespeft.generation.choice import Choice
from bayespeft.generation.settings import Decoding


def test_samples_follow_the_law_after_temperature_and_truncation():
    law = torch.log_softmax(torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -torch.inf]), -1)
    settings = Decoding(do_sample=True, temperature=0.7, top_k=4, top_p=0.9, max_new_tokens=1)
    n = 20_000
    tokens = Choice(settings, torch.arange(n), torch.device("cpu"))(law.expand(n, -1), 0)
    hot = torch.softmax(law / 0.7, -1)
    kept = torch.where(torch.arange(6) < 4, hot, 0)
    kept = kept / kept.sum()
    kept = torch.where(kept.cumsum(0) - kept < 0.9, kept, 0)  # descending already
    expected = kept / kept.sum()
    share = torch.bincount(tokens, minlength=6) / n
    assert ((share - expected).abs() <= 4 * (expected * (1 - expected) / n).sqrt()).all()
    least = Decoding(do_sample=True, min_p=0.5, max_new_tokens=1)
    assert set(Choice(least, torch.arange(n), torch.device("cpu"))(law.expand(n, -1), 0).tolist()) == {0, 1}
