"""Networks whose outputs are no logits, or no function of their input, are told so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bayespeft
from bayespeft import TrainConfig
from bayespeft.errors import AttachError, DataError
from bayespeft.likelihoods.multi_label import MultiLabel


def fit(network: nn.Module, data: Any, method: str = "melora", **options: Any) -> bayespeft.Posterior:
    train = TrainConfig(steps=2)
    return bayespeft.fit(network, data, method, targets="all-linear", train=train, progress=False, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_are_no_logits(mlp, xy, dtype):
    """A softmax of a softmax is never sure of anything: nothing failed, and nothing was learned."""
    network, data = nn.Sequential(*mlp, nn.Softmax(-1)).to(dtype), (xy[0].to(dtype), xy[1])
    with pytest.raises(
        AttachError, match=r"probabilities of each row, which sum to 1.*take the softmax at its end off"
    ):
        fit(network, data)
    assert fit(nn.Sequential(*mlp, nn.LogSoftmax(-1)), (xy[0].float(), xy[1])).classes == 3  # is as good as logits


def test_a_sigmoid_is_no_logit_of_labels(mlp, xy):
    labels = nn.functional.one_hot(xy[1], 3)
    with pytest.raises(AttachError, match=r"gives probabilities.*take the sigmoid at its end off"):
        fit(nn.Sequential(*mlp, nn.Sigmoid()), (xy[0], labels), likelihood=MultiLabel())
    with torch.no_grad():
        mlp[4].weight.mul_(1e-3)
        mlp[4].bias.fill_(0.5)  # logits that happen to lie between 0 and 1
    assert fit(mlp, (xy[0], labels), likelihood=MultiLabel()).classes == 3


def test_one_output_for_two_classes_says_what_it_can_be(xy):
    network, labels = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)), (xy[1] > 0).long()
    with pytest.raises(DataError, match=r"two outputs \(num_labels=2\).*likelihood='multi_label'.*\(n, 1\)"):
        fit(network, (xy[0], labels))
    assert fit(network, (xy[0], labels[:, None]), likelihood="multi_label").classes == 1


class Noisy(nn.Module):
    """Has dropout that nobody can switch off."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.first, self.last, self.always = nn.Linear(5, 12), nn.Linear(12, 3), always

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.dropout(self.first(x), 0.5, self.training or self.always))


@pytest.mark.parametrize("method", ["melora", "mle"])
def test_a_network_that_draws_random_numbers_in_evaluation_is_refused(xy, method):
    with pytest.raises(AttachError, match=r"Noisy gives other outputs for the same input each time.*self\.training"):
        fit(Noisy(always=True), xy, method)
    posterior = fit(Noisy(always=False), xy, method)
    assert torch.equal(posterior.predict(xy).probs, posterior.predict(xy).probs)


def test_features_that_make_every_prediction_certain_are_told_of(mlp, xy):
    """With features as they came, one of them in the hundred thousands, the default call was worse than the base rates."""
    network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
    scale = torch.tensor([1.0, 1e5, 1.0, 1.0, 1.0])
    with pytest.warns(
        UserWarning, match=r"logits as large as .* of inputs as large as .*e\+0[45], .* standard deviation"
    ):
        fit(network, (xy[0] * scale, xy[1]))
    fit(network, xy)
    standardised = nn.Sequential(nn.BatchNorm1d(5), *network)
    for _ in range(100):  # until it knows the features' mean and variance
        standardised(xy[0] * scale)
    fit(standardised, (xy[0] * scale, xy[1]))
