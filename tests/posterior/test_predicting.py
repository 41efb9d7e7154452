"""What a posterior says about when to trust it: further parts of its report, conformal sets, answers or abstentions."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError, ConfigError, DataError
from bayespeft.generation.result import Generation
from bayespeft.guides.mean_field import MeanField
from bayespeft.report import metrics


@pytest.fixture
def posterior(mlp: Any, xy: Any) -> bayespeft.Posterior:
    train = TrainConfig(steps=30, batch_size=20, lr=0.05)
    return bayespeft.fit(mlp, xy, "melora", targets="all-linear", train=train, progress=False)


def test_report_compares_other_sets_and_leaves_the_rest_as_it_is(posterior: Any, xy: Any) -> None:
    far = (xy[0] + 5,)
    report = posterior.report(xy, draws=3, resamples=20, ood={"far": far, "same": xy})
    assert [(row.data, row.score) for row in report.ood] == [
        (name, score) for name in ("far", "same") for score in ("max_probability", "entropy", "mutual_information")
    ]
    assert all(row.n == 60 for row in report.ood)
    # The same draws: the same set can't be told from itself.
    assert [row.auroc.value for row in report.ood[3:]] == [0.5] * 3
    inside, outside = (posterior.predict(data, draws=3) for data in (xy, far))
    expected = metrics.auroc(inside.mutual_information.numpy(), outside.mutual_information.numpy())
    assert report.ood[2].auroc.value == pytest.approx(expected)
    plain = posterior.report(xy, draws=3, resamples=20)
    assert plain.ood == ()
    assert plain.metrics == report.metrics


def test_labels_of_other_sets_are_not_used(posterior: Any, xy: Any) -> None:
    plain = posterior.report(xy, draws=3, resamples=20, ood={"far": (xy[0] + 5,)})
    pairs = [(x, 7.5) for x in xy[0] + 5]
    for far in ((xy[0] + 5, xy[1] + 40), (xy[0] + 5, xy[1].float()), pairs):
        assert posterior.report(xy, draws=3, resamples=20, ood={"far": far}).ood == plain.ood
    ready = posterior.predict((xy[0] + 5,), draws=3)
    assert posterior.report(xy, draws=3, resamples=20, ood={"far": ready}).ood == plain.ood


def test_names_of_unknown_classes_are_no_hindrance_in_other_sets(bert: Any, tokenizer: Any, sentences: Any) -> None:
    train = TrainConfig(steps=2, batch_size=8)
    posterior = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=train, progress=False)
    settings = {"draws": 2, "resamples": 5, "quotes": 0}
    texts = [{"text": row["text"]} for row in sentences[:6]]
    plain = posterior.report(sentences, ood={"other": texts}, **settings)
    for label in ("sports", 17, None):
        rows = [{**row, "label": label} for row in texts]
        assert posterior.report(sentences, ood={"other": rows}, **settings).ood == plain.ood


def test_other_sets_are_read_before_anything_is_predicted(posterior: Any, xy: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bayespeft.Posterior, "predict", lambda *_, **__: pytest.fail("predicted first"))
    with pytest.raises(DataError, match="the data is empty"):
        posterior.report(xy, ood={"none": []})


def test_ready_predictions_have_the_draws_of_the_others(posterior: Any, xy: Any) -> None:
    ready = posterior.predict(xy, draws=3)
    for data, validation, numbers in (
        (ready, xy, "3 draws, and validation with 2"),
        (xy, ready, "2 draws, and validation with 3"),
    ):
        with pytest.raises(ConfigError, match=numbers):
            posterior.decide(data, validation=validation, draws=2)
    with pytest.raises(ConfigError, match="with 2 draws, and validation data with 3"):
        posterior.conformal(ready, draws=2).sets(xy)
    with pytest.raises(ConfigError, match="with 3 draws, and validation data with 2"):
        posterior.conformal(xy, draws=2).sets(ready)


def test_promises_hold_for_predictions_that_were_made_alike(posterior: Any, mlp: Any, xy: Any, tmp_path: Any) -> None:
    posterior.save(tmp_path / "posterior")
    loaded = bayespeft.load(tmp_path / "posterior", mlp)
    train = TrainConfig(steps=2, batch_size=20)
    other = bayespeft.fit(mlp, xy, "melora", targets="all-linear", train=train, progress=False)
    known = posterior.predict(xy, draws=4)
    sets = posterior.conformal(xy, alpha=0.2, draws=4)
    assert (sets.sets(loaded.predict(xy, draws=4)) == sets.sets(xy)).all()
    # Of what another package predicted, nothing more is known than the numbers of draws and classes.
    assert (sets.sets(replace(known, log_probs=known.log_probs.flip(-1), making=None)) == sets.sets(xy)[:, ::-1]).all()
    for different, words in (
        (posterior.predict(xy, draws=4, seed=1), "predicted with seed 1, and .* with 0"),
        (posterior.predict(xy, draws=4, sampling="antithetic"), "sampling 'antithetic', and .* with 'plain'"),
        (replace(posterior, temperature=2.0).predict(xy, draws=4), "temperature 2.0, and .* with 1.0"),
        (other.predict(xy, draws=4), "predicted by another posterior than"),
        (posterior.predict(xy, draws=4, keep_draws=True).of_mean_logits(), "sampling 'plain, mean logits', and"),
    ):
        with pytest.raises(ConfigError, match=words):
            sets.sets(different)
        with pytest.raises(ConfigError, match=words):
            posterior.decide(different, validation=known, draws=4)
        with pytest.raises(ConfigError, match=words):
            posterior.report(xy, draws=4, resamples=2, ood={"other": different})
    with pytest.raises(ConfigError, match="seed 0, and validation data with 1"):
        posterior.conformal(posterior.predict(xy, draws=4, seed=1), draws=4).sets(xy)


def test_a_seed_that_decides_nothing_may_be_any(posterior: Any, mlp: Any, xy: Any) -> None:
    assert posterior.conformal(xy, draws=0).sets(posterior.predict(xy, draws=0, seed=3)).shape == (60, 3)
    train = TrainConfig(steps=2, batch_size=20)
    members = bayespeft.fit(mlp, xy, "ensemble", targets="all-linear", train=train, progress=False)
    every = members.joint_guide.latent.members
    assert members.conformal(xy, draws=every).sets(members.predict(xy, draws=every, seed=3)).shape == (60, 3)
    with pytest.raises(ConfigError, match="seed 3"):
        members.conformal(xy, draws=every - 1).sets(members.predict(xy, draws=every - 1, seed=3))


def test_draws_are_kept_only_where_their_error_is_asked_for(posterior: Any, xy: Any) -> None:
    assert posterior.report(xy, draws=4, resamples=5).over_draws is None
    report = posterior.report(xy, draws=4, resamples=5, draws_error=True)
    assert [row.draws for row in report.over_draws.by_draws] == [1, 2, 4]
    assert report.over_draws.by_draws[-1].metrics["nll"] == pytest.approx(report.nll.value, abs=1e-5)
    # To first order the jackknife is the delta method that the prediction has.
    assert report.over_draws.errors["nll"] == pytest.approx(report.nll_error, rel=0.2)
    pairs = posterior.report(xy, draws=4, resamples=5, draws_error=True, sampling="antithetic")
    assert pairs.over_draws.errors["nll"] == pytest.approx(pairs.nll_error, rel=0.2)
    sobol = posterior.report(xy, draws=4, resamples=5, draws_error=True, sampling="sobol")
    assert sobol.over_draws.errors is None
    assert len(sobol.over_draws.by_draws) == 3


def test_conformal_sets_are_of_the_posteriors_predictions(posterior: Any, xy: Any) -> None:
    found = posterior.conformal(xy, alpha=0.2, draws=3, seed=2)
    prediction = posterior.predict(xy, draws=3, seed=2)
    sets = found.sets(xy)
    assert sets.shape == (60, 3)
    assert (sets == found.sets(prediction)).all()
    labels = xy[1].numpy()
    # On the data it was fitted on: the quantile's rank, or more with ties.
    assert sets[np.arange(60), labels].sum() >= math.ceil(61 * 0.8)
    assert found.report(xy, resamples=10).coverage.value == sets[np.arange(60), labels].mean()
    assert posterior.conformal(prediction, alpha=0.2, draws=3, seed=2).threshold == found.threshold
    assert posterior.conformal(xy, method="aps", draws=3).sets(xy).any(axis=1).mean() > 0.5
    with pytest.raises(ConfigError, match="alpha is 2"):
        posterior.conformal(xy, alpha=2)
    with pytest.raises(DataError, match="needs labels"):
        posterior.conformal((xy[0],), draws=2)


def test_decisions_are_of_the_posteriors_predictions(posterior: Any, xy: Any) -> None:
    loose = posterior.decide((xy[0],), risk=0.9, validation=xy, delta=0.5, draws=3)
    prediction = posterior.predict(xy, draws=3)
    assert loose.risk == 0.9
    assert not loose.abstained.any()
    assert torch.equal(torch.as_tensor(loose.answer), prediction.probs.argmax(1))
    again = posterior.decide(prediction, risk=0.9, validation=prediction, delta=0.5)
    assert (again.answer == loose.answer).all()
    strict = posterior.decide(xy, risk=0.001, validation=xy, draws=3)
    assert strict.abstained.all()
    assert strict.risk is None
    with pytest.raises(DataError, match="validation is missing"):
        posterior.decide(xy, validation=(xy[0],), draws=2)


def test_written_texts_are_decided_by_their_probability_per_token(posterior: Any, xy: Any) -> None:
    def written(log_probs: Any, texts: Any) -> Generation:
        m = len(log_probs)
        zeros = torch.zeros(m, 2)
        return Generation(
            sequences=zeros.long(), lengths=torch.full((m,), 2), ended=torch.ones(m, dtype=torch.bool),
            prompt=torch.arange(m), draw=None, token_log_probs=zeros, entropy=zeros, mutual_information=zeros,
            draw_log_probs=torch.as_tensor(log_probs)[None], draws=1, seconds=0.0, texts=texts, pieces=None, prompts=None,
        )  # fmt: skip

    generator = torch.Generator().manual_seed(0)
    scores = -torch.rand(400, generator=generator, dtype=torch.float64)
    known, new = written(scores, ("x",) * 400), written([-0.01, -0.99], ("sure", "unsure"))
    found = posterior.decide(new, validation=known, correct=(scores > -0.5).numpy(), risk=0.1, delta=0.1)
    assert found.answer.tolist() == ["sure", None]
    assert found.certainty == pytest.approx([-0.005, -0.495])
    with pytest.raises(ConfigError, match="correct= is needed here: it is for texts"):
        posterior.decide(new, validation=known)
    with pytest.raises(ConfigError, match="what `generate` wrote for other prompts"):
        posterior.decide(new, validation=xy, correct=[True])
    with pytest.raises(DataError, match="there are tokens but no texts"):
        posterior.decide(written([-1.0], None), validation=known, correct=[True] * 400)


def test_quantities_are_decided_by_their_width_and_have_no_classes(mlp: Any, xy: Any) -> None:
    data = (xy[0], xy[1].float()[:, None].repeat(1, 3))
    train = TrainConfig(steps=2, batch_size=20)
    posterior = bayespeft.fit(
        mlp, data, "melora", targets="all-linear", likelihood="regression", train=train, progress=False
    )
    decision = posterior.decide(data, validation=data, tolerance=100.0, risk=0.2, delta=0.2, draws=2)
    assert torch.equal(torch.as_tensor(decision.answer), posterior.predict(data, draws=2).mean)
    with pytest.raises(ConfigError, match="tolerance= is needed here"):
        posterior.decide(data, validation=data)
    with pytest.raises(ConfigError, match="correct= is not used here: it is for texts"):
        posterior.decide(data, validation=data, tolerance=1.0, correct=[True])
    with pytest.raises(ConfigError, match="per='class' is for classes"):
        posterior.decide(data, validation=data, tolerance=1.0, per="class")
    intervals = posterior.conformal(data, draws=2)
    low, high = intervals.intervals((data[0],))
    assert low.shape == high.shape == (60, 3)
    assert intervals.report(data).coverage.value >= 0.9
    with pytest.raises(ConfigError, match="data was predicted with seed 1, and validation data with 0"):
        intervals.intervals(posterior.predict(data, draws=2, seed=1, keep_draws=True))
    with pytest.raises(ConfigError, match="are for classes"):
        posterior.conformal(data, per="class")
    for settings in ({"ood": {"other": data}}, {"draws_error": True}):
        with pytest.raises(ConfigError, match="ood and draws_error are for classes"):
            posterior.report(data, **settings)


@pytest.mark.parametrize("value", ["0.1", True, None, float("nan"), 0, 1, 1.5])
def test_what_is_no_fraction_is_refused_before_anything_is_predicted(
    posterior: Any, xy: Any, monkeypatch: Any, value: Any
) -> None:
    monkeypatch.setattr(bayespeft.Posterior, "predict", lambda *_, **__: pytest.fail("predicted first"))
    with pytest.raises(
        ConfigError, match=rf"alpha is {re.escape(repr(value))}: .* a number between 0 and 1, e\.g\. 0\.1"
    ):
        posterior.conformal(xy, alpha=value)
    for name in ("risk", "delta"):
        with pytest.raises(ConfigError, match=rf"{name} is {re.escape(repr(value))}: .* e\.g\. 0\.05"):
            posterior.decide(xy, validation=xy, **{name: value})


def test_a_score_that_is_none_is_refused_before_anything_is_predicted(
    posterior: Any, xy: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bayespeft.Posterior, "predict", lambda *_, **__: pytest.fail("predicted first"))
    with pytest.raises(ConfigError, match="method='saps' is none of lac, aps, raps"):
        posterior.conformal(xy, method="saps")


def test_a_posterior_shows_itself_in_a_line(posterior: Any, bert: Any, sentences: Any, tokenizer: Any) -> None:
    train = TrainConfig(steps=1, batch_size=8)
    of_text = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=train, progress=False)
    for found, network in ((posterior, "Sequential"), (of_text, "BertForSequenceClassification")):
        text = repr(found)
        assert "\n" not in text
        assert len(text) < 250
        assert f"Posterior(method={found.method.name!r}, model={network}," in text
        assert f"trainable={found.joint_guide.trainable()}," in text


class Routed(nn.Module):
    """Feeds its layer some tokens of all examples in one list, as routers of experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, 5)
        chosen = tokens[:, 0] > 0
        found = tokens.new_zeros(len(tokens), 3)
        found[chosen] = torch.tanh(self.layer(tokens[chosen]))
        return found.reshape(len(x), -1, 3).sum(1)


