"""Ordered classes from another package: fitted, predicted, reported, saved and loaded, with three things said of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import bayespeft
from bayespeft import Predictive, TrainConfig, registry
from bayespeft.errors import DataError
from bayespeft.testing import LikelihoodContract

QUICK: dict[str, Any] = {"train": TrainConfig(steps=5), "progress": False, "likelihood": "cumulative"}


@pytest.fixture
def grader() -> BertForSequenceClassification:
    """Three outputs, for four classes."""
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=3, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(config).eval()


@pytest.fixture
def graded(sentences) -> list[dict[str, Any]]:
    """The sentences, with how often they say "very"."""
    return [{"text": row["text"], "label": row["text"].count("very")} for row in sentences]


class TestCumulative(LikelihoodContract):
    @pytest.fixture
    def subject(self):
        return registry.get("likelihoods", "cumulative")()


def test_the_law_is_that_of_cumulative_logits():
    law = registry.get("likelihoods", "cumulative")()
    f = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    probs = law.distribution(f).probs
    torch.testing.assert_close(probs.sum(-1), torch.ones(50, dtype=torch.double))
    above = probs.flip(-1).cumsum(-1).flip(-1)[:, 1:]  # P(y > k)
    softplus = torch.log1p(f[:, 1:].exp())
    torch.testing.assert_close(above[:, 0], f[:, 0].sigmoid())
    torch.testing.assert_close(above[:, 1], (f[:, 0] - softplus[:, 0]).sigmoid())
    torch.testing.assert_close(above[:, 2], (f[:, 0] - softplus.sum(-1)).sigmoid())
    # The Fisher information: of all pairs of derivatives of log p, averaged over labels.
    y = torch.arange(4).expand(50, 4)
    scores = torch.stack([
        torch.autograd.functional.jacobian(lambda z, k=k: law.distribution(z).log_prob(y[:, k]).sum(), f) for k in range(4)
    ], 1)  # fmt: skip
    exact = torch.einsum("nk,nka,nkb->nab", probs, scores, scores)
    root = law.curvature_root(f, None, torch.eye(3, dtype=torch.double).expand(50, 3, 3))
    torch.testing.assert_close(root.mT @ root, exact)


def test_it_fits_predicts_reports_saves_and_loads(grader, tokenizer, graded, tmp_path):
    base = copy.deepcopy(grader)
    posterior = bayespeft.fit(
        grader, graded, tokenizer=tokenizer, likelihood="cumulative", train=TrainConfig(most_steps=80), progress=False
    )
    assert posterior.history.ended.held_out == 24
    found = posterior.predict(graded, draws=4, keep_draws=True)
    assert isinstance(found, Predictive)
    assert found.probs.shape == (24, 4)
    assert found.draw_log_probs.shape == (4, 24, 4)
    torch.testing.assert_close(found.probs.sum(-1), torch.ones(24, dtype=torch.double))
    assert float(found.mutual_information.min()) > -1e-6
    report = posterior.report(graded, draws=4, resamples=10)
    assert report.classes == 4
    assert "ECE" in str(report)
    assert "Does it keep its word?" in report.to_html()
    sets = posterior.conformal(graded, alpha=0.2, draws=4)
    assert sets.report(graded).coverage.value >= 0.8
    posterior.save(tmp_path / "out")
    again = bayespeft.load(tmp_path / "out", base, tokenizer=tokenizer)
    assert again.likelihood.kind == "cumulative"
    assert torch.equal(again.predict(graded, draws=4).log_probs, found.log_probs)


@pytest.mark.parametrize("guide", ["laplace_lora", "ensemble", "tfb", "mle"])
def test_every_kind_of_posterior(grader, tokenizer, graded, guide):
    posterior = bayespeft.fit(grader, graded, guide, tokenizer=tokenizer, **QUICK)
    found = posterior.predict(graded, draws=3)
    assert found.probs.shape == (24, 4)
    if guide == "laplace_lora":
        assert (found.draws, found.backward_passes) == (256, 3)


def test_a_frozen_posterior_says_the_same(grader, tokenizer, graded):
    posterior = bayespeft.fit(grader, graded, tokenizer=tokenizer, **QUICK)
    encoded = tokenizer([row["text"] for row in graded], padding=True, return_tensors="pt")
    frozen = posterior.freeze(draws=4)
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(
        frozen(**inputs).double(), posterior.predict(graded, draws=4).probs, atol=1e-5, rtol=1e-4
    )


def test_labels_are_checked_without_a_word_from_it(grader, tokenizer, graded):
    wrong = [*graded, {"text": "the cat", "label": 4}]
    with pytest.raises(DataError, match=r"row 24 has the label 4, which cumulative gives no probability to"):
        bayespeft.fit(grader, wrong, tokenizer=tokenizer, **QUICK)
