"""A verdict names a cause that can be seen and a call that mends it; following it once brings the figure inside the noise."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest
import torch

import bayespeft
from bayespeft import TrainConfig
from bayespeft.likelihoods.regression import Regression
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.posterior.remedies import FREE, TEMPERATURE, remedies
from bayespeft.training.history import Ended, History

MELORA = bayespeft.methods()["melora"]
CLASSES = SequenceClassification()


def said(history=None, method=MELORA, likelihood=CLASSES, temperature=1.3, draws=10):
    return remedies(history or History(steps=100), method, likelihood, temperature, draws)


def test_a_fixed_number_of_steps_is_named():
    found = said()
    assert "100, was fixed beforehand, and may be too many" in found["over"]
    assert "may be too few" in found["under"]
    assert "may be too few or too many" in found["both"]
    assert all(FREE in found[kind] for kind in ("over", "under", "both"))


def test_what_was_held_out_and_still_fails_points_at_other_rows():
    history = History(steps=100, ended=Ended("settled", 100, held_out=50, folds=3, temperature=1.3))
    assert "of another kind" in said(history)["over"]
    assert TEMPERATURE in said(history)["under"]
    assert TEMPERATURE not in said(history, likelihood=Regression())["under"]
    assert "Fit a temperature" in said(history, temperature=1.0)["over"]


def test_other_causes():
    unsettled = History(steps=3000, ended=Ended("not settled", 3000, held_out=50))
    assert "most_steps=12000" in said(unsettled)["under"]
    loader = History(steps=100, ended=Ended("settled", 100))
    assert "not a DataLoader" in said(loader)["over"]
    assert "draws=10" in said(draws=0)["over"]
    strong = MELORA.replace(train=MELORA.train.replace(kl_weight=5.0))
    history = History(steps=100, ended=Ended("settled", 100, held_out=50))
    assert "counts 5 times" in said(history, method=strong)["under"]


def noisy(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=generator)
    teacher = torch.stack([1.5 * x[:, 0], 1.5 * x[:, 1], torch.zeros(n)], 1).softmax(1)
    return x, torch.multinomial(teacher, 1, generator=generator)[:, 0]


@pytest.mark.parametrize("verdict", ["over", "under"])
def test_following_it_once_brings_the_figure_inside_the_noise(verdict, mlp):
    train, test = noisy(300, 0), noisy(600, 1)
    options = {"targets": "all-linear", "progress": False}
    settings = {"over": TrainConfig(steps=1500, lr=2e-2), "under": TrainConfig(steps=150, lr=1e-2)}[verdict]
    method = bayespeft.methods()["mle"]
    posterior = bayespeft.fit(mlp, train, method, train=settings, **options)
    if verdict == "under":
        posterior = replace(posterior, temperature=3.0)
    report = posterior.report(test, quotes=0)
    assert report.verdict.kind == verdict
    assert report.advice in str(report)
    assert report.advice in html.unescape(report.to_html())
    assert FREE in report.advice
    # What FREE says, with the rate that was taken before.
    mended = bayespeft.fit(
        mlp, train, method, train=TrainConfig(steps="auto", calibrate=True, lr=1e-2), **options
    )  # fmt: skip
    after = mended.report(test, quotes=0)
    assert after.ece.value <= after.ece_noise
    assert "held out in 3 folds" in after.to_html()
