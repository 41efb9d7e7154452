"""The Fastfood projection and the adapter on top of it: linear, norm-preserving, reproducible, and never a D x d matrix."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as sylvester
from torch.func import jacrev, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import bayespeft
from bayespeft import TrainConfig
from bayespeft.adapters.fastfood import Fastfood, hadamard
from bayespeft.adapters.intrinsic import Intrinsic
from bayespeft.errors import GuideError
from bayespeft.guides.mean_field import MeanField
from bayespeft.layers.weights import Flipped, Grouped, Shared
from bayespeft.methods.base import Method
from bayespeft.priors.normal import Normal
from tests.adapters.helpers import a_layer, random_values

CPU = torch.device("cpu")
sizes = st.integers(1, 40)
seeds = st.integers(0, 1000)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64, 256])
def test_the_transform_is_sylvesters_matrix(size):
    x = randn(3, 2, size)
    matrix = torch.from_numpy(sylvester(size).astype(np.float64))
    torch.testing.assert_close(hadamard(x), x @ matrix.T)
    torch.testing.assert_close(vmap(hadamard)(x), x @ matrix.T)
    torch.testing.assert_close(jacrev(hadamard)(x[0, 0]), matrix)


def test_the_transform_can_be_differentiated_twice():
    x = randn(8).requires_grad_()
    assert torch.autograd.gradcheck(hadamard, x)
    assert torch.autograd.gradgradcheck(lambda v: hadamard(v) ** 2, x)


@pytest.mark.parametrize("size", [2, 32, 64, 1024, 4096])
def test_products_and_additions_are_the_same_transform(size):
    """Products where they are exact, additions where a caller lets them be rounded."""
    x = randn(3, size).float()
    products = hadamard(x)
    torch.set_float32_matmul_precision("medium")
    try:
        additions = hadamard(x)
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(products, additions, rtol=1e-5, atol=1e-5 * size**0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hadamard(x), products)


def test_numbers_of_less_precision_stay_what_they_are():
    x = randn(2, 64).bfloat16()
    assert hadamard(x).dtype == torch.bfloat16
    torch.testing.assert_close(hadamard(x).float(), hadamard(x.float()), rtol=0.05, atol=0.5)


@given(sizes, sizes, seeds)
def test_gradients_of_the_projection_are_its_transpose(d, size, seed):
    p = Fastfood.draw(d, size, seed, CPU)
    theta, weights = randn(2, d, seed=seed).requires_grad_(), randn(2, size, seed=seed + 1)
    (found,) = torch.autograd.grad((p(theta) * weights).sum(), theta)
    torch.testing.assert_close(found, weights @ dense(d, size, seed))


@pytest.mark.parametrize("size", [0, 3, 12])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="power of two"):
        hadamard(torch.zeros(2, size))


def dense(d: int, size: int, seed: int) -> torch.Tensor:
    """H G Pi H B, its first rows, from the definition."""
    p = Fastfood.draw(d, size, seed, CPU)
    h = torch.from_numpy(sylvester(len(p.order)).astype(np.float64))
    permutation = torch.eye(len(p.order), dtype=torch.double)[p.order.long()]
    return (h @ p.gains.double().diag() @ permutation @ h)[:size, :d] * p.signs


@given(sizes, sizes, seeds)
def test_projection_is_the_product_of_its_definition(d, size, seed):
    theta = randn(2, 3, d, seed=seed)
    found = Fastfood.draw(d, size, seed, CPU)(theta)
    torch.testing.assert_close(found, theta @ dense(d, size, seed).T)


@given(sizes, sizes, seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_projection_is_linear_and_zero_at_zero(d, size, seed, a, b):
    p = Fastfood.draw(d, size, seed, CPU)
    x, y = randn(2, d, seed=seed)
    torch.testing.assert_close(p(a * x + b * y), a * p(x) + b * p(y))
    assert not p(torch.zeros(d)).any()


@pytest.mark.parametrize(("d", "size"), [(5, 24), (16, 16), (30, 7), (1, 100)])
def test_projection_keeps_the_squared_norm_in_expectation(d, size):
    theta = randn(d)
    norms = torch.stack([Fastfood.draw(d, size, seed, CPU)(theta).square().sum() for seed in range(500)])
    standard_error = norms.std() / len(norms) ** 0.5
    assert abs(norms.mean() - theta.square().sum()) < 4 * standard_error
    # Otherwise any mean would pass.
    assert standard_error < 0.15 * theta.square().sum()


def test_seeds_decide_and_columns_are_different():
    first, again, other = (Fastfood.draw(10, 50, seed, CPU)(torch.eye(10)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.linalg.matrix_rank(first.double()) == 10


class Largest(TorchDispatchMode):
    """Remembers the elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_nothing_is_larger_than_the_padded_layer():
    layer, adapter = a_layer(40, 50), Intrinsic(d=500)
    values = {k: f.init.requires_grad_() for k, f in adapter.factors(layer, torch.Generator()).items()}
    x = torch.randn(3, 50)
    with Largest() as largest:
        y = adapter.apply({k: Shared(v) for k, v in values.items()}, x, torch.zeros(3, 40), layer)
        y.square().sum().backward()
    assert largest.elements == 2048  # the next power of two after 40 x 50; a dense projection has 1,000,000


