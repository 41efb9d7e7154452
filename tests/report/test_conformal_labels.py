"""Sets of labels hold all labels as often as promised, and not much more often."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayespeft.errors import ConfigError, DataError
from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.multi_label import MultiLabelAverage, MultiLabelPredictive
from bayespeft.report import ConformalLabels, LabelSetsReport
from tests.report.predictions import Never


def predictions(n: int, seed: int, labelled: bool = True, labels: int = 4) -> MultiLabelPredictive:
    """Labels of a law that the predicted one knows in part only."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, labels, generator=generator, dtype=torch.double) - 1
    truth = logits + torch.randn(n, labels, generator=generator, dtype=torch.double)
    y = (torch.rand(n, labels, generator=generator, dtype=torch.double) < truth.sigmoid()).float()
    average = MultiLabelAverage(n)
    average.begin(1)
    average.add(logits[None], Rows(torch.arange(n), y if labelled else None), 0)
    return average.result(Cost(1, 1, 0.0))


@pytest.mark.parametrize("per", ["all", "class"])
def test_the_promise_is_kept_over_validation_sets_and_new_examples(per):
    """Coverage over repeated worlds: at least 1 - alpha, and at most 1 / (n + 1) more."""
    held = []
    for seed in range(300):
        sets = ConformalLabels.fit(predictions(79, 2 * seed), Never(), alpha=0.1, per=per)
        new = predictions(50, 2 * seed + 1)
        inside, y = sets.sets(new), new.labels.numpy() == 1
        held.append((inside | ~y).all(1).mean() if per == "all" else inside[y].mean())
    error = np.std(held) / len(held) ** 0.5
    # Of each label there are about 25 examples: the bound is that of the fewest.
    assert 0.9 - 4 * error < np.mean(held) < 0.9 + (1 / 80 if per == "all" else 1 / 15) + 4 * error


def test_a_report_says_what_sets_did():
    sets = ConformalLabels.fit(predictions(500, 0), Never(), alpha=0.2)
    new = predictions(400, 1)
    report = sets.report(new, resamples=50)
    inside, y = sets.sets(new), new.labels.numpy() == 1
    assert report.coverage.value == pytest.approx((inside | ~y).all(1).mean())
    assert report.size.value == pytest.approx(inside.sum(1).mean())
    assert report.by_label[2].value == pytest.approx(inside[y[:, 2], 2].mean())
    assert "hold all labels of" in str(report)
    assert LabelSetsReport.from_json(report.to_json()) == report
    nested = ConformalLabels.fit(predictions(500, 0), Never(), alpha=0.05).sets(new)
    assert (nested >= inside).all()


def test_few_examples_leave_nothing_out():
    sets = ConformalLabels.fit(predictions(5, 0), Never(), alpha=0.05)
    assert sets.sets(predictions(7, 1)).all()


def test_what_can_not_be_used_is_refused():
    with pytest.raises(DataError, match="a conformal set needs labels"):
        ConformalLabels.fit(predictions(20, 0, labelled=False), Never())
    with pytest.raises(ConfigError, match="sets of labels are made by 'lac'"):
        predictions(20, 0).conformal(Never(), alpha=0.1, method="aps")
    with pytest.raises(ConfigError, match="was predicted with 3 labels, and validation data with 4"):
        predictions(20, 0).conformal(Never(), alpha=0.1).sets(predictions(20, 1, labels=3))
    without = predictions(20, 0)
    without.labels.zero_()
    with pytest.raises(ConfigError, match="alpha is 7"):
        ConformalLabels.fit(without, Never(), alpha=7, per="class")
    with pytest.raises(ConfigError, match="fitted on a prediction of labels"):
        ConformalLabels.fit(None, Never())
