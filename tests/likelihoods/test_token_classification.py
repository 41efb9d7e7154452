"""Token classification end to end: words and tags, -100, padding, averages, entities, every kind of posterior."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForTokenClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters import Core, Lora
from bayespeft.errors import DataError
from bayespeft.guides import MeanField
from bayespeft.likelihoods.token_classification import TokenClassification
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.tokens import TokenAverage, TokenPredictive
from bayespeft.report import TokenReport

NAMES = ("O", "B-PET", "I-PET", "B-MOOD", "I-MOOD")
PARTS = [
    (["cat"], ["B-PET"]),
    (["good", "dog."], ["B-PET", "I-PET"]),  # two tokens in the second word
    (["very", "bad"], ["B-MOOD", "I-MOOD"]),
    (["is", "was"], ["O", "O"]),
]
QUICK: dict[str, Any] = {"train": TrainConfig(steps=4), "progress": False}
IGNORED = -100


@pytest.fixture
def tagger() -> BertForTokenClassification:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.5,
        id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForTokenClassification(config).eval()


@pytest.fixture
def tagged() -> list[dict[str, Any]]:
    """Thirty rows of two to seven words, with pets and moods."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(30):
        chosen = [PARTS[k] for k in rng.integers(0, 4, rng.integers(1, 4))]
        words = ["the", *(word for part, _ in chosen for word in part)]
        rows.append({"tokens": words, "ner_tags": ["O", *(tag for _, tags in chosen for tag in tags)]})
    return rows