class TestIntrinsic:
    def test_a_layer_changes_by_the_norm_of_theta_in_expectation(self):
        theta, changes = randn(20), []
        for seed in range(400):
            adapter, layer = Intrinsic(d=20, scale="one", seed=seed), a_layer(4, 6)
            changes.append(adapter.delta({"theta": theta}, layer).square().sum())
        changes = torch.stack(changes)
        assert abs(changes.mean() - theta.square().sum()) < 4 * changes.std() / 400**0.5

    def test_layers_have_projections_of_their_own_that_names_and_seeds_decide(self, mlp):
        layers = [
            s for s in bayespeft.layers.layer.all_layers(mlp).values() if (s.out_features, s.in_features) == (12, 12)
        ]
        layer, other = a_layer(12, 12), layers[0]
        theta = {"theta": randn(7)}
        first = Intrinsic(d=7, scale="one").delta(theta, layer)
        assert torch.equal(first, Intrinsic(d=7, scale="one").delta(theta, a_layer(12, 12, seed=5)))
        assert not torch.allclose(first, Intrinsic(d=7, scale="one").delta(theta, other))
        assert not torch.allclose(first, Intrinsic(d=7, scale="one", seed=1).delta(theta, layer))

    def test_the_start_is_live(self):
        layer, adapter = a_layer(5, 4), Intrinsic(d=3)
        values = {k: f.init.clone().requires_grad_() for k, f in adapter.factors(layer, torch.Generator()).items()}
        y = adapter.apply({k: Shared(v) for k, v in values.items()}, torch.randn(6, 4), torch.zeros(6, 5), layer)
        assert not y.any()
        (y * torch.randn(6, 5)).sum().backward()
        assert values["theta"].grad.abs().min() > 0

    def test_scale_one_has_no_scale(self):
        assert set(Intrinsic(scale="one").factors(a_layer(5, 4), torch.Generator())) == {"theta"}

    def test_signs_for_each_example_are_a_network_for_each_example(self):
        layer, adapter = a_layer(5, 4), Intrinsic(d=6, scale="one")
        mean, deviation = randn(2, 6)
        signs = randn(3, 6, seed=1).sign()
        x = randn(3, 2, 4)
        y = adapter.apply({"theta": Flipped(mean, deviation, None, signs)}, x, torch.zeros(3, 2, 5).double(), layer)
        for i in range(3):
            expected = x[i] @ adapter.delta({"theta": mean + deviation * signs[i]}, layer).T
            torch.testing.assert_close(y[i], expected)

    def test_draws_of_theta_and_scale_are_folded(self):
        layer, adapter = a_layer(5, 4), Intrinsic(d=6)
        draws = [random_values(adapter, layer, seed) for seed in (1, 2)]
        x = randn(4, 3, 4)
        y = adapter.apply(
            {k: Grouped(torch.stack([d[k] for d in draws])) for k in draws[0]}, x, torch.zeros(4, 3, 5).double(), layer
        )
        for row in range(4):
            torch.testing.assert_close(y[row], x[row] @ adapter.delta(draws[row // 2], layer).T)

    def test_a_mean_field_posterior_is_saved_without_a_projection(self, bert, tokenizer, sentences, tmp_path):
        method: Method = bayespeft.methods()["intrinsic"].replace(
            adapter=Intrinsic(d=40, seed=3), guide=MeanField(noise="batch"), latent_prior=Normal(scale=1.0)
        )
        options = {"tokenizer": tokenizer, "train": TrainConfig(steps=4), "progress": False}
        posterior = bayespeft.fit(bert, sentences, method, **options)
        layers = len(posterior.placements) - 1
        assert posterior.joint_guide.trainable() == 2 * 40 + layers + 2 * 16 + 2
        posterior.save(tmp_path / "out")
        assert (tmp_path / "out" / "posterior.safetensors").stat().st_size < 5000
        loaded = bayespeft.load(tmp_path / "out", copy.deepcopy(bert), tokenizer=tokenizer)
        a, b = (p.predict(sentences, draws=4, seed=1).log_probs for p in (posterior, loaded))
        assert torch.equal(a, b)

    def test_it_learns(self, mlp, xy):
        options = {"adapter": Intrinsic(d=60), "targets": "all-linear", "progress": False}
        train = TrainConfig(steps=150, lr=0.03)
        posterior = bayespeft.fit(mlp, xy, "intrinsic", train=train, **options)
        before, after = (float(posterior.history.records[i].nll) for i in (0, -1))
        assert after < 0.5 * before

    def test_signs_for_each_token_are_refused(self, mlp, xy):
        with pytest.raises((GuideError, TypeError), match="noise='example' or noise='batch'"):
            bayespeft.fit(mlp, xy, "blob_official", adapter=Intrinsic(d=5), targets="all-linear", progress=False)