def test_rows_that_cannot_be_told_apart_are_predicted_a_draw_at_a_time() -> None:
    """Nobody has to choose `draws_per_pass`: what the advice of training leads to works in all that predicts."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Routed(), torch.randn(40, 4, 5)
    data = x, torch.arange(40) % 3
    settings = {"targets": ["layer"], "train": TrainConfig(steps=4, batch_size=8), "progress": False}
    with pytest.raises(AttachError, match=r"'layer' got an input of .*noise='batch'"):
        bayespeft.fit(model, data, MeanField(noise="example"), **settings)
    posterior = bayespeft.fit(model, data, MeanField(noise="batch"), validation=data, **settings)
    expected = posterior.predict(data, draws=5, draws_per_pass=1, batch_size=8, keep_draws=True)
    found = posterior.predict(data, draws=5, batch_size=8, keep_draws=True)
    assert torch.equal(found.draw_log_probs, expected.draw_log_probs)
    nll = -float(expected.log_probs[range(40), expected.labels].mean())
    assert posterior.report(data, draws=5, batch_size=8, resamples=5).nll.value == pytest.approx(nll, abs=1e-6)
    assert len(posterior.decide(data, validation=data, draws=5, batch_size=8).answer) == 40
    assert posterior.conformal(data, draws=5, batch_size=8).sets(data).shape == (40, 3)
    with pytest.raises(AttachError, match="draws_per_pass= was given, leave that out"):
        posterior.predict(data, draws=5, draws_per_pass=2, batch_size=8)
