"""Predictions to reports: what a prediction does not know stays unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.report.predictions import predictive


@pytest.mark.parametrize("draws", [0, 1])
def test_one_network_says_nothing_of_mutual_information(draws):
    one = replace(predictive(np.log([[0.7, 0.3], [0.2, 0.8]]), [0, 1]), draws=draws)
    report = replace(one, expected_entropy=one.entropy).report(resamples=10)
    assert report.mutual_information is None
    (line,) = (line for line in str(report).splitlines() if line.startswith("Mutual information"))
    assert line.split()[2] == "-"


def test_several_draws_have_a_mutual_information():
    logs = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]], dtype=torch.float64).log()
    entropy = -(logs.exp() * logs).sum(-1).mean(0)
    found = replace(predictive(logs.exp().mean(0).log(), [0]), draws=2, expected_entropy=entropy)
    low = found.report(resamples=10)
    assert low.mutual_information == pytest.approx(np.log(2) - float(entropy[0]))
    # Nobody says what two draws lack; where somebody does, the figure is no lower estimate.
    assert low.information_is_low
    assert "epistemic part of the entropy; a lower estimate" in str(low)
    known = replace(found, information_bias=torch.tensor([0.1], dtype=torch.float64)).report(resamples=10)
    assert known.mutual_information == pytest.approx(low.mutual_information + 0.1)
    assert not known.information_is_low
    assert "lower estimate" not in str(known)
    assert known == type(known).from_dict(known.to_dict())


def test_a_prediction_tells_its_size_and_not_its_tensors():
    found = predictive(np.log([[0.7, 0.3], [0.2, 0.8]]), [0, 1])
    assert repr(replace(found, draws=10)) == (
        "Predictive(2 examples, 10 draws; probs (2, 2); entropy (2,); mutual_information (2,))"
    )
