"""Class weights: the objective is that of repeated rows, everywhere; predictions can be led back to the data's frequencies."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.core import Core
from bayespeft.errors import CheckpointError, ConfigError, DataError
from bayespeft.guides.laplace_diagonal import LaplaceDiagonal
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.training_free import nll
from bayespeft.io import checkpoint
from bayespeft.likelihoods.label_tokens import LabelTokens
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.prediction.temperature import as_weighed
from bayespeft.predictive.categorical import Predictive
from bayespeft.pretrained.base import quiet
from bayespeft.training.lookout import validator
from tests.training.helpers import problem

pytestmark = pytest.mark.filterwarnings("ignore:class_weight counts the:UserWarning")
BRIEF: dict[str, Any] = {
    "targets": "all-linear",
    "progress": False,
    "train": TrainConfig(steps=4, batch_size=8, lr=1e-2),
}
WEIGHTS = (2.0, 1.0, 0.5)


def weighed(weights: Any = WEIGHTS) -> SequenceClassification:
    return SequenceClassification(class_weight=weights)


def state(posterior: Any) -> dict[str, torch.Tensor]:
    return posterior.joint_guide.state_dict()


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(value, state(b)[name]) for name, value in state(a).items())


def repeated(xy: Any) -> Any:
    """Rows as often as twice their weight."""
    times = torch.tensor([4, 2, 1])[xy[1]]
    return xy[0].repeat_interleave(times, 0), xy[1].repeat_interleave(times)


def test_a_weight_multiplies_the_log_likelihood_of_its_rows(mlp, xy):
    with problem(mlp, xy, Core(r=2), MeanField(noise="batch"), likelihood=weighed()) as p:
        batch = next(iter(p.examples.batches(6)))
        pyro.set_rng_seed(0)
        loss, mean = p.loss(batch, 0.0)
        with torch.no_grad():
            log_probs = torch.log_softmax(p.logits(batch), -1)
        by_hand = -(torch.tensor(WEIGHTS)[batch.labels] * log_probs[range(6), batch.labels]).sum() / 6
        assert float(loss.detach()) == pytest.approx(float(by_hand), rel=1e-5)
        assert float(mean) == pytest.approx(float(by_hand), rel=1e-5)
        pyro.set_rng_seed(0)
        assert float(p.loss(batch, 0.0, rows=3)[0].detach()) == pytest.approx(2 * float(by_hand), rel=1e-5)


def test_a_doubled_weight_is_a_row_that_is_there_twice(mlp, xy):
    """N times the loss, and its gradients: the sum over rows and the KL, counted once."""
    found = []
    for data, weights in ((repeated(xy), None), (xy, tuple(2 * w for w in WEIGHTS))):
        with problem(mlp, data, Core(r=2), MeanField(noise="batch"), likelihood=weighed(weights)) as p:
            batch, n = next(iter(p.examples.batches(1000))), len(p.examples)
            pyro.set_rng_seed(0)
            loss = n * p.loss(batch, 1.0)[0]
            gradients = torch.autograd.grad(loss, list(p.joint_guide.parameters()))
            found.append([loss.detach(), *gradients])
    for rows, weight in zip(*found, strict=True):
        torch.testing.assert_close(rows, weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guide", ["melora", "map", "laplace_lora"])
def test_weights_of_one_change_no_bit(mlp, xy, guide):
    plain = bayespeft.fit(mlp, xy, guide, **BRIEF)
    assert same(bayespeft.fit(mlp, xy, guide, class_weight=[1.0, 1, 1], **BRIEF), plain)
    assert not same(bayespeft.fit(mlp, xy, guide, class_weight=[1.0, 0.5, 0.5], **BRIEF), plain)


def test_forms_that_say_the_same_fit_the_same(mlp, xy):
    y = xy[1]
    counts = torch.bincount(y, minlength=3)
    balanced = (len(y) / (3 * counts)).tolist()
    forms: list[Any] = [
        "balanced",
        balanced,
        tuple(balanced),
        np.array(balanced),
        torch.tensor(balanced, dtype=torch.double),
        dict(enumerate(balanced)),
        {str(k): weight for k, weight in enumerate(balanced)},
    ]
    first, *others = [bayespeft.fit(mlp, xy, class_weight=form, **BRIEF) for form in forms]
    assert first.likelihood.weights == pytest.approx(balanced)
    assert first.likelihood.class_counts == tuple(counts.tolist())
    for other in others:
        torch.testing.assert_close(state(other), state(first), rtol=1e-6, atol=1e-7)
    named = SequenceClassification(label_names=("a", "b", "c"))
    one = bayespeft.fit(mlp, xy, likelihood=named, class_weight={"c": 0.5}, **BRIEF)
    assert one.likelihood.weights == (1, 1, 0.5)
    given = bayespeft.fit(mlp, xy, likelihood=named.replace(class_weight={"c": 0.5}), **BRIEF)
    assert same(one, given)


def test_labels_of_a_loader_are_counted_by_a_pass(mlp, xy):
    loader = DataLoader(TensorDataset(*xy), batch_size=5)
    fitted = bayespeft.fit(mlp, loader, class_weight="balanced", **BRIEF)
    assert fitted.likelihood.class_counts == tuple(torch.bincount(xy[1]).tolist())


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"spam": 2.0}, "'spam', which is no class: the classes are 0..2"),
        ({3: 2.0}, "3, which is no class"),
        ({-1: 2.0}, "-1, which is no class"),
        ({0: 2.0, "0": 1.0}, "twice"),
        ([1.0, 2.0], "2 weights for 3 classes"),
        ([0.0, 0, 0], "0 for every class"),
        ([-1.0, 1, 1], "greater than or equal to 0"),
        ([float("nan"), 1, 1], "class_weight"),
        ([float("inf"), 1, 1], "class_weight"),
        ({0: float("nan")}, "class_weight"),
        ("even", "class_weight='even'"),
        (2.0, "class_weight=2.0"),
    ],
)
def test_what_can_be_no_weights_is_refused(mlp, xy, weights, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        bayespeft.fit(mlp, xy, class_weight=weights, **BRIEF)


def test_classes_without_rows_and_names_that_are_numbers(mlp, xy):
    x, y = xy
    with pytest.raises(ConfigError, match="0 for every class that has rows"):
        bayespeft.fit(mlp, (x, y.clamp_max(1)), class_weight=[0.0, 0, 1], **BRIEF)
    fitted = bayespeft.fit(mlp, (x, y.clamp_max(1)), class_weight="balanced", **BRIEF)
    assert fitted.likelihood.weights[2] == 1
    assert sum(w * n for w, n in zip(fitted.likelihood.weights, fitted.likelihood.class_counts, strict=True)) == len(y)
    stars = SequenceClassification(label_names=("1", "2", "3"))
    with pytest.raises(ConfigError, match="may be a name or a position"):
        bayespeft.fit(mlp, xy, likelihood=stars, class_weight={1: 0.5}, **BRIEF)
    assert bayespeft.fit(mlp, xy, likelihood=stars, class_weight={"1": 0.5}, **BRIEF).likelihood.weights == (0.5, 1, 1)


def test_other_likelihoods_have_no_classes_to_weigh(mlp, gpt2, tokenizer):
    x = torch.randn(20, 5)
    with pytest.raises(ConfigError, match="'regression' has not one class for each row"):
        bayespeft.fit(mlp, (x, torch.randn(20, 3)), likelihood="regression", class_weight="balanced", **BRIEF)
    rows = [{"prompt": "a b", "completion": "c"}] * 4
    with pytest.raises(ConfigError, match="'language_modelling' has not one class"):
        bayespeft.fit(gpt2, rows, tokenizer=tokenizer, class_weight={"c": 2.0}, progress=False)


def test_more_rows_than_there_are_are_warned_of_and_told(mlp, xy):
    with pytest.warns(UserWarning, match="counts the .* training rows as .*multiply the weights by"):
        fitted = bayespeft.fit(mlp, xy, class_weight=[5.0, 1, 1], **BRIEF)
    counts = torch.bincount(xy[1]).double()
    w = torch.tensor([5.0, 1, 1]).double()
    total = float((w * counts).sum())
    kish = total**2 / float((w**2 * counts).sum())
    assert f"{len(xy[1])} rows as {total:,.4g}, with an effective sample size (Kish) of {kish:,.4g}" in " ".join(
        repr(fitted.summary()).split()
    )
    text = str(fitted.report(xy, draws=2, resamples=50))
    assert "counts by its class (0 5, 1 1, 2 1)" in " ".join(text.split())


@pytest.mark.parametrize("spec", [LaplaceDiagonal(), LaplaceKronecker(), LaplaceFull()], ids=lambda spec: spec.kind)
def test_a_laplace_approximation_weighs_the_curvature(mlp, xy, spec):
    """That of repeated rows, evidence too: around one point."""
    method = bayespeft.methods()["laplace_lora"].replace(guide=spec)
    start = bayespeft.fit(mlp, xy, "mle", **BRIEF)
    options = {"start": start, "progress": False}
    rows = bayespeft.fit(mlp, repeated(xy), method, **options)
    weights = bayespeft.fit(mlp, xy, method, class_weight=(4.0, 2.0, 1.0), **options)
    fits = (bayespeft.fit(mlp, xy, method, **options), rows, weights)
    evidence = [float(fit.joint_guide.latent.log_evidence) for fit in fits]
    assert evidence[2] == pytest.approx(evidence[1], rel=1e-5)
    assert abs(evidence[0] - evidence[1]) > 1
    # Directions without curvature may be any, so that what they predict is compared, by the same draws of logits.
    one, other = (fit.predict(xy, prediction="linearised", keep_draws=True) for fit in (rows, weights))
    torch.testing.assert_close(other.expected_entropy, one.expected_entropy, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other.probs, one.probs, rtol=1e-3, atol=1e-4)


def test_the_curvature_of_a_head_is_weighed_in_its_factors(bert, tokenizer, sentences, tmp_path):
    with quiet():
        bert.bert.save_pretrained(tmp_path)
        fresh = type(bert).from_pretrained(tmp_path, num_labels=2).eval()
    options = {"tokenizer": tokenizer, "progress": False}
    start = bayespeft.fit(fresh, sentences, "mle", train=TrainConfig(steps=3), **options)
    rows = [row for row in sentences for _ in range(1 + row["label"])]
    fits = [
        bayespeft.fit(fresh, data, "laplace_lora", start=start, class_weight=weights, **options)
        for data, weights in ((rows, None), (sentences, {1: 2.0}), (sentences, None))
    ]
    evidence = [float(fit.joint_guide.latent.log_evidence) for fit in fits]
    assert evidence[1] == pytest.approx(evidence[0], rel=1e-5)
    assert evidence[2] != pytest.approx(evidence[0], rel=1e-2)


def test_the_rise_that_training_free_allows_is_of_the_weighed_nll(mlp, xy):
    start = bayespeft.fit(mlp, xy, "mle", **BRIEF)
    method = bayespeft.methods()["tfb"]
    options = {"start": start, "progress": False}
    rows = bayespeft.fit(mlp, repeated(xy), method, **options)
    weights = bayespeft.fit(mlp, xy, method, class_weight=(4.0, 2.0, 1.0), **options)
    assert float(weights.joint_guide.latent.sigma) == pytest.approx(float(rows.joint_guide.latent.sigma), rel=1e-4)
    found = start.predict(xy, draws=0)
    by_hand = -float((torch.tensor(WEIGHTS)[xy[1]] * found.log_likelihood).mean())
    assert nll(found, weighed().row_weights(xy[1])) == pytest.approx(by_hand)


def test_held_out_rows_count_by_their_class(mlp, xy):
    for calibrate in (True, False):
        train = TrainConfig(steps=4, calibrate=calibrate)
        with problem(mlp, xy, Core(r=2), MeanField(), likelihood=weighed(), train=train) as p:
            figures = validator(p, p.examples)()
            name = "nll at T=1"
            found = p.predict(3, p.seed)
            share = torch.tensor(WEIGHTS).double()[found.labels]
            by_hand = -float((share * found.log_likelihood).sum() / share.sum())
            assert figures[name] == pytest.approx(by_hand, rel=1e-5)
            assert figures["nll"] == pytest.approx(-float(found.log_likelihood.mean()), rel=1e-5)


def test_rows_that_count_nothing_judge_nothing():
    found = Predictive(
        log_probs=torch.zeros(2, 2), expected_entropy=torch.zeros(2), labels=torch.tensor([0, 0]),
        draw_log_probs=torch.zeros(1, 2, 2), draws=1, forward_passes=1, seconds=0.0,
    )  # fmt: skip
    with pytest.raises(DataError, match="positive weight"):
        as_weighed(found, weighed((0.0, 1.0)))


def test_a_fit_of_free_length_is_judged_by_weighed_rows(mlp):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 5, generator=generator)
    y = (x[:, 0] + 0.3 * torch.randn(90, generator=generator) > 1).long()
    fitted = bayespeft.fit(mlp, (x, y), class_weight=[0.5, 2.0, 1.0], targets="all-linear", progress=False,
                           train=TrainConfig(steps="auto", most_steps=30, calibrate=True))  # fmt: skip
    assert fitted.history.ended.held_out == 90
    assert fitted.temperature == fitted.history.ended.temperature


class Bias(nn.Module):
    """The same logits for all inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2, bias=False)
        nn.init.zeros_(self.layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_probabilities_are_of_the_reweighed_population_and_corrected_of_the_data():
    """Ten rows in a hundred are of class 1: with weight 9 that is one half, and 0.1 behind the correction."""
    data = torch.ones(100, 1), (torch.arange(100) < 10).long()
    train = TrainConfig(steps=400, batch_size=100, lr=0.05)
    with pytest.warns(UserWarning, match="as 180"):
        fitted = bayespeft.fit(Bias(), data, "mle", adapter="full", targets="all-linear", class_weight={1: 9.0},
                               train=train, progress=False)  # fmt: skip
    assert float(fitted.predict(data).probs[0, 1]) == pytest.approx(0.5, abs=0.01)
    corrected = fitted.with_prior_correction()
    assert float(corrected.predict(data).probs[0, 1]) == pytest.approx(0.1, abs=0.005)
    assert "with_prior_correction()" in fitted.report(data, draws=0, resamples=50).training.remedies["over"]
    assert "with_prior_correction()" not in corrected.report(data, draws=0, resamples=50).training.remedies["over"]
    heated = replace(corrected, temperature=2.0)
    assert float(heated.predict(data).probs[0, 1]) == pytest.approx(0.1, abs=0.005)  # the logits are 0 before it


@pytest.mark.parametrize("prediction", ["sampled", "linearised"])
def test_each_draw_is_corrected_behind_the_temperature(mlp, xy, tmp_path, prediction):
    fitted = replace(bayespeft.fit(mlp, xy, class_weight=WEIGHTS, **BRIEF), temperature=1.7)
    options = {"draws": 4, "keep_draws": True, "prediction": prediction}
    before, after = fitted.predict(xy, **options), fitted.with_prior_correction().predict(xy, **options)
    by_hand = before.draw_log_probs.double().exp() / torch.tensor(WEIGHTS)
    by_hand /= by_hand.sum(-1, keepdim=True)
    torch.testing.assert_close(after.probs, by_hand.mean(0), rtol=1e-5, atol=1e-6)
    if prediction == "sampled":
        frozen = fitted.with_prior_correction().freeze(draws=4)
        torch.testing.assert_close(frozen(xy[0]).double(), after.probs, rtol=1e-4, atol=1e-5)
        with pytest.warns(UserWarning, match="add .* to them, behind a temperature"):
            fitted.with_prior_correction().merged_model()
    fitted.with_prior_correction().save(tmp_path)
    loaded = bayespeft.load(tmp_path, mlp)
    assert torch.equal(loaded.predict(xy, **options).log_probs, after.log_probs)
    assert loaded.likelihood.weights == WEIGHTS
    # A temperature is fitted without the correction, and the correction stays.
    one, other = (f.with_temperature(xy, 4) for f in (fitted, fitted.with_prior_correction()))
    assert one.temperature == other.temperature
    assert other.likelihood.prior_corrected


def test_a_correction_needs_weights_that_are_not_zero(mlp, xy):
    with pytest.raises(ConfigError, match="without class_weight"):
        bayespeft.fit(mlp, xy, **BRIEF).with_prior_correction()
    fitted = bayespeft.fit(mlp, xy, class_weight=[1.0, 1.0, 0.0], **BRIEF)
    with pytest.raises(ConfigError, match="weight 0 was not learned"):
        fitted.with_prior_correction()


def test_a_temperature_is_that_of_repeated_rows(mlp, xy):
    fitted = bayespeft.fit(mlp, xy, class_weight=(4.0, 2.0, 1.0), **BRIEF)
    plain = replace(fitted, likelihood=SequenceClassification())
    assert fitted.with_temperature(xy).temperature == pytest.approx(
        plain.with_temperature(repeated(xy)).temperature, rel=1e-3
    )


def test_a_saved_posterior_with_weights_that_are_no_weights_is_refused(mlp, xy, tmp_path):
    bayespeft.fit(mlp, xy, class_weight=WEIGHTS, **BRIEF).save(tmp_path)
    tensors, settings = checkpoint.read(tmp_path)
    for wrong in ([1.0, 2.0], [0.0, 0.0, 0.0], [-1.0, 1.0, 1.0]):
        settings["likelihood"]["class_weight"] = wrong
        checkpoint.write(tmp_path, tensors, settings)
        with pytest.raises((CheckpointError, ConfigError), match=r"class_weight|greater"):
            bayespeft.load(tmp_path, mlp)


def test_weights_are_part_of_the_key_of_a_state_and_a_start_brings_its_own(mlp, xy, tmp_path):
    fitted = bayespeft.fit(mlp, xy, class_weight=WEIGHTS, checkpoint=tmp_path / "a", **BRIEF)
    again = bayespeft.fit(mlp, xy, class_weight=WEIGHTS, checkpoint=tmp_path / "a", **BRIEF)
    assert same(fitted, again)
    with pytest.raises(CheckpointError, match="another fit"):
        bayespeft.fit(mlp, xy, class_weight=[2.0, 1, 1], checkpoint=tmp_path / "a", **BRIEF)
    options = {"start": fitted.with_prior_correction(), "progress": False, "train": TrainConfig(steps=2)}
    on = bayespeft.fit(mlp, xy, **options)
    assert on.likelihood.weights == WEIGHTS
    assert not on.likelihood.prior_corrected
    assert bayespeft.fit(mlp, xy, class_weight=[1.0, 1, 1], **options).likelihood.weights is None


def test_an_own_loop_has_the_weighed_objective(mlp, xy):
    with bayespeft.adapt(mlp, xy, len(xy[1]), "map", targets="all-linear", class_weight=WEIGHTS) as adaptation:
        loss = float(adaptation.loss(xy).detach())
        log_probs = torch.log_softmax(mlp(xy[0]), -1).detach()
        mean = -float((torch.tensor(WEIGHTS)[xy[1]] * log_probs[range(len(xy[1])), xy[1]]).mean())
    plain = bayespeft.adapt(mlp, xy, len(xy[1]), "map", targets="all-linear")
    with plain:
        offset = float(plain.loss(xy).detach()) + float(log_probs[range(len(xy[1])), xy[1]].mean())
    assert loss == pytest.approx(mean + offset, rel=1e-4)
    bayespeft.adapt(mlp, xy, len(xy[1]), class_weight="balanced", targets="all-linear")
    with pytest.raises(ConfigError, match="a sample of them"):
        bayespeft.adapt(mlp, xy, 10_000, class_weight="balanced", targets="all-linear")


def test_answers_are_weighed_by_letter(gpt2, tokenizer, questions):
    options = {"tokenizer": tokenizer, "progress": False, "train": TrainConfig(steps=2, batch_size=4)}
    fitted = bayespeft.fit(gpt2, questions, class_weight={"A": 0.5}, **options)
    assert isinstance(fitted.likelihood, LabelTokens)
    assert fitted.likelihood.weights[0] == 0.5
    with pytest.raises(ConfigError, match="'Q', which is no class: the classes are 'A', 'B'"):
        bayespeft.fit(gpt2, questions, class_weight={"Q": 0.5}, **options)


@pytest.mark.filterwarnings("ignore:the posterior of this fit")
def test_a_sampler_that_reweighs_or_repeats_rows_is_told(mlp, xy):
    rows = TensorDataset(*xy)
    even, uneven = torch.ones(60), torch.tensor(WEIGHTS)[xy[1]]
    for weights, count, words in (
        (uneven, 60, "probabilities are of that population"),
        (even, 90, "a pass reads 90 examples of 60 rows"),
    ):
        loader = DataLoader(rows, batch_size=10, sampler=WeightedRandomSampler(weights, count))
        with pytest.warns(UserWarning, match=words):
            fitted = bayespeft.fit(mlp, loader, **BRIEF)
        assert fitted.history.steps == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bayespeft.fit(mlp, DataLoader(rows, batch_size=10, sampler=WeightedRandomSampler(even, 60)), **BRIEF)


def test_json_of_weights_reads_back(mlp, xy):
    likelihood = bayespeft.fit(mlp, xy, class_weight=WEIGHTS, **BRIEF).likelihood
    told = json.loads(json.dumps(likelihood.model_dump(mode="json")))
    assert SequenceClassification(**{k: v for k, v in told.items() if k != "kind"}) == likelihood


@pytest.mark.filterwarnings("ignore:the data numbers its classes")
def test_weights_by_number_are_refused_where_data_and_network_number_otherwise(bert, tokenizer, sentences):
    """The weight of one class would be that of the other."""
    named = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    data = Dataset.from_list(sentences, features=named)
    bert.config.id2label, bert.config.label2id = {0: "good", 1: "bad"}, {"good": 0, "bad": 1}
    options = {"tokenizer": tokenizer, "train": TrainConfig(steps=2), "progress": False}
    for weights in ([0.5, 1.5], {0: 0.5, 1: 1.5}, {"0": 0.5}):
        with pytest.raises(ConfigError, match=r"weights by number may be either's: .*\{'good': 1\.0, \.\.\.\}"):
            bayespeft.fit(bert, data, "mle", class_weight=weights, **options)
    posterior = bayespeft.fit(bert, data, "mle", class_weight={"bad": 0.5, "good": 1.5}, **options)
    assert posterior.likelihood.weights == (1.5, 0.5)
    on = bayespeft.fit(bert, data, "mle", start=posterior, **options)
    assert on.likelihood.weights == (1.5, 0.5)
    # Rows of numbers alone are the network's own.
    bert.config.id2label, bert.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    posterior = bayespeft.fit(bert, data, "mle", class_weight=[0.5, 1.5], **options)
    assert posterior.likelihood.weights == (0.5, 1.5)
