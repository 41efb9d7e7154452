"""Several labels an example, each averaged over draws by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bayespeft.predictive.average import Cost, Rows
from bayespeft.predictive.multi_label import MultiLabelAverage


def test_probabilities_are_averaged_over_draws_in_log_space():
    logits = torch.tensor([[[-800.0, 3.0]], [[-900.0, -3.0]]], dtype=torch.double)
    average = MultiLabelAverage(1, keep=True)
    average.begin(2)
    average.add(logits, Rows(torch.tensor([0]), torch.tensor([[1.0, 0.0]])), 0)
    found = average.result(Cost(2, 2, 0.0))
    torch.testing.assert_close(found.probs[:, 1], logits.sigmoid().mean(0)[:, 1])
    half = float(np.log(2))
    assert found.log_probs[0, 0].tolist() == pytest.approx([0.0, -800 - half])
    assert float(found.log_likelihood[0]) == pytest.approx(-800 - half + np.log(0.5))
    assert float(found.mutual_information[0, 1]) > 0.4
    assert found.labels.tolist() == [[1, 0]]
