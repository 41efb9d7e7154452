"""Decoding: averaged laws are the explicit averages, whatever the neighbours and however the work is cut."""

from __future__ import annotations

import pytest
import torch

from bayespeft.errors import DataError
from tests.generation.conftest import PROMPTS
from tests.generation.laws import DRAWS, each_network, entropy, laws


@each_network
def test_averaged_probabilities_are_the_explicit_averages(posterior):
    found = posterior.generate(list(PROMPTS), draws=DRAWS, max_new_tokens=6)
    prompts = posterior.likelihood.prompts(PROMPTS, posterior.tokenizer)
    for i, written in enumerate(found.tokens):
        by_draw = laws(posterior, prompts[i], written, DRAWS)
        probs = by_draw.exp().mean(0)
        assert (by_draw.exp().std(0) > 1e-3).any(), "the draws must differ for this to say anything"
        assert probs.argmax(-1).tolist() == written
        n, tokens = len(written), torch.tensor(written)
        close = {"atol": 2e-5, "rtol": 2e-4, "check_dtype": False}
        own = probs.gather(-1, tokens[:, None])[:, 0]
        torch.testing.assert_close(found.token_probs[i, :n], own, **close)
        torch.testing.assert_close(found.entropy[i, :n], entropy(probs), **close)
        information = entropy(probs) - entropy(by_draw.exp()).mean(0)
        information += (by_draw.exp().var(0) / probs).sum(-1) / (2 * DRAWS)
        torch.testing.assert_close(found.mutual_information[i, :n], information, **close)
        torch.testing.assert_close(found.sequence_mutual_information[i], information.sum(), **close)
        whole = by_draw.gather(-1, tokens.expand(DRAWS, n)[..., None])[..., 0].sum(1)
        torch.testing.assert_close(found.draw_log_probs[:, i], whole, **close)
        torch.testing.assert_close(found.log_probs[i], whole.exp().mean().log(), **close)
        torch.testing.assert_close(found.normalised_log_probs[i], whole.exp().mean().log() / n, **close)
        for name in ("token_log_probs", "entropy", "mutual_information"):
            assert not getattr(found, name)[i, n:].any(), "nothing is said behind the end"


@each_network
@pytest.mark.parametrize("mode", ["averaged", "per_draw"])
def test_a_text_does_not_depend_on_its_neighbours(posterior, mode):
    options = {"draws": DRAWS, "max_new_tokens": 6, "mode": mode}
    together = posterior.generate(list(PROMPTS), **options)
    own = DRAWS if mode == "per_draw" else 1
    for i, prompt in enumerate(PROMPTS):
        alone = posterior.generate(prompt, **options)
        rows = slice(i * own, (i + 1) * own)
        assert alone.tokens == together.tokens[rows]
        assert alone.texts == together.texts[rows]
        torch.testing.assert_close(alone.log_probs, together.log_probs[rows], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 3}, {"draws_per_pass": 1}, {"draws_per_pass": 2}]
)
@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "num_return_sequences": 2}])
@pytest.mark.parametrize("mode", ["averaged", "per_draw"])
def test_how_the_work_is_cut_changes_nothing(posterior, options, sampled, mode):
    common = {"draws": DRAWS, "max_new_tokens": 5, "mode": mode, **sampled}
    whole, cut = (posterior.generate(list(PROMPTS), **common, **more) for more in ({}, options))
    assert whole.tokens == cut.tokens
    assert torch.equal(whole.prompt, cut.prompt)
    torch.testing.assert_close(whole.draw_log_probs, cut.draw_log_probs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole.entropy, cut.entropy, atol=1e-4, rtol=1e-4)


def test_padding_is_not_read(posterior):
    table = torch.tensor([[0, 0, 5], [4, 5, 6]])
    for prompts in (table, table.numpy(), table.flip(1), table.tolist(), {"input_ids": table}):
        with pytest.raises(DataError, match="begins or ends with a padding token"):
            posterior.generate(prompts, max_new_tokens=2)
        with pytest.raises(DataError, match="begins or ends with a padding token"):
            posterior.score(prompts, ["good", "good"])
    found = posterior.generate({"input_ids": table, "attention_mask": table != 0}, draws=0, max_new_tokens=3)
    assert found.tokens == posterior.generate([[5], [4, 5, 6]], draws=0, max_new_tokens=3).tokens
