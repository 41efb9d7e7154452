"""transformers' pipeline answers with averaged probabilities, and says how uncertain it is."""

from __future__ import annotations

import pytest
import transformers

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError
from bayespeft.integrations import BayesTextClassification
from bayespeft.testing import networks


@pytest.fixture
def posterior(bert, tokenizer, sentences) -> bayespeft.Posterior:
    bert.config.id2label, bert.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    train = TrainConfig(steps=20, lr=1e-2)
    return bayespeft.fit(bert, sentences, "blob", tokenizer=tokenizer, train=train, progress=False)


def pipeline(posterior: bayespeft.Posterior, **options):
    place = {"pipeline_class": BayesTextClassification, "device": "cpu"}
    return transformers.pipeline(
        "text-classification", posterior.model, tokenizer=posterior.tokenizer, posterior=posterior, **place, **options
    )


@pytest.mark.parametrize("batch_size", [1, 5])
def test_answers_are_the_posterior_s(posterior, sentences, batch_size):
    texts = [row["text"] for row in sentences[:12]]
    classify = pipeline(posterior, draws=6, seed=2)
    expected = posterior.predict(sentences[:12], 6, 2)
    found = classify(texts, batch_size=batch_size)
    assert [answer["label"] for answer in found] == [["bad", "good"][k] for k in expected.probs.argmax(1)]
    for answer, p, h, mi in zip(
        found, expected.probs.max(1).values, expected.entropy, expected.mutual_information, strict=True
    ):
        assert answer["score"] == pytest.approx(float(p), abs=1e-5)
        assert answer["entropy"] == pytest.approx(float(h), abs=1e-5)
        assert answer["uncertainty"] == pytest.approx(float(mi), abs=1e-5)
        assert answer["uncertainty"] > 0


@pytest.mark.filterwarnings("ignore:these rows have a 'text_pair'")
def test_one_text_pairs_and_all_labels(posterior):
    classify = pipeline(posterior)
    (answer,) = classify("the cat is good")
    both = classify("the cat is good", top_k=None)
    assert both[0]["label"] == answer["label"]
    assert sum(entry["score"] for entry in both) == pytest.approx(1)
    assert both[0]["score"] >= both[1]["score"]
    pair = classify({"text": "the cat", "text_pair": "is good"})
    wanted = posterior.predict([{"text": "the cat", "text_pair": "is good"}]).probs[0].max()
    assert pair["score"] == pytest.approx(float(wanted), abs=1e-5)


def test_the_mean_has_no_epistemic_part(posterior, sentences):
    (answer,) = pipeline(posterior, draws=0)("the cat is good")
    assert answer["uncertainty"] == 0


def test_what_does_not_fit_is_told(posterior):
    with pytest.raises(ConfigError, match="posterior= is missing"):
        transformers.pipeline(
            "text-classification",
            posterior.model,
            tokenizer=posterior.tokenizer,
            pipeline_class=BayesTextClassification,
        )
    with pytest.raises(ConfigError, match="leave it out"):
        pipeline(posterior)("the cat", function_to_apply="sigmoid")
    with pytest.raises(ConfigError, match=r"model=posterior\.model"):
        transformers.pipeline(
            "text-classification", networks.bert(), tokenizer=posterior.tokenizer,
            pipeline_class=BayesTextClassification, posterior=posterior,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore:all 4 training rows are of one class:UserWarning")
def test_a_text_alone_offers_no_choices():
    tokenizer, rows = (
        networks.tokenizer(),
        [{"question": "the cat is", "choices": ["good", "bad", "fine"], "answer": 0}] * 4,
    )
    train = TrainConfig(steps=1)
    posterior = bayespeft.fit(networks.llama(), rows, "mle", tokenizer=tokenizer, train=train, progress=False)
    with pytest.raises(ConfigError, match="a question among choices"):
        pipeline(posterior)
