"""How far texts agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertModel

from bayespeft.generation.agreement import mean_cosine, mean_pooling, mean_rouge_l, pairs_across, rouge_l


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3, 4], [1, 3, 4], 6 / 7),
        ([1, 2], [2, 1], 0.5),
        ([1], [2], 0.0),
        ([], [], 1.0),
        ([], [1], 0.0),
    ],
)
def test_rouge_l_by_hand(a, b, expected):
    assert rouge_l(a, b) == rouge_l(b, a) == pytest.approx(expected)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_rouge_l_is_the_longest_common_subsequence(a, b):
    def subsequences(x):
        return {tuple(v for i, v in enumerate(x) if mask >> i & 1) for mask in range(2 ** len(x))}

    longest = max(len(s) for s in subsequences(a) & subsequences(b))
    assert rouge_l(a, b) == pytest.approx(2 * longest / (len(a) + len(b)) if a or b else 1.0)


def test_agreement_is_the_mean_over_pairs(written):
    assert mean_rouge_l([[1], [1], [2]], pairs_across([0, 1, 2])) == pytest.approx(1 / 3)
    assert mean_rouge_l([[1]], pairs_across([0])) == 1
    torch.testing.assert_close(written.lexical_agreement(), torch.tensor([0.5, 1.0]))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    pairs = [torch.cosine_similarity(x[i], x[j], dim=0) for i in range(5) for j in range(i)]
    torch.testing.assert_close(mean_cosine(x, pairs_across(range(5))), torch.stack(pairs).mean())
    assert float(mean_cosine(x[:1], [])) == 1

    def embed(texts):
        return torch.tensor([[1.0, 0.0] if "cat" in text else [0.0, 2.0] for text in texts])

    torch.testing.assert_close(written.semantic_agreement(embed), torch.tensor([0.0, 1.0]))


def test_mean_pooling_averages_real_tokens(bert, tokenizer):
    encoder: BertModel = bert.bert
    embed = mean_pooling(encoder, tokenizer, batch_size=2)
    texts = ["the cat", "the dog is very very good", "bad"]
    found = embed(texts)
    for text, row in zip(texts, found, strict=True):
        with torch.no_grad():
            alone = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        torch.testing.assert_close(row, alone, atol=1e-5, rtol=1e-4)
