"""steps="auto": how long to train and at which temperature, by rows that a fit has not seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.random_subspace import RandomSubspace
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError
from bayespeft.prediction.temperature import GRID, best_temperature, fit_temperature, tempered_nlls
from bayespeft.training import held_out as module
from bayespeft.training.held_out import FOLDS, HELD_OUT, LEAST, held_out
from bayespeft.training.lookout import DRAWS
from tests.report.predictions import drawn
from tests.training.points import FREE, OPTIONS, points


@pytest.mark.parametrize("n", [LEAST, 50, 999])
def test_few_rows_are_held_out_once_each_and_classes_evenly(n):
    x, y = points(n, 0.0)
    pairs = held_out(source_of((x, y)).examples(), seed=3)
    assert len(pairs) == FOLDS
    assert torch.equal(torch.cat([held for _, held in pairs]).sort().values, torch.arange(n))
    for rest, held in pairs:
        assert torch.equal(torch.cat([rest, held]).sort().values, torch.arange(n))
        counts = torch.bincount(y[held], minlength=3)
        assert (counts - torch.bincount(y, minlength=3) / FOLDS).abs().max() <= 2


def test_many_rows_spare_some():
    x, y = points(5000, 0.0)
    ((rest, held),) = held_out(source_of((x, y)).examples(), seed=0)
    assert (len(rest), len(held)) == (4500, 500)
    assert torch.equal(torch.cat([rest, held]).sort().values, torch.arange(5000))
    shares = torch.bincount(y[held]) / 500 - torch.bincount(y) / 5000
    assert shares.abs().max() < 0.005
    assert len(held_out(source_of(points(1500, 0.0)).examples(), seed=0)[0][1]) == HELD_OUT
    assert held_out(source_of(points(LEAST - 1, 0.0)).examples(), seed=0) == []


@pytest.mark.parametrize(("distinct", "times"), [(50, 3), (LEAST - 1, 5), (1200, 4)])
def test_rows_that_are_there_more_than_once_are_held_out_together(distinct, times):
    """Oversampled rows, or one text with labels of several annotators, would tell their own labels."""
    x, y = points(distinct, 0.0)
    pairs = held_out(source_of((x.repeat(times, 1), y.repeat(times))).examples(), seed=0)
    assert len(pairs) == (0 if distinct < LEAST else FOLDS if distinct < module.FEW else 1)
    for rest, held in pairs:
        assert not torch.isin(held % distinct, rest % distinct).any()
        assert len(rest) + len(held) == distinct * times
        assert len(held) % times == 0


def test_what_a_start_may_have_seen_is_not_held_out(mlp):
    """A start that knows its rows by heart would make them say that they are easy."""
    train, validation = points(60, 1.0), points(200, 1.0, seed=1)
    learned = bayespeft.fit(mlp, train, "mle", train=FREE.replace(steps=200, lr=3e-2, calibrate=False), **OPTIONS)
    brief = {**OPTIONS, "train": FREE.replace(most_steps=40), "start": learned}
    with pytest.warns(UserWarning, match="start= may have been fitted to these very rows"):
        further = bayespeft.fit(mlp, train, "mle", **brief)
    assert (further.history.ended.held_out, further.history.ended.temperature, further.temperature) == (0, None, 1.0)
    judged = bayespeft.fit(mlp, train, "mle", validation=validation, **brief)
    assert judged.history.ended.held_out == 200
    assert judged.temperature > 4


def test_labels_that_are_noise_stop_early_and_are_predicted_as_noise(mlp):
    train, test = points(300, 1.0), points(400, 1.0, seed=1)
    free = bayespeft.fit(mlp, train, "mle", train=FREE, **OPTIONS)
    long = bayespeft.fit(mlp, train, "mle", train=FREE.replace(steps=400, calibrate=False), **OPTIONS)
    found, worse = free.report(test, quotes=0), long.report(test, quotes=0)
    assert found.nll.value < math.log(3) + 0.05
    assert worse.nll.value > found.nll.value + 0.05
    assert free.history.ended.held_out == 300
    assert free.history.ended.folds == FOLDS
    assert free.history.ended.temperature == free.temperature


def test_labels_that_are_clear_are_learned(mlp):
    posterior = bayespeft.fit(mlp, points(150, 0.0), "map", train=FREE.replace(most_steps=250), **OPTIONS)
    report = posterior.report(points(400, 0.0, seed=1), quotes=0)
    assert report.accuracy.value > 0.85
    assert report.ece.value < 0.1
    assert posterior.history.steps == posterior.history.ended.steps
    assert len(posterior.history.ended.curve) > 3


def test_the_temperature_is_that_of_the_rows_held_out(mlp):
    """With validation data nothing is cross-fitted: the best state is kept, and its temperature is theirs."""
    train, validation = points(120, 0.4), points(300, 0.4, seed=1)
    settings = FREE.replace(kl_pace=0, kl_weights=())  # as a run of a given length has it
    posterior = bayespeft.fit(mlp, train, "melora", train=settings, validation=validation, **OPTIONS)
    draws = DRAWS
    found = replace(posterior, temperature=1.0).predict(validation, draws=draws, keep_draws=True)
    exact = fit_temperature(found.tempered_nll)
    assert posterior.temperature == pytest.approx(exact, rel=0.03)
    ended = posterior.history.ended
    assert (ended.folds, ended.held_out, ended.search_steps) == (1, 300, 0)
    at = [record.step for record in posterior.history.records if record.validation].index(ended.steps)
    lowest = min(tempered_nlls(found.tempered_nll))
    assert ended.curve[at][1] == pytest.approx(lowest, abs=1e-6)
    # The state is that of the same run, had it been told to end there.
    same = FREE.replace(steps=ended.steps, span=module.resolved(FREE, 1).span, lr_schedule="constant")
    again = bayespeft.fit(mlp, train, "melora", train=same, **OPTIONS)
    for name, mean in posterior.joint_guide.mean().items():
        torch.testing.assert_close(mean, again.joint_guide.mean()[name])


def test_a_curve_over_temperatures_gives_its_lowest_point():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 500, 3, generator=generator)
    labels = torch.multinomial((logits.mean(0) / 2).softmax(-1), 1, generator=generator)[:, 0]
    nll = drawn(torch.log_softmax(logits, -1), labels).tempered_nll
    assert best_temperature(tempered_nlls(nll), 10**6) == pytest.approx(fit_temperature(nll), rel=0.02)
    # Of few rows it is drawn to 1: the mode of ln T under N(0, 1/4), the curve as that of so many rows.
    grid = [n + math.log(t) ** 2 / (2 * 50 * 0.25) for n, t in zip(tempered_nlls(nll), GRID, strict=True)]
    assert best_temperature(tempered_nlls(nll), 50) == pytest.approx(GRID[int(np.argmin(grid))], rel=0.06)
    assert 1 < best_temperature(tempered_nlls(nll), 50) < 0.9 * fit_temperature(nll)
    assert best_temperature(list(np.arange(len(GRID))), 10**6) == GRID[0]
    # One class, or probabilities that have all rounded to one, say nothing for a temperature.
    # One row that is right says little: without a belief about T it would ask for the least there is.
    right = tempered_nlls(drawn(torch.tensor([[[2.0, 0.0, 0.0]]]), torch.tensor([0])).tempered_nll)
    assert GRID[0] < best_temperature(right, 1) < 1
    assert best_temperature([0.3] * len(GRID), 100) == pytest.approx(1)
    assert best_temperature([0.0] * 20 + [1e-9] * (len(GRID) - 20), 100) == pytest.approx(1)
    assert best_temperature(list(-np.arange(len(GRID))), 10**6) == GRID[-1]


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(mlp, tmp_path):
    data = points(60, 0.2)
    options = {**OPTIONS, "train": FREE.replace(most_steps=60)}
    whole = bayespeft.fit(mlp, data, "melora", **options)
    real, calls = module.run_free, []

    class Killed(Exception):
        pass

    def dying(problem, once, *rest):
        def counted(*args, **more):
            calls.append(1)
            if len(calls) == 3:
                raise Killed
            return once(*args, **more)

        return real(problem, counted, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayespeft.training.trainer.run_free", dying)
        with pytest.raises(Killed):
            bayespeft.fit(mlp, data, "melora", **options, checkpoint=tmp_path, checkpoint_every=25)
    again = bayespeft.fit(mlp, data, "melora", **options, checkpoint=tmp_path, checkpoint_every=25)
    assert again.temperature == whole.temperature
    for name, mean in whole.joint_guide.mean().items():
        assert torch.equal(mean, again.joint_guide.mean()[name])


def test_what_it_learned_is_saved_with_the_posterior(mlp, tmp_path):
    posterior = bayespeft.fit(mlp, points(60, 0.2), "melora", train=FREE.replace(most_steps=60), **OPTIONS)
    posterior.save(tmp_path / "p")
    again = bayespeft.load(tmp_path / "p", mlp)
    assert again.history.ended == posterior.history.ended
    assert again.temperature == posterior.temperature


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("rosa_subspace", {"adapter": RandomSubspace(r=3)}),
        ("ivon", {}),
        ("melora", {"train": FREE.replace(layers_at_once=1)}),
    ],
)
def test_runs_that_can_t_be_repeated_on_parts_say_so(method, more, mlp):
    with pytest.raises(ConfigError, match=r"leaves the number of steps to the run|Set epochs="):
        bayespeft.fit(mlp, points(60, 0.0), method, **{"train": FREE, **OPTIONS, **more})


def test_epochs_that_the_user_sets_take_the_place_of_auto():
    assert TrainConfig(epochs=2).over(FREE).steps is None
    assert TrainConfig(lr=1).over(FREE).steps == "auto"
    assert TrainConfig(epochs=2, steps="auto").over(TrainConfig()).steps == "auto"


class Times(nn.Module):
    """Makes features larger between body and head."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def forward(self, x):
        return self.size * x


@pytest.mark.parametrize("method", ["melora", "map", "laplace_lora"])
def test_features_that_are_ten_times_as_large_give_the_same_fit(method, bert, tokenizer, sentences):
    nn.init.zeros_(bert.classifier.weight)
    probs = []
    for size in (1.0, 10.0):
        bert.dropout = Times(size)
        posterior = bayespeft.fit(
            bert, sentences, method, tokenizer=tokenizer, train=TrainConfig(steps=60), progress=False
        )
        probs.append(posterior.predict(sentences).probs)
    assert (probs[0] - 0.5).abs().max() > 0.1
    torch.testing.assert_close(*probs, atol=2e-3, rtol=0)
