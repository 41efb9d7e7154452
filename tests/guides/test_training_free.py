"""TFB: the turned factors are the same network, the noise is isotropic where it should be, and the search is honest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.lora import Lora
from bayespeft.data.source import source_of
from bayespeft.errors import ConfigError, FitError, GuideError
from bayespeft.fitting.assemble import assemble
from bayespeft.guides.training_free import TrainingFree, largest, nll, turn
from bayespeft.layers.factors import StackedFactor
from bayespeft.methods.tfb import METHOD
from bayespeft.priors.flat import Flat
from bayespeft.training.trainer import Trainer

TRAIN = TrainConfig(steps=80, lr=1e-2)
OPTIONS = {"targets": "all-linear", "train": TRAIN, "progress": False}


@pytest.fixture
def mle(mlp, xy):
    return bayespeft.fit(mlp, xy, "mle", adapter=Lora(r=2), **OPTIONS)


def stacks(a: torch.Tensor, b: torch.Tensor) -> tuple[list[StackedFactor], dict[str, torch.Tensor]]:
    """Two layers; the stacks list them in different orders, as stacks of different shapes may."""
    values = {"A": torch.stack([a, 2 * a]), "B": torch.stack([3 * b, b])}
    made = [
        StackedFactor("A", "A", ("x", "y"), "latent", values["A"], Flat(), torch.zeros_like(values["A"])),
        StackedFactor("B", "B", ("y", "x"), "point", values["B"], Flat(), torch.zeros_like(values["B"])),
    ]
    return made, values


def product(values: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    return values["B"]["yx".index(layer)].double() @ values["A"]["xy".index(layer)].double()


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_turning_keeps_the_function_and_makes_columns_orthogonal(r, m, n, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(r, n, generator=generator), torch.randn(m, r, generator=generator)
    made, values = stacks(a, b)
    turned, inverse = turn(values, made)
    assert {name: value.shape for name, value in turned.items()} == {name: v.shape for name, v in values.items()}
    for layer in "xy":
        torch.testing.assert_close(product(turned, layer), product(values, layer), atol=1e-5, rtol=1e-5)
        row_a, row_b = "xy".index(layer), "yx".index(layer)
        gram = turned["B"][row_b].T @ turned["B"][row_b]
        d = torch.linalg.svdvals(values["B"][row_b])
        whole = torch.cat([d, torch.zeros(r - len(d))])
        torch.testing.assert_close(gram, torch.diag(whole**2), atol=1e-4 * float(d[0]) ** 2, rtol=0)
        used = whole > 1e-3 * whole[0]
        torch.testing.assert_close(1 / inverse["A"][row_a][used], whole[used], rtol=1e-3, atol=0)
        assert torch.isfinite(inverse["A"]).all()


def test_a_layer_whose_b_is_zero_is_left_as_it_is_to_the_network():
    made, values = stacks(torch.ones(2, 3), torch.zeros(4, 2))
    turned, inverse = turn(values, made)
    assert torch.equal(turned["B"], torch.zeros(2, 4, 2))
    assert torch.equal(inverse["A"], torch.ones(2, 2))


def test_noise_in_the_weight_is_isotropic_in_the_space_of_b(mle, mlp, xy):
    """Cov(vec dW) = s^2 sigma^2 I_n kron U U^T."""
    posterior = bayespeft.fit(mlp, xy, METHOD, start=mle, progress=False)
    joint_guide = posterior.joint_guide
    sigma = float(joint_guide.latent.sigma)
    for stack in joint_guide.stacks:
        if stack.factor != "B":
            continue
        for row, layer in enumerate(stack.layers):
            b = joint_guide.mean()[stack.name][row].detach().double()
            other = next(p for p in joint_guide.stacks if p.factor == "A" and layer in p.layers)
            std = joint_guide.latent.std()[other.name][other.layers.index(layer)].detach().double()
            for column in range(std.shape[1]):
                found = (16 / 2) ** 2 * (b * std[:, column] ** 2) @ b.T
                u = torch.linalg.svd(b, full_matrices=False).U
                torch.testing.assert_close(found, (16 / 2) ** 2 * sigma**2 * u @ u.T, rtol=1e-4, atol=1e-6 * sigma**2)


def test_the_mean_predicts_as_the_start(mle, mlp, xy):
    posterior = bayespeft.fit(mlp, xy, METHOD, start=mle, progress=False)
    found, before = (fit.predict(xy, draws=0).log_probs for fit in (posterior, mle))
    torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-5)
    assert posterior.history.steps == 0
    assert float(posterior.predict(xy).mutual_information.mean()) > 0


@pytest.mark.parametrize("seed", [0, 3])
def test_sigma_is_accepted_and_the_next_one_is_not(mle, mlp, xy, seed):
    spec = TrainingFree(tolerance=0.01, halvings=7)
    method = METHOD.replace(guide=spec)
    with assemble(mlp, source_of(xy), method, targets="all-linear", start=mle, seed=seed) as assembly:
        problem = assembly.problem
        guide = problem.joint_guide.latent
        guide.fit(Trainer(problem))
        limit = 1.01 * nll(problem.predict(0))
        sigma = float(guide.sigma)
        assert 1e-4 < sigma < 1
        assert nll(problem.predict(10, seed)) <= limit
        guide.sigma.fill_(sigma * 1e4 ** (2.0**-7))
        assert nll(problem.predict(10, seed)) > limit


def test_more_tolerance_gives_more_spread(mle, mlp, xy):
    sigmas = [
        float(
            bayespeft.fit(
                mlp, xy, METHOD.replace(guide=TrainingFree(tolerance=tolerance)), start=mle, progress=False
            ).joint_guide.latent.sigma
        )
        for tolerance in (1e-3, 1e-2, 1e-1, 1.0)
    ]
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] > 3 * sigmas[0]


@given(st.floats(1e-3, 10), st.integers(1, 20))
def test_the_search_returns_the_accepted_end(threshold, halvings):
    tried = {}

    def accepted(value: float) -> bool:
        tried[value] = value <= threshold
        return tried[value]

    found = largest(accepted, 1e-3, 10.0, halvings)
    assert tried[found]
    assert found == 10.0 or threshold < found * 1e4 ** (2.0**-halvings) * (1 + 1e-9)
    assert len(tried) <= halvings + 2


def test_a_tolerance_that_nothing_meets_is_an_error():
    with pytest.raises(FitError, match=r"even sigma_q=0\.1 raises"):
        largest(lambda _: False, 0.1, 1.0, 3)


@pytest.mark.parametrize("bracket", [(0.0, 1.0), (1.0, 0.5)])
def test_a_bracket_goes_up(bracket):
    with pytest.raises(ConfigError, match="bracket must be"):
        TrainingFree(bracket=bracket)


@pytest.mark.parametrize("adapter", ["core", "scaled_rows", "frozen_core", Lora(r=2, latent=("A", "B"))])
def test_other_adapters_have_no_such_factors(mlp, xy, adapter):
    if isinstance(adapter, str):
        adapter = bayespeft.registry.get("adapters", adapter)(r=2)
    with pytest.raises(GuideError, match=r"needs an adapter with the factors A \(latent\), B \(point\)"):
        bayespeft.fit(mlp, xy, METHOD, adapter=adapter, **OPTIONS)


def test_without_a_start_it_trains_by_maximum_likelihood(mle, mlp, xy):
    posterior = bayespeft.fit(mlp, xy, METHOD, adapter=Lora(r=2), **OPTIONS)
    assert posterior.history.steps == 80
    found, before = (fit.predict(xy, draws=0).log_probs for fit in (posterior, mle))
    torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-5)


def test_every_sigma_is_tried_on_the_same_rows_of_a_sampler_that_draws_with_replacement(mlp, xy):
    """Other rows at every try would move the NLL by more than the tolerance, whatever sigma is."""
    sampler = WeightedRandomSampler(torch.ones(60), 60)
    train = TrainConfig(steps=2, batch_size=16)
    loader = DataLoader(TensorDataset(*xy), 16, sampler=sampler)
    posterior = bayespeft.fit(mlp, loader, "tfb", targets="all-linear", train=train, progress=False)
    assert METHOD.guide.bracket[0] <= float(posterior.joint_guide.latent.sigma) <= METHOD.guide.bracket[1]