def tokenised(rows: list[dict[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """As the usual recipe of transformers has it: the first token of each word is labelled."""
    found = []
    for row in rows:
        encoded = tokenizer(row["tokens"], is_split_into_words=True)
        labels, before = [], None
        for word in encoded.word_ids():
            labels.append(IGNORED if word in (None, before) else NAMES.index(row["ner_tags"][word]))
            before = word
        found.append({"input_ids": encoded["input_ids"], "labels": labels})
    return found


def test_the_law_is_torchs_cross_entropy_and_ignores_what_it_ignores():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 6, 3, generator=generator, dtype=torch.double).requires_grad_()
    labels = torch.randint(0, 3, (4, 6), generator=generator)
    labels[torch.rand(4, 6, generator=generator) < 0.4] = IGNORED
    likelihood = TokenClassification()
    law = likelihood.distribution(logits)
    assert (law.batch_shape, law.event_shape) == ((4,), (6,))
    own = law.log_prob(labels)
    known = cross_entropy(logits.mT, labels, reduction="none").sum(1)
    torch.testing.assert_close(own, -known)
    gradient = torch.autograd.grad(own.sum(), logits)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(-known.sum(), logits)[0])
    assert not gradient[labels == IGNORED].any()
    assert torch.equal(likelihood.label_counts(labels), (labels != IGNORED).sum(1))
    jacobian = torch.randn(4, 6, 3, 5, generator=generator, dtype=torch.double)
    root = likelihood.curvature_root(logits.detach(), labels, jacobian)
    p = logits.detach().softmax(-1)
    hessian = (torch.diag_embed(p) - p[..., None] * p[..., None, :]) * (labels != IGNORED)[..., None, None]
    exact = torch.einsum("ntka,ntkl,ntlb->nab", jacobian, hessian, jacobian)
    torch.testing.assert_close(root.mT @ root, exact)


def test_the_default_call_fits_words_and_tags(tagger, tokenizer, tagged, tmp_path):
    base = copy.deepcopy(tagger)
    posterior = bayespeft.fit(tagger, tagged, tokenizer=tokenizer, train=TrainConfig(most_steps=80), progress=False)
    assert posterior.likelihood.kind == "token_classification"
    assert posterior.history.ended.held_out == 30
    assert posterior.temperature != 1
    found = posterior.predict(tagged, draws=4)
    assert isinstance(found, TokenPredictive)
    for row, probs, information in zip(tagged, found.probs, found.mutual_information, strict=True):
        assert probs.shape == (len(row["tokens"]), 5)
        assert information.shape == (len(row["tokens"]),)
        torch.testing.assert_close(probs.sum(1), torch.ones(len(probs), dtype=torch.double))
    for row, labels in zip(tagged, found.labels, strict=True):
        assert labels[labels != IGNORED].tolist() == [NAMES.index(tag) for tag in row["ner_tags"]]
    own = [
        float(log.gather(1, labels[: len(log), None]).sum())
        for log, labels in zip(found.log_probs, found.labels, strict=True)
    ]
    assert found.log_likelihood.tolist() == pytest.approx(own)
    assert found.nll_error > 0
    again = posterior.predict(tagged, draws="auto", tolerance=0.5)
    assert again.draws % 8 == 0

    report = posterior.report(tagged, draws=4, resamples=20)
    assert isinstance(report, TokenReport)
    assert report.tokens == sum(len(row["tokens"]) for row in tagged)
    assert report.nll.value == pytest.approx(-float(found.log_likelihood.mean()))
    assert report.nll_per_token.value == pytest.approx(-float(found.log_likelihood.sum()) / report.tokens)
    assert [own.name for own in report.entities.by_type] == ["MOOD", "PET"]
    assert report.entities.by_type[0].n == sum(tag == "B-MOOD" for row in tagged for tag in row["ner_tags"])
    quote = report.quotes.uncertain[0]
    assert quote.text == " ".join(tagged[quote.index]["tokens"])
    assert "PET" in quote.label or "MOOD" in quote.label or quote.label == "no entity"
    page = report.to_html()
    assert all(part in page for part in ("Entity F1", "MOOD", "Class by class", "B-PET"))
    assert "MOOD: F1" in str(report)
    assert TokenReport.from_json(report.to_json()) == report

    posterior.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", base, tokenizer=tokenizer)
    assert torch.equal(loaded.predict(tagged, draws=4).each.log_probs, found.each.log_probs)


@pytest.mark.parametrize("guide", ["laplace_lora", "ensemble", "tfb", "blob", "mle"])
def test_every_kind_of_posterior(tagger, tokenizer, tagged, guide):
    posterior = bayespeft.fit(tagger, tagged, guide, tokenizer=tokenizer, **QUICK)
    found = posterior.predict(tagged, draws=3)
    assert len(found.each) == sum(len(row["tokens"]) for row in tagged)
    if guide == "laplace_lora":
        longest = max(len(tokenizer(row["tokens"], is_split_into_words=True)["input_ids"]) for row in tagged)
        # Five tags have four differences; nobody asks about the tokens that begin and end a row.
        assert (found.draws, found.backward_passes) == (256, 4 * (longest - 2))


@pytest.mark.parametrize("noise", ["batch", "example", "flipout", "token"])
def test_every_mode_of_noise_trains(tagger, tokenizer, tagged, noise):
    posterior = bayespeft.fit(
        tagger, tagged, MeanField(noise=noise), adapter=Core(r=3), tokenizer=tokenizer,
        train=TrainConfig(steps=60, head_lr=0.1), progress=False,
    )  # fmt: skip
    before = bayespeft.fit(tagger, tagged, MeanField(noise=noise), adapter=Core(r=3), tokenizer=tokenizer, **QUICK)
    after, start = (p.predict(tagged, draws=4).validation_metrics()["nll"] for p in (posterior, before))
    assert after < start


def test_rows_of_tokens_are_rows_of_words(tagger, tokenizer, tagged):
    """The usual recipe, by hand, is fitted to the same posterior, and -100 counts in no number of it."""
    rows = tokenised(tagged, tokenizer)
    own, other = (bayespeft.fit(tagger, data, tokenizer=tokenizer, **QUICK) for data in (tagged, rows))
    for name, mean in own.joint_guide.mean().items():
        assert torch.equal(mean, other.joint_guide.mean()[name])
    assert [r.nll for r in own.history.records] == [r.nll for r in other.history.records]
    words, tokens = own.predict(tagged, draws=3), other.predict(rows, draws=3)
    assert tokens.nll_error == pytest.approx(words.nll_error)
    assert torch.equal(tokens.sizes, torch.tensor([len(row["input_ids"]) for row in rows]))
    torch.testing.assert_close(tokens.log_likelihood, words.log_likelihood)
    known, _ = tokens.known()
    torch.testing.assert_close(known.log_probs, words.each.log_probs)
    reports = [p.report(data, draws=3, resamples=10, quotes=0) for p, data in ((own, tagged), (other, rows))]
    for name in ("nll", "nll_per_token", "accuracy", "calibration", "entities", "brier", "skill"):
        assert repr(getattr(reports[0], name)) == repr(getattr(reports[1], name)) or getattr(
            reports[0], name
        ) == pytest.approx(getattr(reports[1], name))


def test_what_is_ignored_counts_in_no_number(tagger, tokenizer, tagged):
    """Whatever the network says where there is no label, no number changes."""
    rows = tokenised(tagged, tokenizer)
    posterior = bayespeft.fit(tagger, rows, "mle", tokenizer=tokenizer, **QUICK)
    found = posterior.predict(rows, keep_draws=True)
    silent = found.each.labels == IGNORED
    assert silent.any()
    other = found.each.log_probs.clone()
    other[silent] = torch.log_softmax(torch.randn(int(silent.sum()), 5, dtype=torch.double), -1)
    draws = found.each.draw_log_probs.clone()
    draws[:, silent] = other[silent].float()
    changed = replace(found, each=replace(found.each, log_probs=other, draw_log_probs=draws))
    assert changed.report(resamples=10).to_dict() == found.report(resamples=10).to_dict()
    assert changed.validation_metrics() == found.validation_metrics()
    assert changed.tempered_nll(1.7) == found.tempered_nll(1.7)
    average = TokenAverage(1)
    average.begin(1)
    average.add(torch.randn(1, 1, 3, 5), Rows(torch.tensor([0]), torch.full((1, 3), IGNORED)), 0)
    assert float(average.result(Cost(1, 1, 0.0)).log_likelihood) == 0


def test_neither_padding_nor_batches_change_a_prediction(tagger, tokenizer, tagged):
    posterior = bayespeft.fit(tagger, tagged, tokenizer=tokenizer, **QUICK)
    whole = posterior.predict(tagged, draws=3)
    for settings in (
        {"batch_size": 1},
        {"batch_size": 7, "draws_per_pass": 2},
        {"batch_size": 30, "draws_per_pass": 3},
    ):
        part = posterior.predict(tagged, draws=3, **settings)
        torch.testing.assert_close(part.each.log_probs, whole.each.log_probs, atol=1e-5, rtol=1e-4)
        assert torch.equal(part.labels, whole.labels)
    laplace = bayespeft.fit(tagger, tagged, "laplace_lora", tokenizer=tokenizer, **QUICK)
    alone, together = (laplace.predict(tagged, batch_size=n) for n in (1, 30))
    torch.testing.assert_close(alone.each.log_probs, together.each.log_probs, atol=1e-4, rtol=1e-3)


def test_parts_of_a_jacobian_are_the_whole(tagger, tokenizer, tagged, monkeypatch):
    posterior = bayespeft.fit(tagger, tagged, "laplace_lora", adapter=Lora(r=2), tokenizer=tokenizer, **QUICK)
    whole = posterior.predict(tagged)
    monkeypatch.setattr("bayespeft.prediction.jacobian.fitting", lambda wanted, each, free: min(wanted, 2))
    parts = posterior.predict(tagged)
    torch.testing.assert_close(parts.each.log_probs, whole.each.log_probs, atol=1e-5, rtol=1e-4)
    again = bayespeft.fit(tagger, tagged, "laplace_lora", adapter=Lora(r=2), tokenizer=tokenizer, **QUICK)
    evidence = [float(p.joint_guide.latent.log_evidence) for p in (posterior, again)]
    assert evidence[0] == pytest.approx(evidence[1], rel=1e-5)


@pytest.mark.parametrize("form", ["numbers", "tags", "labels", "dataset", "unlabelled"])
@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_tags_may_be_said_in_every_form(tagger, tokenizer, tagged, form):
    column = form if form in ("tags", "labels") else "ner_tags"
    rows: Any = [
        {"tokens": row["tokens"], column: [NAMES.index(tag) for tag in row["ner_tags"]] if form != "tags" else row["ner_tags"]}
        for row in tagged
    ]  # fmt: skip
    if form == "dataset":
        # The data numbers its classes in another order than the network, and has columns of its own.
        order = ["B-MOOD", "O", "I-PET", "B-PET", "I-MOOD"]
        features = Features({
            "tokens": Sequence(Value("string")), "ner_tags": Sequence(ClassLabel(names=order)), "id": Value("string")
        })  # fmt: skip
        rows = Dataset.from_list(
            [
                {"tokens": row["tokens"], "ner_tags": [order.index(tag) for tag in row["ner_tags"]], "id": str(i)}
                for i, row in enumerate(tagged)
            ],
            features,
        )
    posterior = bayespeft.fit(tagger, tagged if form == "unlabelled" else rows, tokenizer=tokenizer, **QUICK)
    if form == "unlabelled":
        bare = posterior.predict([{"tokens": row["tokens"]} for row in tagged], draws=2)
        assert bare.labels is bare.log_likelihood is None
        torch.testing.assert_close(bare.each.log_probs, posterior.predict(tagged, draws=2).each.log_probs)
        return
    labels = posterior.predict(rows, draws=2).labels
    for row, own in zip(tagged, labels, strict=True):
        assert [NAMES[k] for k in own.tolist() if k != IGNORED] == row["ner_tags"]


def test_long_rows_lose_words_and_words_without_tokens_become_unknown(tagger, tokenizer):
    rows = [
        {"tokens": ["cat"] * 70, "tags": ["B-PET"] * 70},
        {"tokens": ["the", "\u200b", "cat"], "tags": ["O", "O", "B-PET"]},
    ]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 64 tokens"):
        posterior = bayespeft.fit(tagger, rows, tokenizer=tokenizer, **QUICK)
    with pytest.warns(UserWarning, match="1 of 2 texts"):
        found = posterior.predict(rows, draws=2)
    assert found.sizes.tolist() == [62, 3]
    likelihood = TokenClassification(label_names=NAMES)
    (example,) = likelihood.encode(rows[1:], tokenizer)
    assert example["word_starts"] == [0, 1, 1, 1, 0]
    assert example["labels"] == [IGNORED, 0, 0, 1, IGNORED]
    assert example["input_ids"][2] == tokenizer.unk_token_id


def test_plain_networks_and_loaders(tokenizer, tagged):
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.first, self.last = nn.Embedding(64, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.first(self.words(input_ids))))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Reader()
    rows = tokenised(tagged, tokenizer)

    def collate(some: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in some)
        pad = [
            [*row[name], *[fill] * (longest - len(row[name]))]
            for name, fill in (("input_ids", 0), ("labels", IGNORED))
            for row in some
        ]
        ids, labels = torch.tensor(pad[: len(some)]), torch.tensor(pad[len(some) :])
        return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}

    loader = DataLoader(rows, batch_size=5, collate_fn=collate)
    likelihood = TokenClassification(label_names=NAMES)
    posterior = bayespeft.fit(model, loader, likelihood=likelihood, targets="all-linear", **QUICK)
    found = posterior.predict(loader, draws=3)
    assert found.report(resamples=5).tokens == sum(len(row["tokens"]) for row in tagged)
    settled = bayespeft.fit(
        model, loader, likelihood=likelihood, targets="all-linear", train=TrainConfig(most_steps=30), progress=False
    )
    assert settled.history.ended.held_out == 0


