"""The covariance of a layer's weight against closed forms (math of each adapter), the dense Jacobian, and draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import eigsh
from torch import Tensor
from torch.func import jacrev, vmap
from torch.linalg import matrix_rank

import bayespeft
from bayespeft import TrainConfig, registry
from bayespeft.adapters.attach import Placement
from bayespeft.adapters.base import Adapter
from bayespeft.adapters.core import Core
from bayespeft.adapters.frozen_core import FrozenCore
from bayespeft.adapters.lora import Lora
from bayespeft.adapters.orthonormal_core import OrthonormalCore
from bayespeft.adapters.rank_one import RankOne
from bayespeft.adapters.scaled_rows import ScaledRows
from bayespeft.analysis import weight_covariance as module
from bayespeft.analysis.weight_covariance import WeightCovariance, weight_covariance
from bayespeft.errors import ConfigError, FitError, GuideError, TargetError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.gaussian import GaussianGuide
from bayespeft.guides.low_rank import LowRank
from bayespeft.guides.matrix_normal import MatrixNormal
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.layers.factors import stack_factors
from bayespeft.priors.normal import Normal
from bayespeft.variational.joint_guide import JointGuide
from tests.adapters.helpers import a_layer, vec

WIDE = (0.1, 0.4)
SPECS = {
    "mean_field": MeanField(init_std=WIDE),
    "full": FullCovariance(init_std=WIDE),
    "low_rank": LowRank(init_std=WIDE, rank=3),
    "matrix_normal": MatrixNormal(init_std=WIDE),
}
ADAPTERS = {
    "core": Core(r=2),
    "frozen_core": FrozenCore(r=2),
    "orthonormal_core": OrthonormalCore(r=2),
    "scaled_rows": ScaledRows(r=2),
    "lora": Lora(r=2),
    "lora_both": Lora(r=2, latent=("A", "B")),
    "rank_one": RankOne(),
}
everything = [
    pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS),
    pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS),
]


class Case:
    """An joint_guide over layers "0", "1" and "2" of one shape (m, n), everything moved away from its start."""

    def __init__(self, adapter: Adapter, spec: GuideSpec, m: int = 4, n: int = 3, seed: int = 0) -> None:
        layers = {str(i): a_layer(m, n, seed + i) for i in range(3)}
        self.placements = [Placement(replace(layer, name=name), adapter) for name, layer in layers.items()]
        generator = torch.Generator().manual_seed(seed)
        factors = {p.layer.name: adapter.factors(p.layer, generator) for p in self.placements}
        normal = Normal(scale=0.5)
        stacks = stack_factors(factors, dict.fromkeys(("latent", "point", "head", "fixed"), normal))  # type: ignore[arg-type]
        self.joint_guide = JointGuide(stacks, spec, generator)
        for parameter in self.joint_guide.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
        self.adapter, self.layer = adapter, self.placements[1].layer

    @property
    def covariance(self) -> WeightCovariance:
        return weight_covariance(self.joint_guide, self.placements, "1")

    @property
    def guide(self) -> GaussianGuide:
        assert isinstance(self.joint_guide.latent, GaussianGuide)
        return self.joint_guide.latent

    def values(self) -> dict[str, Tensor]:
        """Means of the factors at layer "1", float64."""
        means = self.joint_guide.mean()
        return {p.factor: means[p.name][1].detach().double() for p in self.joint_guide.stacks}

    def std(self, factor: str) -> Tensor:
        """Standard deviations of a factor at layer "1", float64."""
        (name,) = [p.name for p in self.joint_guide.stacks if p.factor == factor]
        return self.guide.std()[name][1].detach().double()

    def dense(self) -> Tensor:
        return dense(self.joint_guide, self.placements[1])


def dense(joint_guide: JointGuide, placement: Placement) -> Tensor:
    """J Sigma J^T with the dense Jacobian J and the dense Sigma of a layer, from pushed unit vectors of noise."""
    layer, guide = placement.layer, joint_guide.latent
    rows = {p.factor: (p.name, p.layers.index(layer.name)) for p in joint_guide.stacks if layer.name in p.layers}
    means = joint_guide.mean()
    values = {factor: means[name][row].detach().double() for factor, (name, row) in rows.items()}
    with torch.no_grad():
        pushed = guide.sqrt_matvec(torch.eye(guide.noise_size))
    root = torch.zeros(layer.out_features * layer.in_features, guide.noise_size).double()
    for factor, (name, row) in rows.items():
        if name in joint_guide.random:
            jacobian = jacrev(lambda value, at=factor: vec(placement.adapter.delta({**values, at: value}, layer)))
            root += jacobian(values[factor]).flatten(1) @ pushed[name][:, row].flatten(1).double().T
    return root @ root.T


def kron(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("ij,kl->ikjl", a, b).reshape(len(a) * len(b), -1)


def close(found: Tensor, expected: Tensor) -> None:
    # Expected values come from float32 arithmetic of the guide.
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=2e-6 * float(expected.abs().max()))


@everything[0]
@everything[1]
def test_it_is_the_dense_jacobian_around_the_dense_covariance(adapter, spec):
    case = Case(adapter, spec)
    covariance, expected = case.covariance, case.dense()
    assert covariance.shape == (12, 12)
    close(covariance.dense(), expected)
    assert covariance.trace() == pytest.approx(float(expected.trace()), rel=1e-5)
    close(vec(covariance.std()), expected.diag().sqrt())
    assert covariance.exact == (adapter not in (ADAPTERS["lora_both"], ADAPTERS["rank_one"]))


@everything[0]
@everything[1]
def test_products_and_spectrum_agree_with_the_dense_matrix(adapter, spec):
    covariance = Case(adapter, spec).covariance
    dense = covariance.dense()
    vectors = torch.randn(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    torch.testing.assert_close(covariance.matmat(vectors), dense @ vectors)
    torch.testing.assert_close(covariance.matvec(vectors[:, 0]), dense @ vectors[:, 0])
    operator = covariance.as_linear_operator()
    np.testing.assert_allclose(operator @ vectors.numpy(), dense @ vectors)
    np.testing.assert_allclose(operator.rmatvec(vectors[:, 1].numpy()), dense @ vectors[:, 1])
    values, weights = covariance.top(3)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(dense).flip(0)[: len(values)])
    flat = torch.stack([vec(w) for w in weights])
    torch.testing.assert_close(dense @ flat.T, flat.T * values)
    torch.testing.assert_close(flat @ flat.T, torch.eye(len(values), dtype=torch.double))
    assert covariance.rank() == int(matrix_rank(dense, hermitian=True, rtol=1e-11))
    np.testing.assert_allclose(eigsh(operator, k=1, return_eigenvectors=False)[0], values[0])


shapes = st.integers(1, 3).flatmap(lambda r: st.tuples(st.just(r), st.integers(r, 5), st.integers(r, 5)))


@given(shapes, st.integers(0, 1000))
def test_melora(shape, seed):
    r, m, n = shape
    case = Case(Core(r=r, alpha=3.0), SPECS["mean_field"], m, n, seed)
    values, omega, s = case.values(), case.std("C"), 3.0 / r
    a, b = values["A"], values["B"]
    covariance = case.covariance
    close(covariance.dense(), s**2 * kron(a.T, b) @ vec(omega).square().diag() @ kron(a, b.T))
    close(covariance.std().square(), s**2 * b.square() @ omega.square() @ a.square())
    assert (covariance.width, covariance.rank()) == (r * r, r * r)


@given(shapes, st.integers(0, 1000))
def test_blob(shape, seed):
    r, m, n = shape
    case = Case(Lora(r=r, alpha=3.0), SPECS["mean_field"], m, n, seed)
    b, omega, s = case.values()["B"], case.std("A"), 3.0 / r
    inner = kron(torch.eye(n, dtype=torch.double), b)
    covariance = case.covariance
    close(covariance.dense(), s**2 * inner @ vec(omega).square().diag() @ inner.T)
    assert (covariance.width, covariance.rank()) == (n * r, n * r)
    columns = covariance.dense().reshape(n, m, n, m)
    assert all(not columns[i, :, j].any() for i in range(n) for j in range(n) if i != j), "columns are independent"


@given(shapes, st.integers(0, 1000))
def test_scalabl(shape, seed):
    r, m, n = shape
    case = Case(ScaledRows(r=r, alpha=3.0), SPECS["mean_field"], m, n, seed)
    values, sigma, s = case.values(), case.std("z"), 3.0 / r
    directions = torch.stack([vec(torch.outer(values["B"][:, k], values["V"][k])) for k in range(r)], 1)
    covariance = case.covariance
    close(covariance.dense(), s**2 * directions @ sigma.square().diag() @ directions.T)
    norms = values["B"].square().sum(0) * values["V"].square().sum(1)
    assert covariance.trace() == pytest.approx(float(s**2 * (sigma.square() * norms).sum()), rel=1e-5)
    assert (covariance.width, covariance.rank()) == (r, r)


def test_a_matrix_normal_core_makes_a_matrix_normal_weight():
    """W - W0 ~ MN(s B M A, s^2 B U B^T, A^T V A): Cov(vec W) = (A^T V A) kron (s^2 B U B^T)."""
    case = Case(Core(r=2, alpha=3.0), SPECS["matrix_normal"])
    a, b = case.values()["A"], case.values()["B"]
    family = case.guide.family("C_2x2")
    u, v = (tril[1].detach().double() for tril in (family.row_tril, family.column_tril))
    rows, columns = 1.5**2 * b @ u @ u.T @ b.T, a.T @ v @ v.T @ a
    covariance = case.covariance
    close(covariance.dense(), kron(columns, rows))
    assert covariance.trace() == pytest.approx(float(rows.trace() * columns.trace()), rel=1e-5)
    assert covariance.q_law is None, "elements of the core are correlated"


@pytest.mark.parametrize(("adapter", "ranks"), [(Core(r=3), (9, 6)), (Lora(r=3), (15, 10)), (ScaledRows(r=3), (3, 2))])
def test_rank_falls_with_that_of_b(adapter, ranks):
    case = Case(adapter, SPECS["mean_field"], 6, 5)
    b = case.joint_guide.points.mean()[f"B_{6}x3"]
    assert case.covariance.rank() == ranks[0]
    # For scaled rows, whose directions are b_k v_k^T, a column must vanish; for the others any dependence will do.
    b.data[1, :, 2] = 0 if isinstance(adapter, ScaledRows) else b.data[1, :, 0] - b.data[1, :, 1]
    assert case.covariance.rank() == ranks[1]


def test_b_zero_leaves_no_spread():
    case = Case(Core(r=2), SPECS["mean_field"])
    case.joint_guide.points.mean()["B_4x2"].data.zero_()
    covariance = case.covariance
    assert (covariance.rank(), covariance.trace(), covariance.exact) == (0, 0.0, True)
    values, weights = covariance.top(2)
    assert (values.shape, weights.shape) == ((0,), (0, 4, 3))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_marginal_standard_deviations_are_those_of_draws(spec):
    case, draws = Case(Core(r=2), spec), 20_000
    with torch.no_grad():
        drawn = case.joint_guide.latent.draws(draws, torch.Generator().manual_seed(0))
    values = case.values()
    cores = drawn["C_2x2"][:, 1].double()
    weights = vmap(lambda core: case.adapter.delta({**values, "C": core}, case.layer))(cores)
    squares = (weights - weights.mean(0)).square()
    error = squares.std(0) / draws**0.5
    assert ((squares.mean(0) - case.covariance.std().square()).abs() < 4.5 * error).all()


class Joint(GaussianGuide):
    """Correlations across layers and stacks: every latent shares one common standard normal; noise in its own order."""

    def __init__(self, inner: GaussianGuide) -> None:
        super().__init__(inner.stacks)
        self.loc, self.inner = inner.loc, inner
        generator = torch.Generator().manual_seed(5)
        self.common = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.randn(loc.shape, generator=generator)) for name, loc in inner.loc.items()}
        )

    def family(self, name):
        raise AssertionError("it has no distribution stack by stack")

    @property
    def noise_size(self):
        return self.inner.noise_size + 1

    def sqrt_matvec(self, noise):
        own = self.inner.sqrt_matvec(noise[..., 1:])
        return {k: v + noise[..., 0].reshape(-1, *[1] * self.common[k].dim()) * self.common[k] for k, v in own.items()}

    def sqrt_rmatvec(self, gradients):
        common = sum((g * self.common[k]).flatten(1).sum(1) for k, g in gradients.items())
        return torch.cat([common[:, None], self.inner.sqrt_rmatvec(gradients)], 1)


@pytest.mark.parametrize("adapter", [Core(r=2), Lora(r=2), Lora(r=2, latent=("A", "B"))], ids=["core", "lora", "both"])
def test_a_joint_covariance_works_through_push_and_pull_alone(adapter):
    case = Case(adapter, SPECS["mean_field"])
    case.joint_guide.latent = Joint(case.guide)
    latents = sum(p.init[0].numel() for p in case.joint_guide.stacks if p.role == "latent")
    covariance = case.covariance
    assert covariance.width == latents, "as many columns as latents, not as standard normals"
    close(covariance.dense(), case.dense())
    assert covariance.rank() == int(matrix_rank(covariance.dense(), hermitian=True, rtol=1e-11))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_is_too_large_to_be_decomposed_whole_is_iterated(spec, monkeypatch):
    case = Case(Lora(r=2), spec, 5, 6)
    whole = case.covariance
    monkeypatch.setattr(module, "GRAM_LIMIT", 4)
    large = case.covariance
    assert large.width == case.guide.noise_size // 3, "nothing is compressed"
    values, weights = large.top(4)
    torch.testing.assert_close(values, whole.eigenvalues(4))
    torch.testing.assert_close(vec(weights[0]) @ whole.dense() @ vec(weights[0]), values[0])
    with pytest.raises(ConfigError, match=r"layer '1' has \d+ directions of noise.*ask for the k largest"):
        large.rank()
    case.joint_guide.points.mean()["B_5x2"].data.zero_()
    assert len(case.covariance.eigenvalues(3)) == 0


def test_chunks_change_nothing(monkeypatch):
    case = Case(Lora(r=2), SPECS["full"])
    whole = case.covariance
    monkeypatch.setattr("bayespeft.variational.latent_root._CHUNK", 30)
    pieces = case.covariance
    for act in (WeightCovariance.dense, WeightCovariance.std, lambda c: c.top(3)[0], lambda c: c.matmat(torch.eye(12))):
        torch.testing.assert_close(act(pieces), act(whole))


@pytest.mark.parametrize("cls", [Core, FrozenCore, OrthonormalCore])
def test_q_law_of_a_fitted_core(cls):
    """Q = C A, as it stands in s B Q, has the variances of the covariance with B taken off."""
    case = Case(cls(r=2, alpha=2.0), SPECS["mean_field"])
    law = case.covariance.q_law
    assert law is not None
    a, b, s = case.adapter.to_lora({**case.values(), "C": torch.eye(2).double()}, case.layer)
    torch.testing.assert_close(law.mean, case.values()["C"] @ a)
    close(case.covariance.std().square(), s**2 * b.square() @ law.std.square())


class Other(torch.nn.Module):
    """A guide that is no Gaussian."""

    def mean(self):
        return {}


def test_errors_name_the_layer_and_the_remedy():
    case = Case(Core(r=2), SPECS["mean_field"])
    covariance = case.covariance
    with pytest.raises(TargetError, match=r"no adapted layer is called 'x'. Adapted layers: 0, 1, 2"):
        weight_covariance(case.joint_guide, case.placements, "x")
    with pytest.raises(ConfigError, match=r"dense covariance of a 4 x 3 weight takes 1,152 bytes.*dense\(limit=12\)"):
        covariance.dense(limit=11)
    with pytest.raises(ConfigError, match=r"12 = 4 x 3 numbers.*\(4, 3\)"):
        covariance.matmat(torch.ones(4, 3))
    with pytest.raises(ConfigError, match=r"stack the columns of a weight, `w\.mT\.flatten\(\)`"):
        covariance.matvec(torch.ones(4, 3))
    with pytest.raises(ConfigError, match="k=0"):
        covariance.top(0)
    case.joint_guide.latent = Other()
    with pytest.raises(GuideError, match=r"layer '1': Other is no Gaussian.*from draws"):
        _ = case.covariance
    with pytest.raises(GuideError, match=r"layer '1' has point factors only.*melora"):
        _ = Case(Core(r=2), Point()).covariance
    broken = Case(Core(r=2), SPECS["mean_field"])
    broken.joint_guide.points.mean()["B_4x2"].data[1, 0, 0] = torch.inf
    with pytest.raises(FitError, match=r"layer '1'.*not finite"):
        _ = broken.covariance


@pytest.mark.parametrize("kind", ["laplace_diagonal", "laplace_kronecker", "laplace_full", "swag", "mean_field"])
def test_fitted_posteriors_of_every_kind(kind, mlp, xy):
    guide = registry.get("guides", kind)()
    train = TrainConfig(steps=10, batch_size=16, lr=0.02)
    posterior = bayespeft.fit(mlp, xy, guide, adapter=Core(r=2), targets="all-linear", train=train, progress=False)
    covariance = posterior.weight_covariance("2")
    assert covariance.exact == (guide.covers == "latent"), "B C A is linear in C alone"
    expected = dense(posterior.joint_guide, posterior.placements[1])
    torch.testing.assert_close(covariance.dense(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_a_layer_of_a_transformer(bert, tokenizer, sentences):
    train = TrainConfig(steps=4, batch_size=8, lr=0.05)
    posterior = bayespeft.fit(bert, sentences, tokenizer=tokenizer, train=train, progress=False)
    covariance = posterior.weight_covariance("bert.encoder.layer.1.attention.self.value")
    assert (covariance.shape, covariance.width, covariance.exact) == ((256, 256), 64, True)
    assert covariance.q_law is not None
    with pytest.raises(TargetError, match=r"Did you mean 'bert\.encoder\.layer\.1\.attention\.self\.value'"):
        posterior.weight_covariance("encoder.layer.1.attention.self.value")
    with pytest.raises(GuideError, match="layer 'classifier' has point factors only"):
        posterior.weight_covariance("classifier")
