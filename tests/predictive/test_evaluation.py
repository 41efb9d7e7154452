"""Probabilities of any origin are measured, put into sets and decided upon as those of a posterior are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import bayespeft
from bayespeft.errors import ConfigError, DataError
from bayespeft.testing import networks

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4, 200, 3)) * 2
DRAWS = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
PROBS = DRAWS.mean(0)
LABELS = np.array([RNG.choice(3, p=p) for p in PROBS])


def test_one_array_gives_the_figures_of_its_rows():
    found = bayespeft.evaluate(PROBS, LABELS)
    report = found.report(name="mine", resamples=100)
    picked = PROBS[np.arange(200), LABELS]
    assert report.metrics["nll"].value == pytest.approx(-np.log(picked).mean())
    assert report.metrics["accuracy"].value == pytest.approx((PROBS.argmax(1) == LABELS).mean())
    assert (report.n, report.classes, report.draws, report.seconds, report.forward_passes) == (200, 3, 0, None, None)
    assert report.mutual_information is None
    np.testing.assert_allclose(found.prediction.entropy, -(PROBS * np.log(PROBS)).sum(1))


def test_draws_are_averaged_as_probabilities_and_tell_the_epistemic_part():
    found = bayespeft.evaluate(DRAWS, LABELS)
    np.testing.assert_allclose(found.prediction.probs, PROBS, rtol=1e-12)
    within = -(DRAWS * np.log(DRAWS)).sum(-1).mean(0)
    np.testing.assert_allclose(found.prediction.expected_entropy, within)
    report = found.report(resamples=100, draws_error=True)
    assert report.draws == 4
    assert report.mutual_information > 0
    assert report.over_draws is not None
    same = bayespeft.evaluate(LOGITS, LABELS, logits=True)
    np.testing.assert_allclose(same.prediction.probs, PROBS, rtol=1e-12)


@pytest.mark.parametrize("form", ["torch", "half", "list", "frame", "gradients"])
def test_every_form_is_the_same(form):
    probs: Any = {
        "torch": lambda: torch.tensor(PROBS),
        "half": lambda: torch.tensor(PROBS, dtype=torch.bfloat16),
        "list": PROBS.tolist,
        "frame": lambda: pytest.importorskip("pandas").DataFrame(PROBS, columns=["a", "b", "c"]),
        "gradients": lambda: torch.tensor(PROBS, requires_grad=True),
    }[form]()
    labels: Any = [["a", "b", "c"][k] for k in LABELS] if form == "frame" else torch.tensor(LABELS)
    found, wanted = (bayespeft.evaluate(p, y).report(resamples=10) for p, y in ((probs, labels), (PROBS, LABELS)))
    tolerance = 1e-2 if form == "half" else 1e-12
    assert found.metrics["nll"].value == pytest.approx(wanted.metrics["nll"].value, rel=tolerance)


def test_sets_and_decisions_are_those_of_a_posterior(mlp, xy):
    """The same probabilities by way of a posterior."""
    train = bayespeft.TrainConfig(steps=20)
    posterior = bayespeft.fit(mlp, xy, targets="all-linear", train=train, progress=False)
    x, y = networks.xy()
    known, new = (x[:20], y[:20]), (x[20:], y[20:])
    ours = [bayespeft.evaluate(posterior.predict(d, keep_draws=True).draw_log_probs.exp(), d[1]) for d in (known, new)]
    sets = ours[0].conformal(alpha=0.2)
    expected = posterior.conformal(known, alpha=0.2)
    assert sets.threshold == pytest.approx(expected.threshold, rel=1e-5)
    assert (sets.sets(ours[1]) == expected.sets(new)).all()
    assert sets.report(ours[1], resamples=10).n == len(y) - 20
    decision, wanted = (one.decide(two, risk=0.4, **more) for one, two, more in (
        (ours[1], ours[0], {}), (_Of(posterior, new), known, {}),
    ))  # fmt: skip
    assert (decision.abstained == wanted.abstained).all()
    assert (decision.answer == wanted.answer).all()


class _Of:
    def __init__(self, posterior: Any, data: Any) -> None:
        self.posterior, self.data = posterior, data

    def decide(self, validation: Any, **settings: Any) -> Any:
        return self.posterior.decide(self.data, validation=validation, **settings)


def test_bare_arrays_do_for_what_needs_no_labels():
    sets = bayespeft.evaluate(PROBS[:100], LABELS[:100]).conformal(alpha=0.1)
    assert (sets.sets(PROBS[100:]) == sets.sets(bayespeft.evaluate(PROBS[100:]))).all()
    others = {"flat": np.full((50, 3), 1 / 3)}
    (told, *_) = bayespeft.evaluate(PROBS, LABELS).report(ood=others, resamples=10).ood
    assert told.auroc.value > 0.5


def test_a_page_quotes_rows(tmp_path):
    rows = [{"text": f"row number {i}"} for i in range(200)]
    report = bayespeft.evaluate(PROBS, LABELS, rows=rows, class_names=["red", "green", "blue"]).report(resamples=10)
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "row number" in page
    assert "green" in page


def test_a_probability_of_zero_is_none_and_a_sure_miss_is_finite():
    report = bayespeft.evaluate([[1.0, 0.0], [1.0, 0.0]], [0, 1]).report(resamples=10)
    assert np.isfinite(report.metrics["nll"].value)
    assert report.metrics["nll"].value > 50


@pytest.mark.parametrize(
    ("probs", "labels", "options", "words"),
    [
        (LOGITS[0], LABELS, {}, "logits=True"),
        (PROBS * 0.9, LABELS, {}, "sum to 0.9"),
        (np.where(np.arange(3) == 1, np.nan, PROBS), LABELS, {}, "nan in row 0"),
        (np.where(np.arange(3) == 1, np.inf, LOGITS), LABELS, {"logits": True}, "inf in row 0 of draw 0"),
        (PROBS[:, 0], LABELS, {}, "1 - p, p"),
        (PROBS[:, :1], LABELS, {}, "one column"),
        (PROBS[None, None], LABELS, {}, "shape"),
        ([["a", "b"]], [0], {}, "array of numbers"),
        ([[3, 1], [2, 2]], [0, 1], {}, "whole numbers"),
        (PROBS, LABELS[:10], {}, "200 rows"),
        (PROBS, LABELS + 1, {}, "label 3"),
        (PROBS, LABELS.astype(float), {}, "float64"),
        (PROBS, ["x"] * 200, {"class_names": ["a", "b", "c"]}, "'x' is none of the classes"),
        (PROBS, LABELS, {"class_names": ["a"]}, "1 class_names and 3 columns"),
        (PROBS, LABELS, {"rows": [{}]}, "no list of 200 mappings"),
    ],
)  # fmt: skip
def test_what_is_no_probability_is_told(probs, labels, options, words):
    with pytest.raises(DataError, match=words):
        bayespeft.evaluate(probs, labels, **options)


def test_what_is_missing_is_told():
    bare = bayespeft.evaluate(PROBS)
    with pytest.raises(DataError, match="labels"):
        bare.report()
    with pytest.raises(DataError, match="labels"):
        bare.conformal()
    with pytest.raises(DataError, match="labels"):
        bayespeft.evaluate(PROBS).decide(bare)
    with pytest.raises(ConfigError, match="draws, n, K"):
        bayespeft.evaluate(PROBS, LABELS).report(draws_error=True)
    with pytest.raises(ConfigError, match="draws"):
        bayespeft.evaluate(PROBS).decide(bayespeft.evaluate(DRAWS, LABELS))
    with pytest.raises(ConfigError, match="alpha"):
        bayespeft.evaluate(PROBS, LABELS).conformal(alpha=2.0)
