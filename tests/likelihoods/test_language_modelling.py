"""p(target | source) against plain cross entropy; what is masked, cut and refused; the ELBO counts examples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

import bayespeft
from bayespeft import TrainConfig
from bayespeft.data.batch import Batch
from bayespeft.data.padding import Padding
from bayespeft.data.rows import RowExamples
from bayespeft.data.source import source_of
from bayespeft.data.table import TokenTable
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.likelihoods.base import Likelihood
from bayespeft.likelihoods.inputs import as_examples
from bayespeft.likelihoods.language_modelling import LanguageModelling
from bayespeft.predictive.language import LanguagePredictive
from bayespeft.report.language import LanguageReport
from tests.generation.conftest import bart, fitted, pairs, t5  # noqa: F401 (fixtures)

SOURCES = [[7, 8, 9, 10], [12], [14, 15]]
TARGETS = [[20, 3], [21, 22, 23, 3], [3]]


def likelihood_of(model: Any, tokenizer: Any = None, **settings: Any) -> LanguageModelling:
    return LanguageModelling(**settings).resolve(model, tokenizer, None)


def alone(model: Any, source: list[int], target: list[int]) -> torch.Tensor:
    """log p(target | source) by one pass over one pair, from the formula."""
    if model.config.is_encoder_decoder:
        start = [model.config.decoder_start_token_id, *target[:-1]]
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([start])).logits[0]
    else:
        logits = model(input_ids=torch.tensor([source + target])).logits[0, len(source) - 1 : -1]
    return -F.cross_entropy(logits, torch.tensor(target), reduction="sum")


@pytest.mark.parametrize("network", ["llama", "gpt2", "t5", "bart"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_log_probability_is_the_sum_over_the_tokens_of_the_target(network, side, request):
    model = request.getfixturevalue(network)
    likelihood = likelihood_of(model)
    if likelihood.encoder_decoder and side == "left":
        side = "right"  # a decoder's labels have lengths of their own
    rows = likelihood.joined(SOURCES, TARGETS)
    (batch,) = RowExamples(TokenTable(rows), Padding(0, side, labels=True)).batches(3)
    with torch.no_grad():
        found = likelihood.logits(model, batch)
        folded = likelihood.logits(model, batch.repeat(2))
        expected = torch.stack([alone(model, SOURCES[i], TARGETS[i]) for i in batch.index.tolist()])
    assert found.shape == (3, 1)
    torch.testing.assert_close(found[:, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(folded, found.repeat(2, 1), atol=1e-5, rtol=1e-5)
    assert likelihood.observed(batch.labels).tolist() == [len(TARGETS[i]) for i in batch.index.tolist()]
    torch.testing.assert_close(likelihood.distribution(found).log_prob(likelihood.observed(batch.labels)), found[:, 0])


def test_it_is_what_transformers_calls_the_loss(llama):
    likelihood = likelihood_of(llama)
    (batch,) = RowExamples(TokenTable(likelihood.joined(SOURCES, TARGETS)), Padding(0, "right", labels=True)).batches(3)
    with torch.no_grad():
        loss = llama(**batch.inputs, labels=batch.labels).loss
        own = likelihood.logits(llama, batch).sum() / likelihood.observed(batch.labels).sum()
    torch.testing.assert_close(-own, loss)


def test_only_positions_with_labels_reach_the_vocabulary(llama):
    likelihood, widths = likelihood_of(llama), []
    rows = likelihood.joined([[5] * 10, [6] * 10], [[7, 3], [8, 3]])
    (batch,) = RowExamples(TokenTable(rows), Padding(0)).batches(2)
    handle = llama.lm_head.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    likelihood.logits(llama, batch)
    handle.remove()
    assert widths == [2]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[-100, 5], [-100, -100]], "row 1: a label never is a token"),
        ([[-100, 5], [4, -100]], "row 1: a label never is a token"),
        ([[-100, 64]], r"row 0: a label is neither -100 nor in 0..63"),
        ([[-100, -5]], r"row 0: a label is neither"),
        ([1, 2], "one token, or -100, for each position"),
        ([[0.5, 1.0]], "one token, or -100, for each position"),
    ],
)
def test_labels_that_cannot_be_used(llama, labels, message):
    with pytest.raises(DataError, match=message):
        likelihood_of(llama).check_labels(torch.tensor(labels), 1)


def test_labels_of_a_decoder_are_padded_on_the_right(t5):  # noqa: F811
    likelihood = likelihood_of(t5)
    likelihood.check_labels(torch.tensor([[5, 3, -100], [3, -100, -100]]), 1)
    with pytest.raises(DataError, match="row 0: a label is -100 before a token"):
        likelihood.check_labels(torch.tensor([[-100, 5, 3]]), 1)


def test_networks_and_settings_that_cannot_be_used(bert, llama, tokenizer, pairs):  # noqa: F811
    with pytest.raises(AttachError, match="BertForSequenceClassification has none"):
        likelihood_of(bert)
    with pytest.raises(ConfigError, match=r"no '\{source\}'"):
        likelihood_of(llama, template="say:")
    batch = Batch({"input_ids": torch.tensor([[5, 6]])}, torch.tensor([[5, 6, 7]]), torch.arange(1))
    with pytest.raises(DataError, match="labels stand beside its input_ids"):
        likelihood_of(llama).logits(llama, batch)
    with pytest.raises(ConfigError, match="divides logits of classes by a temperature"):
        fitted(llama, tokenizer, pairs, "temperature", validation=pairs)
    posterior = fitted(llama, tokenizer, pairs, "mle")
    with pytest.raises(ConfigError, match="a temperature divides logits of classes"):
        posterior.with_temperature(pairs)
    with pytest.raises(DataError, match=r"there is none: column 'target' .* use posterior.generate"):
        posterior.predict([{"source": "the cat"}])
    melora = fitted(llama, tokenizer, pairs)
    with pytest.raises(ConfigError, match="no linearised prediction"):
        melora.predict(pairs, prediction="linearised")


def test_json_round_trip(llama, tokenizer):
    likelihood = likelihood_of(llama, tokenizer)
    assert Likelihood.model_validate_json(likelihood.model_dump_json()) == likelihood


@pytest.mark.parametrize("network", ["llama", "t5"])
def test_fit_learns_and_the_loss_is_per_example(network, request, tokenizer, pairs, tmp_path):  # noqa: F811
    model = request.getfixturevalue(network)
    posterior = bayespeft.fit(
        model, pairs, "melora", likelihood="language_modelling", tokenizer=tokenizer, progress=False, targets="all-linear",
        train=TrainConfig(steps=150, lr=0.05, batch_size=4, kl_weight=0.0), validation=pairs,
    )  # fmt: skip
    records = posterior.history.records
    assert records[-1].nll < 0.5 * records[0].nll
    report = posterior.report(pairs, draws=4)
    assert isinstance(report, LanguageReport)
    predicted = posterior.predict(pairs, draws=4)
    assert isinstance(predicted, LanguagePredictive)
    assert report.nll.value == pytest.approx(-float(predicted.log_probs.mean()))
    assert report.nll_per_token.value == pytest.approx(-float(predicted.log_probs.sum() / predicted.tokens.sum()))
    assert report.perplexity.value == pytest.approx(math.exp(report.nll_per_token.value))
    assert f"{report.tokens} scored tokens" in str(report)
    assert LanguageReport.from_json(report.to_json()) == report
    posterior.save(tmp_path / "out")
    loaded = bayespeft.load(tmp_path / "out", model, tokenizer=tokenizer)
    assert torch.equal(loaded.predict(pairs, draws=4).log_probs, predicted.log_probs)
    own = loaded.generate("the cat is", draws=2, max_new_tokens=4)
    assert own.tokens == posterior.generate("the cat is", draws=2, max_new_tokens=4).tokens


def test_the_objective_is_the_nll_of_an_example_and_the_kl_over_n(llama, tokenizer, pairs):  # noqa: F811
    """With the base network's own weights (B = 0) the NLL has no noise, and only the KL is left besides."""
    posterior = bayespeft.fit(
        llama, pairs, "melora", likelihood="language_modelling", tokenizer=tokenizer, progress=False,
        train=TrainConfig(steps=1, lr=0.0, variational_lr=0.0, batch_size=8),
    )  # fmt: skip
    record = posterior.history.records[0]
    likelihood = posterior.likelihood
    (batch,) = as_examples(source_of(pairs), likelihood, tokenizer, llama).batches(8)
    with torch.no_grad():
        nll = -float(likelihood.logits(llama, batch).mean())
    assert record.nll == pytest.approx(nll, rel=1e-4)
    assert record.loss == pytest.approx(nll + (record.kl + record.prior) / 8, rel=1e-4)


def test_tokenised_rows_and_loaders_are_the_same_data(llama, tokenizer, pairs):  # noqa: F811
    posterior = fitted(llama, tokenizer, pairs, "mle")
    rows = posterior.likelihood.encode(pairs, tokenizer)
    expected = posterior.predict(pairs).log_probs
    torch.testing.assert_close(posterior.predict(rows).log_probs, expected)

    def collate(part):
        width = max(len(row["input_ids"]) for row in part)
        gap = [width - len(row["input_ids"]) for row in part]
        return {
            "input_ids": torch.tensor([[0] * g + row["input_ids"] for g, row in zip(gap, part, strict=True)]),
            "attention_mask": torch.tensor([[0] * g + [1] * (width - g) for g in gap]),
            "labels": torch.tensor([[-100] * g + row["labels"] for g, row in zip(gap, part, strict=True)]),
        }

    left = DataLoader(rows, batch_size=3, collate_fn=collate)
    torch.testing.assert_close(posterior.predict(left).log_probs, expected, atol=1e-4, rtol=1e-4)