def test_a_report_without_any_label_is_refused(tagger, tokenizer, tagged):
    posterior = bayespeft.fit(tagger, tagged, tokenizer=tokenizer, **QUICK)
    name = next(name for name in tagged[0] if name != "tokens")
    rows = [{**row, name: [IGNORED] * len(row["tokens"])} for row in tagged]
    with pytest.raises(DataError, match="no token has a label"):
        posterior.report(rows)


def test_what_can_not_be_read_is_refused(tagger, tokenizer, tagged, bert):
    def fit(rows, **options):
        return bayespeft.fit(tagger, rows, tokenizer=tokenizer, **{**QUICK, **options})

    with pytest.raises(DataError, match="row 1 has 2 words and 1 labels"):
        fit([{"tokens": ["a"], "tags": [0]}, {"tokens": ["a", "b"], "tags": [0]}])
    with pytest.raises(DataError, match="column 'tokens' must be a list of words"):
        fit([{"text": "a b", "label": 0}])
    with pytest.raises(DataError, match="label 'B-CAR' is not among"):
        fit([{"tokens": ["a"], "tags": ["B-CAR"]}])
    with pytest.raises(DataError, match=r"row 0 has the label 9 at token 1, but the network has 5 outputs"):
        fit([{"tokens": ["a"], "tags": [9]}])
    with pytest.raises(DataError, match="no token has a label"):
        fit([{"input_ids": [2, 3], "labels": [IGNORED, IGNORED]}])
    with pytest.raises(DataError, match="one label for each token is needed"):
        fit([{"input_ids": [2, 5, 3], "labels": [1, 2]}, {"input_ids": [2, 5, 3], "labels": [1, 2]}])
    with pytest.raises(DataError, match="column 'tokens' of row 0 is 'a b'"):
        fit([{"tokens": "a b", "tags": [0]}])
    with pytest.raises(DataError, match="there is no tokenizer to read them with"):
        bayespeft.fit(tagger, tagged, **QUICK)
    slow = copy.copy(tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(slow), "is_fast", False)
        with pytest.raises(DataError, match="load a fast tokenizer"):
            bayespeft.fit(tagger, tagged, tokenizer=slow, **QUICK)
