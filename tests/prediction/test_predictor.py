"""Model averaging: equal to explicit averaging, whatever the batch size and the folding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bayespeft.adapters.core import Core
from bayespeft.adapters.lora import Lora
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, DataError, FitError
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.prediction.predictor import Predictor
from bayespeft.predictive.categorical import entropy
from tests.training.helpers import problem

SPEC = MeanField(init_std=(0.5, 1.0))


def predictor(p) -> Predictor:
    # B starts at zero, where no draw would matter.
    with torch.no_grad():
        for name, parameter in p.joint_guide.points.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return Predictor(p)


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


@given(st.integers(1, 64), st.integers(1, 9), st.integers(1, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batch_size_and_folding_do_not_matter(mlp, xy, batch_size, per_pass, draws):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        base = ready.run(p.examples, draws=draws, seed=0, draws_per_pass=1, batch_size=60)
        other = ready.run(p.examples, draws=draws, seed=0, draws_per_pass=per_pass, batch_size=batch_size)
        torch.testing.assert_close(base.probs, other.probs, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(base.expected_entropy, other.expected_entropy, atol=1e-4, rtol=1e-4)
        assert torch.equal(base.labels, xy[1])
        assert base.forward_passes == draws


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
        p.attachment.bind(p.joint_guide.fixed_weights(p.joint_guide.mean()))
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


class Restless(Dataset):
    """The same items, in an order that is another one whenever the data is read; no seed decides it."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._x, self._y, self._turn = x, y, 0

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        self._turn += i == 0
        place = (i + self._turn) % len(self)
        return self._x[place], self._y[place]


def test_rounds_of_draws_meet_the_same_examples_in_a_loader_that_shuffles(mlp, xy):
    def shuffled(data):
        return DataLoader(data, 7, shuffle=True, generator=torch.Generator().manual_seed(0))

    options = {"draws": "auto", "seed": 0, "tolerance": 1e-9}
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        ordered = ready.run(p.examples, **options)
        found = ready.run(
            source_of(shuffled(TensorDataset(xy[0], torch.arange(60) % 2)), "train").examples(), draws=1, seed=0
        )
        assert found.labels.tolist() != (torch.arange(60) % 2).tolist()
        mixed = ready.run(source_of(shuffled(TensorDataset(*xy))).examples(), **options)
        assert mixed.draws == ordered.draws == 256
        # One function for all of the data: what it says of the data does not depend on the order.
        torch.testing.assert_close(mixed.log_likelihood.mean(), ordered.log_likelihood.mean())
        torch.testing.assert_close(mixed.probs.sort(0).values, ordered.probs.sort(0).values, atol=1e-6, rtol=1e-5)


def test_rounds_of_draws_over_data_that_does_not_stay_are_refused(mlp, xy):
    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        ready.run(source_of(Restless(*xy)).examples(), draws=16, seed=0)  # one pass needs no second
        with pytest.raises(DataError, match="batch 0 of the data is another one when it is read again"):
            ready.run(source_of(Restless(*xy)).examples(), draws="auto", seed=0, tolerance=1e-9)


def test_memory_that_several_draws_exceed_is_tried_with_one(mlp, xy):
    rows = []

    def limited(_, args):
        rows.append(len(args[0]))
        if len(args[0]) > 20:
            raise torch.OutOfMemoryError

    with problem(mlp, xy, Core(r=2), SPEC) as p:
        ready = predictor(p)
        wanted = ready.run(p.examples, draws=4, seed=0, draws_per_pass=1, batch_size=16)
        handle = mlp.register_forward_pre_hook(limited)
        try:
            found = ready.run(p.examples, draws=4, seed=0, batch_size=16)
            assert rows[0] == 64, "as many draws as are usual"
            assert set(rows[1:]) <= {16, 60 % 16}
            torch.testing.assert_close(found.probs, wanted.probs, atol=1e-6, rtol=1e-5)
            with pytest.raises(torch.OutOfMemoryError):
                ready.run(p.examples, draws=4, seed=0, batch_size=32)
        finally:
            handle.remove()
