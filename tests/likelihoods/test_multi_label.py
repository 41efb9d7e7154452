"""Multi-label classification end to end: labels in every form, the law, averages, reports, every kind of posterior."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.multi_label import MultiLabel
from bayespeft.predictive.multi_label import MultiLabelPredictive
from bayespeft.report import MultiLabelReport

NAMES = ("animal", "good", "long")
QUICK: dict[str, Any] = {"train": TrainConfig(steps=4), "progress": False}
FREE = TrainConfig(most_steps=60)


@pytest.fixture
def tagger() -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.5, problem_type="multi_label_classification",
        id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(config).eval()


@pytest.fixture
def tagged(sentences) -> list[dict[str, Any]]:
    """The sentences, with any of three labels."""
    rows = []
    for row in sentences:
        words = row["text"].split()
        on = ("fine" not in words, "good" in words, words.count("very") > 1)
        rows.append({"text": row["text"], "labels": [name for name, here in zip(NAMES, on, strict=True) if here]})
    return rows


@pytest.fixture
def several() -> tuple[torch.Tensor, torch.Tensor]:
    """Eighty points with three labels, each by a half-plane."""
    x = torch.randn(80, 5, generator=torch.Generator().manual_seed(1))
    return x, (x[:, :3] + 0.3 * x[:, 3:4] > 0.5).long()


@pytest.fixture
def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 3))


def test_the_law_is_torchs_binary_cross_entropy_and_so_is_its_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(7, 4, generator=generator, dtype=torch.double)).requires_grad_()
    labels = torch.randint(0, 2, (7, 4), generator=generator)
    likelihood = MultiLabel()
    law = likelihood.distribution(logits)
    assert (law.batch_shape, law.event_shape) == ((7,), (4,))
    own = law.log_prob(likelihood.observed(labels).double())
    known = binary_cross_entropy_with_logits(logits, labels.double(), reduction="none").sum(1)
    torch.testing.assert_close(own, -known)
    torch.testing.assert_close(
        likelihood.log_likelihood(logits.detach().float(), labels), own.detach(), rtol=1e-6, atol=0
    )
    gradients = [torch.autograd.grad(value.sum(), logits)[0] for value in (-own, known)]
    torch.testing.assert_close(*gradients)
    hessian = torch.autograd.functional.hessian(
        lambda z: binary_cross_entropy_with_logits(z, labels[0].double(), reduction="sum"), logits[0].detach()
    )
    root = likelihood.curvature_root(logits[:1].detach(), None, torch.eye(4, dtype=torch.double)[None])[0]
    torch.testing.assert_close(root.T @ root, hessian)


def test_a_network_of_several_labels_chooses_it_and_the_default_call_serves(tagger, tokenizer, tagged, tmp_path):
    base = copy.deepcopy(tagger)
    posterior = bayespeft.fit(tagger, tagged, tokenizer=tokenizer, train=FREE, progress=False)
    likelihood = posterior.likelihood
    assert (likelihood.kind, likelihood.form, likelihood.class_names) == ("multi_label", "lists", NAMES)
    assert posterior.history.ended.held_out == 24
    assert posterior.temperature != 1
    found = posterior.predict(tagged, draws=5)
    assert isinstance(found, MultiLabelPredictive)
    assert found.probs.shape == found.entropy.shape == found.mutual_information.shape == (24, 3)
    expected = [[int(name in row["labels"]) for name in NAMES] for row in tagged]
    assert found.labels.tolist() == expected
    y = torch.tensor(expected).double()
    log = torch.where(y == 1, found.probs.log(), torch.log1p(-found.probs))
    torch.testing.assert_close(found.log_likelihood, log.sum(1))
    assert found.nll_error > 0
    same = posterior.predict(tagged, draws=5, batch_size=3, draws_per_pass=2)
    torch.testing.assert_close(same.probs, found.probs, atol=1e-6, rtol=1e-5)

    report = posterior.report(tagged, draws=5, resamples=30)
    assert isinstance(report, MultiLabelReport)
    assert report.nll.value == pytest.approx(-float(found.log_likelihood.mean()))
    assert [own.name for own in report.by_label] == list(NAMES)
    assert len(report.quotes.uncertain) == 10
    assert report.quotes.uncertain[0].text == tagged[report.quotes.uncertain[0].index]["text"]
    assert "Micro F1" in str(report)
    page = report.to_html()
    assert all(name in page for name in (*NAMES, "Subset accuracy", "Label by label"))
    assert MultiLabelReport.from_json(report.to_json()) == report

    sets = posterior.conformal(tagged, alpha=0.2, draws=5)
    assert sets.report(found).coverage.value >= 0.8
    assert sets.sets(tagged).shape == (24, 3)
    with pytest.raises(ConfigError, match="data was predicted with seed 1, and validation data with 0"):
        sets.sets(posterior.predict(tagged, draws=5, seed=1))
    posterior.save(tmp_path / "out")
    again = bayespeft.load(tmp_path / "out", base, tokenizer=tokenizer)
    assert torch.equal(again.predict(tagged, draws=5).each.log_probs, found.each.log_probs)
    assert again.temperature == posterior.temperature


@pytest.mark.parametrize("guide", ["laplace_lora", "ensemble", "tfb", "blob", "mle"])
def test_every_kind_of_posterior(tagger, tokenizer, tagged, guide):
    posterior = bayespeft.fit(tagger, tagged, guide, tokenizer=tokenizer, **QUICK)
    found = posterior.predict(tagged, draws=3)
    assert bool(((found.probs > 0) & (found.probs < 1)).all())
    if guide == "laplace_lora":
        assert (found.draws, found.backward_passes) == (256, 3)


def test_the_linearised_network_is_exact_where_outputs_are_linear(linear, several):
    """Independent logits N(m, v): P(on) = E sigmoid, by quadrature."""
    posterior = bayespeft.fit(linear, several, "laplace_lora", likelihood=MultiLabel(), targets="all-linear", **QUICK)
    found = posterior.predict(several, keep_draws=True)
    draws = found.each.draw_log_probs
    logits = (draws[..., 1] - draws[..., 0]).double()
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    at = logits.mean(0)[:, None] + logits.std(0)[:, None] * torch.tensor(nodes)
    exact = (at.sigmoid() * torch.tensor(weights / weights.sum())).sum(1).reshape(80, 3)
    torch.testing.assert_close(found.probs, exact, atol=2e-3, rtol=0)


def test_a_temperature_divides_the_logits_of_each_label(linear, several):
    options: dict[str, Any] = {"targets": "all-linear", "progress": False, "train": TrainConfig(steps=80, lr=3e-2)}
    posterior = bayespeft.fit(linear, several, likelihood=MultiLabel(), **options)
    warm = posterior.with_temperature(several, draws=6)
    nll = [-float(p.predict(several, draws=6).log_likelihood.mean()) for p in (posterior, warm)]
    assert nll[1] < nll[0]
    kept = posterior.predict(several, draws=6, keep_draws=True)
    assert kept.tempered_nll(warm.temperature) == pytest.approx(nll[1], rel=1e-6)
    for off in (0.8, 1.25):
        assert kept.tempered_nll(warm.temperature * off) > nll[1]


@pytest.mark.parametrize("form", ["names", "numbers", "vectors", "floats", "dataset", "tokens"])
@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_labels_may_be_said_in_every_form(tagger, tokenizer, tagged, form):
    known = MultiLabel().resolve(tagger, tokenizer, tagged)
    wanted = [example["labels"] for example in known.encode(tagged, tokenizer)]
    numbers = [[NAMES.index(name) for name in row["labels"]] for row in tagged]
    rows: Any = [
        {"text": row["text"], "labels": own}
        for row, own in zip(
            tagged, {"numbers": numbers, "vectors": wanted, "names": [row["labels"] for row in tagged]}.get(
                form, [[float(v) for v in vector] for vector in wanted]
            ), strict=True,
        )
    ]  # fmt: skip
    if form == "dataset":
        # The data numbers its labels in another order than the network.
        order = ["long", "animal", "good"]
        features = Features({"text": Value("string"), "labels": Sequence(ClassLabel(names=order))})
        rows = Dataset.from_list(
            [{"text": row["text"], "labels": [order.index(name) for name in row["labels"]]} for row in tagged], features
        )
    if form == "tokens":
        rows = [
            {**tokenizer(row["text"]), "labels": [float(v) for v in vector]}
            for row, vector in zip(tagged, wanted, strict=True)
        ]
    posterior = bayespeft.fit(tagger, rows, tokenizer=tokenizer, **QUICK)
    found = posterior.predict(rows, draws=2)
    assert found.labels.tolist() == wanted
    assert posterior.predict(tagged, draws=2).labels.tolist() == wanted


def test_two_labels_are_read_as_the_training_rows_say_them(tagger, tokenizer):
    """[0, 1] is "both" in lists of numbers, and "the second" in vectors."""
    pair = copy.deepcopy(tagger)
    pair.config.id2label, pair.config.num_labels = {0: "a", 1: "b"}, 2
    lists = [{"text": "a", "label": [0, 1]}, {"text": "b", "label": []}, {"text": "c", "label": [1]}]
    vectors = [{"text": "a", "label": [0, 1]}, {"text": "b", "label": [0, 0]}]
    for rows, form, first in ((lists, "lists", [1, 1]), (vectors, "vectors", [0, 1])):
        found = MultiLabel().resolve(pair, tokenizer, rows)
        assert found.form == form
        assert found.encode(rows, tokenizer)[0]["labels"] == first
        assert found.encode(rows[:1], tokenizer)[0]["labels"] == first


def test_plain_networks_and_loaders(several):
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    x, y = several
    posterior = bayespeft.fit(model, (x, y.float()), likelihood="multi_label", targets="all-linear", **QUICK)
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    found = posterior.predict(loader, draws="auto", tolerance=0.2)
    assert found.labels.tolist() == y.tolist()
    assert posterior.predict((x,), draws=2).labels is None


def test_what_can_not_be_a_label_is_refused(tagger, tokenizer, tagged, several, bert):
    def fit(rows, **options):
        return bayespeft.fit(tagger, rows, tokenizer=tokenizer, **{**QUICK, **options})

    with pytest.raises(DataError, match="row 0: column 'label' is 1, and multi_label reads a list"):
        fit([{"text": "a", "label": 1}])
    with pytest.raises(DataError, match="row 1: label 3 is none of the network's 3"):
        fit([{"text": "a", "label": [0]}, {"text": "b", "label": [3]}])
    with pytest.raises(DataError, match="label 'odd' is not among"):
        fit([{"text": "a", "label": ["odd"]}])
    with pytest.raises(DataError, match=r"labels have the shape \(2, 2\), but the network has 3 outputs"):
        fit([{"input_ids": [1, 2], "labels": [0.0, 1.0]}, {"input_ids": [1, 2, 3], "labels": [0.0, 1.0]}])
    model = nn.Sequential(nn.Linear(5, 3))
    plain: dict[str, Any] = {"targets": "all-linear", **QUICK}
    x, y = several
    soft = y.float()
    soft[4, 1] = 0.4
    with pytest.raises(DataError, match=r"row 4 has the labels \[.*each must be 0 or 1"):
        bayespeft.fit(model, (x, soft), likelihood="multi_label", **plain)
    with pytest.raises(DataError, match=r"pass likelihood='multi_label'"):
        bayespeft.fit(model, (x, y), **plain)
    with pytest.raises(ConfigError, match="likelihood='multi_label'"):
        fit(tagged, likelihood="sequence_classification")
    posterior = fit(tagged)
    vectors = [{"text": "a", "label": [1, 0, 1]}]
    with pytest.raises(DataError, match=r"row 0: column 'label' is .2., but the training rows have one 0 or 1"):
        fit(vectors * 4).predict([{"text": "a", "label": [2]}])
    with pytest.raises(DataError, match="each row has 2 zeros and ones as its labels, and the network has 3 outputs"):
        fit([{"text": "a", "label": [1, 0]}, {"text": "b", "label": [1, 1]}])
    with pytest.raises(DataError, match=r"row 1: .* has 1 twice"):
        fit([{"text": "a", "label": [2]}, {"text": "b", "label": [1, 1]}])
    with pytest.raises(ConfigError, match="ood and draws_error"):
        posterior.report(tagged, draws=2, draws_error=True)
    with pytest.raises(ConfigError, match="decide: predictions of likelihood 'multi_label'"):
        posterior.decide(tagged, validation=tagged)
    assert Likelihood.model_validate(posterior.likelihood.model_dump(mode="json")) == posterior.likelihood


@pytest.mark.parametrize("missing", [-100, None, float("nan"), 0.5])
def test_a_vector_whose_part_is_missing_is_told_to_leave_the_row_out(missing):
    """More outputs, as for numbers beyond them, would be no remedy."""
    with pytest.raises(
        DataError, match=r"0\.\.\.2; if these are a 0 or 1 for each label, .* is neither: leave the row out"
    ):
        MultiLabel(classes=3).label([1, missing, 0], 0)
