"""When a run has settled."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader, TensorDataset

import bayespeft
from bayespeft.likelihoods.sequence_classification import SequenceClassification
from bayespeft.training.history import History, Record
from bayespeft.training.lookout import CurveLookout
from tests.training.points import FREE, OPTIONS, points


def test_a_loader_trains_until_its_nll_has_settled(mlp):
    loader = DataLoader(TensorDataset(*points(96, 0.0)), batch_size=16, shuffle=True)
    posterior = bayespeft.fit(mlp, loader, "melora", train=FREE.replace(most_steps=1500), **OPTIONS)
    ended = posterior.history.ended
    assert (ended.held_out, ended.temperature, posterior.temperature) == (0, None, 1.0)
    assert ended.reason == "settled"
    assert ended.steps == posterior.history.steps < 1500
    assert str(ended) == f"settled after {ended.steps} steps"


def test_settled_does_not_look_at_other_rows(mlp):
    free = FREE.replace(steps="settled", calibrate=False)
    posterior = bayespeft.fit(mlp, points(60, 0.0), "mle", train=free, validation=points(60, 0.0, 1), **OPTIONS)
    assert posterior.history.ended.held_out == 0
    assert posterior.temperature == 1.0
    assert any(record.validation for record in posterior.history.records)


@pytest.mark.parametrize(("labels", "reason"), [(1.0, None), (4.0, "settled")])
def test_what_has_settled_is_the_nll_of_a_label_and_not_of_an_example(labels, reason):
    # A tenth of a nat an example is too much of a change; a fortieth, which each of its four labels has, is not.
    records = [Record(step, 1.0, nll, nll, 0.0, 0.0, 1.0, 0.0) for step, nll in ((200, 4.0), (400, 3.9))]
    lookout = CurveLookout((), 1000, held_out=False, labels=labels, likelihood=SequenceClassification())
    assert lookout.see(History(records=records)).reason == reason
