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
    posterior = bayespeft.fit(mlp, loader, "melora", train=FREE.replace(most_steps=4000), **OPTIONS)
    ended = posterior.history.ended
    assert (ended.held_out, ended.temperature, posterior.temperature) == (0, None, 1.0)
    assert ended.reason == "settled"
    assert ended.steps == posterior.history.steps < 4000
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


def curve(*nlls):
    seen = enumerate(nlls, 1)
    return History(records=[Record(20 * k, 1.0, v, v, 0.0, 0.0, 1.0, 0.0, validation={"nll": v}) for k, v in seen])


@pytest.mark.parametrize(
    ("nlls", "reason"),
    [
        ((0.9, 0.8), None),
        ((0.9, 0.8, 0.85), "later states were worse"),
        ((0.9, 0.8, 0.75), None),
        ((0.9, 0.505, 0.6), None),
        ((0.4, 0.5, 0.6), None),
    ],
    ids=["before the other's best", "past both", "still better by the look", "as good as the other", "ahead"],
)
def test_a_run_that_is_behind_another_and_past_its_best_gets_no_more_steps(nlls, reason):
    looked = {"looks": (), "most": 1000, "held_out": True, "labels": 1.0, "likelihood": SequenceClassification()}
    assert CurveLookout(**looked, beaten_by=(60, 0.5)).see(curve(*nlls)).reason == reason
    assert CurveLookout(**looked).see(curve(*nlls)).reason is None
