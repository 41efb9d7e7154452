"""Model averaging: equal to explicit averaging, whatever the batch size and the folding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.errors import ConfigError, FitError
from bayespeft.guides.point import Point
from bayespeft.predictive.categorical import entropy
from tests.prediction.drawn import SPEC, predictor
from tests.training.helpers import problem


@pytest.mark.parametrize("adapter", [Core(r=2), Lora(r=2)])
def test_average_equals_dense_networks_averaged_by_hand(mlp, xy, adapter):
    with problem(mlp, xy, adapter, SPEC) as p:
        result = predictor(p).run(p.examples, draws=4, seed=3, keep_draws=True)
        draws = p.joint_guide.latent.draws(4, torch.Generator().manual_seed(3))
        mean = p.joint_guide.mean()
        layers = [mlp[0], mlp[2], mlp[4]]
        names = ["0", "2", "4"]
        by_hand = []
        for d in range(4):
            h = xy[0]
            for layer, name in zip(layers, names, strict=True):
                values = {}
                for stack in p.joint_guide.stacks:
                    if name in stack.layers:
                        stacked = draws[stack.name][d] if stack.name in draws else mean[stack.name]
                        values[stack.factor] = stacked[stack.layers.index(name)]
                h = torch.nn.functional.linear(h, layer.weight + adapter.delta(values, None), layer.bias)
                h = h if name == "4" else torch.tanh(h)
            by_hand.append(torch.softmax(h, -1))
        by_hand = torch.stack(by_hand).detach().double()
        torch.testing.assert_close(result.probs, by_hand.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(result.draw_log_probs.exp().double(), by_hand, atol=1e-5, rtol=1e-4)
        h = -torch.xlogy(by_hand, by_hand).sum(-1).mean(0)
        torch.testing.assert_close(result.expected_entropy, h, atol=1e-4, rtol=1e-4)
        bias = (by_hand.var(0) / by_hand.mean(0)).sum(-1) / 8
        torch.testing.assert_close(result.information_bias, bias, atol=1e-4, rtol=1e-3)
        information = entropy(by_hand.mean(0).log()) - h + bias
        torch.testing.assert_close(result.mutual_information, information, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("sampling", "unit"), [("antithetic", 2), ("sobol", None)])
@pytest.mark.parametrize("per_pass", [1, 3])
def test_draws_that_belong_together_are_counted_together(mlp, xy, sampling, unit, per_pass):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        found = predictor(p).run(
            p.examples, draws=6, seed=0, draws_per_pass=per_pass, sampling=sampling, keep_draws=True
        )
    assert found.information_is_low == (unit is None)
    if unit is None:
        assert found.information_bias is None
        return
    pairs = found.draw_log_probs.exp().double().reshape(3, 2, *found.log_probs.shape).mean(1)
    bias = (pairs.var(0) / pairs.mean(0)).sum(-1) / 6
    torch.testing.assert_close(found.information_bias, bias, atol=1e-6, rtol=1e-3)


def test_the_first_draws_do_not_depend_on_how_many_follow(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        few = ready.run(p.examples, draws=2, seed=0, keep_draws=True)
        many = ready.run(p.examples, draws=6, seed=0, keep_draws=True)
        torch.testing.assert_close(few.draw_log_probs, many.draw_log_probs[:2])
        assert not torch.allclose(many.draw_log_probs[0], many.draw_log_probs[1])


def test_zero_draws_is_the_posterior_mean(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        result = ready.run(p.examples, draws=0, seed=0)
        p.attachment.bind(p.joint_guide.shared_weights(p.joint_guide.mean()))
        expected = torch.log_softmax(mlp(xy[0]).double(), -1).detach()
        torch.testing.assert_close(result.log_probs, expected)
        assert float(result.mutual_information.abs().max()) < 1e-9


def test_a_point_has_nothing_to_draw(mlp, xy):
    with problem(mlp, xy, Core(r=2), Point()) as p:
        result = predictor(p).run(p.examples, draws=10, seed=0)
        assert (result.draws, result.forward_passes) == (0, 1)


@pytest.mark.parametrize(("draws", "per_pass"), [(-1, "auto"), (2, 0), (2, "many")])
def test_impossible_numbers_of_draws_are_errors(mlp, xy, draws, per_pass):
    with problem(mlp, xy, Core(r=2), SPEC) as p, pytest.raises(ConfigError, match=r"draws"):
        predictor(p).run(p.examples, draws=draws, seed=0, draws_per_pass=per_pass)


@pytest.mark.parametrize("draws", [True, False, 2.5, 0.0, None])
def test_what_is_no_whole_number_of_draws_is_an_error(mlp, xy, draws):
    with problem(mlp, xy, Core(r=2), SPEC) as p, pytest.raises(ConfigError, match=f"draws={draws}: a whole number"):
        predictor(p).run(p.examples, draws=draws, seed=0)


def test_any_integer_is_a_number_of_draws(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        assert predictor(p).run(p.examples, draws=np.int64(3), seed=0).draws == 3


def test_entropy_of_certainty_is_zero_and_of_ignorance_log_k():
    certain = torch.tensor([[0.0, -math.inf]], dtype=torch.double)
    assert float(entropy(certain)) == 0
    assert float(entropy(torch.full((1, 4), math.log(0.25)))) == pytest.approx(math.log(4))


def test_the_network_is_back_in_its_mode_and_free_of_hooks(mlp, xy):
    mlp.train()
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        predictor(p).run(p.examples, draws=2, seed=0)
        assert mlp.training
    assert not any(module._forward_hooks for module in mlp.modules())


def test_an_output_that_is_not_a_number_is_an_error_that_names_the_row(mlp, xy):
    class Breaks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp

        def forward(self, x):
            return torch.where((x == xy[0][7]).all(-1, keepdim=True), torch.nan, self.body(x))

    with problem(Breaks(), xy, Core(r=2), SPEC) as p, pytest.raises(FitError, match="row 7 is not a number"):
        predictor(p).run(p.examples, draws=2, seed=0)
