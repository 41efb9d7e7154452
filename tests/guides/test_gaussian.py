"""What Gaussian guides share: one order of noise, their square root, KL by layer, refusals; and mean field as it was."""

from __future__ import annotations

import json
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch.distributions import kl_divergence

from bayespeft import registry
from bayespeft.errors import ConfigError, GuideError
from bayespeft.guides.base import GuideSpec
from bayespeft.guides.full_covariance import FullCovariance
from bayespeft.guides.gaussian import GaussianGuide, GaussianSpec, scale_tril
from bayespeft.guides.laplace_full import LaplaceFull
from bayespeft.guides.laplace_kronecker import LaplaceKronecker
from bayespeft.guides.low_rank import LowRank
from bayespeft.guides.matrix_normal import MatrixNormal
from bayespeft.guides.mean_field import MeanField
from bayespeft.guides.point import Point
from bayespeft.layers.factors import StackedFactor
from bayespeft.priors.normal import Normal
from bayespeft.variational.joint_guide import JointGuide

SPECS = [
    MeanField(init_std=(0.1, 0.4)),
    MeanField(init_std=(0.1, 0.4), std="square"),
    FullCovariance(init_std=(0.1, 0.4)),
    LowRank(init_std=(0.1, 0.4), rank=3),
    MatrixNormal(init_std=(0.1, 0.4)),
    MatrixNormal(init_std=(0.1, 0.4), factors="diagonal"),
]
# Standard normals of one draw of `stacks()`: 3 layers of (2, 4) and 2 of (5,).
SIZES = [34, 34, 34, 34 + 5 * 3, 34, 34]
guides = pytest.mark.parametrize("spec", SPECS, ids=[f"{spec.kind}-{i}" for i, spec in enumerate(SPECS)])


def stacks() -> list[StackedFactor]:
    generator = torch.Generator().manual_seed(0)
    prior = Normal(scale=0.5)
    return [
        StackedFactor(
            name,
            name[0],
            ("x",) * shape[0],
            "latent",
            torch.randn(shape, generator=generator),
            prior,
            torch.ones(shape),
        )
        for name, shape in {"C_2x4": (3, 2, 4), "b_5": (2, 5)}.items()
    ]


def build(spec: GuideSpec, moved: bool = True) -> GaussianGuide:
    """A guide in float64, away from its start, so that correlations are not zero."""
    guide = spec.build(stacks(), torch.Generator().manual_seed(1))
    assert isinstance(guide, GaussianGuide)
    guide = guide.double()
    if moved:
        generator = torch.Generator().manual_seed(2)
        for parameter in guide.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return guide


@pytest.mark.parametrize(("spec", "size"), list(zip(SPECS, SIZES, strict=True)))
def test_noise_size_counts_layers_times_width(spec, size):
    assert build(spec).noise_size == size
    assert spec.build([], torch.Generator()).noise_size == 0


@guides
def test_draws_are_the_transform_of_separate_standard_normals(spec):
    guide = build(spec)
    generator = torch.Generator().manual_seed(5)
    noise = torch.stack([torch.randn(guide.noise_size, generator=generator) for _ in range(3)]).double()
    draws, expected = guide.draws(3, torch.Generator().manual_seed(5)), guide.transform(noise)
    assert all(torch.equal(draws[name], expected[name]) for name in ("C_2x4", "b_5"))


@guides
def test_antithetic_noise_mirrors_a_draw_at_the_mean(spec):
    guide = build(spec)
    noise = torch.randn(2, guide.noise_size, generator=torch.Generator().manual_seed(0)).double()
    there, back, mean = guide.transform(noise), guide.transform(-noise), guide.mean()
    for name in mean:
        torch.testing.assert_close(0.5 * (there[name] + back[name]), mean[name].expand_as(there[name]))


@guides
def test_pull_is_the_adjoint_of_push_over_all_stacks(spec):
    guide, generator = build(spec), torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, guide.noise_size, generator=generator).double()
    pushed = guide.sqrt_matvec(noise)
    gradients = {name: torch.randn(value.shape, generator=generator).double() for name, value in pushed.items()}
    left = sum((pushed[name] * gradients[name]).flatten(2).sum(-1) for name in pushed)
    torch.testing.assert_close(left, (noise * guide.sqrt_rmatvec(gradients)).sum(-1))


@guides
def test_pushing_the_identity_gives_the_standard_deviations(spec):
    guide = build(spec)
    columns = guide.sqrt_matvec(torch.eye(guide.noise_size).double())
    for name, std in guide.std().items():
        torch.testing.assert_close(columns[name].square().sum(0).sqrt(), std)


@guides
def test_kl_by_layer_adds_up(spec):
    guide = build(spec)
    for stack in stacks():
        prior = stack.prior.distribution(stack.center.double())
        by_layer = guide.kl_by_layer(stack.name, prior)
        assert by_layer.shape == (len(stack.layers),)
        torch.testing.assert_close(by_layer.sum(), kl_divergence(guide.q()[stack.name], prior))


@guides
def test_spread_is_everything_but_the_means(spec):
    guide = build(spec)
    spread = {id(parameter) for parameter in guide.spread()}
    named = dict(guide.named_parameters())
    assert {name for name, p in named.items() if id(p) not in spread} == {"loc.C_2x4", "loc.b_5"}


@guides
def test_every_spread_parameter_gets_a_gradient_from_data_at_the_start(spec):
    guide = build(spec, moved=False)
    noise = torch.randn(64, guide.noise_size, generator=torch.Generator().manual_seed(0)).double()
    target = torch.randn(8, generator=torch.Generator().manual_seed(1)).double()
    draws = guide.transform(noise)
    loss = (draws["C_2x4"].flatten(2) @ target).square().mean() + draws["b_5"].sum(-1).square().mean()
    torch.autograd.backward(loss)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in guide.parameters())


@guides
def test_standard_deviations_start_where_the_settings_say(spec):
    guide = build(spec, moved=False)
    # Common directions add a little to the diagonal's.
    high = 0.4 * (1.2 if spec.kind == "low_rank" else 1 + 1e-6)
    for std in guide.std().values():
        assert 0.1 * (1 - 1e-6) <= float(std.detach().min()) < float(std.detach().max()) <= high


@guides
def test_settings_survive_json(spec):
    assert GuideSpec.model_validate(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize("noise", ["flipout", "token"])
def test_without_correlations_signs_may_flip(noise):
    assert MatrixNormal(factors="diagonal", noise=noise).noise == noise
    with pytest.raises(ConfigError, match="sign flips"):
        MatrixNormal(factors="dense", noise=noise)


@pytest.mark.parametrize("spec", [FullCovariance, LowRank, MatrixNormal])
@pytest.mark.parametrize("noise", ["flipout", "token"])
def test_sign_flips_are_refused_where_there_are_correlations(spec, noise):
    with pytest.raises(ConfigError, match=r"sign flips kill the off-diagonal covariance.*noise='example'"):
        spec(noise=noise)
    assert spec(noise="batch").noise == "batch"
    assert MeanField(noise=noise).noise == noise


@pytest.mark.parametrize("bad", [(0.0, 0.1), (0.2, 0.1)])
@pytest.mark.parametrize("spec", [MeanField, FullCovariance, LowRank, MatrixNormal])
def test_bad_initial_standard_deviations_are_refused(spec, bad):
    with pytest.raises(ConfigError, match="init_std must be"):
        spec(init_std=bad)


@pytest.mark.parametrize(
    ("spec", "numbers"), [(FullCovariance(), 3 * 8**2 + 2 * 5**2), (MatrixNormal(), 3 * 20 + 2 * 26)]
)
def test_what_would_take_more_than_half_of_the_memory_is_refused(spec, numbers, monkeypatch):
    def free(count: int) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    here = torch.device("cpu")
    free(2 * 16 * numbers)
    spec.check_memory(stacks(), here)
    free(2 * 16 * numbers - 1)
    with pytest.raises(GuideError, match=rf"'{spec.kind}' would take {16 * numbers:,} bytes.*'C_2x4' alone.*Use "):
        spec.check_memory(stacks(), here)


@pytest.mark.parametrize("spec", [FullCovariance(), LaplaceFull(), LaplaceKronecker()], ids=lambda spec: spec.kind)
def test_the_memory_that_counts_is_that_of_the_device_it_will_be_trained_on(spec, monkeypatch):
    free = {"meta": 0, "cpu": 10**12}
    monkeypatch.setattr("bayespeft.guides.base.free_memory", lambda device: free[device.type])
    JointGuide(stacks(), spec, torch.Generator())
    with pytest.raises(GuideError, match="but 0 are free on meta"):
        JointGuide(stacks(), spec, torch.Generator(), torch.device("meta"))


def test_a_large_factor_is_refused_before_anything_is_allocated():
    zeros = torch.zeros(1).expand(48, 8, 4096)
    large = StackedFactor("A_8x4096", "A", ("x",) * 48, "latent", zeros, Normal(scale=1.0), zeros)
    with pytest.raises(GuideError, match=r"824,633,720,832 bytes.*'A_8x4096'.*matrix_normal"):
        FullCovariance().check_memory([large], torch.device("cpu"))


def test_cholesky_factors_have_rows_in_units_of_their_standard_deviation():
    raw = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    lower = scale_tril(raw)
    assert torch.equal(lower, lower.tril())
    for i in range(3):
        torch.testing.assert_close(lower[:, i, i], raw[:, i, i].exp())
        torch.testing.assert_close(lower[:, i, :i], raw[:, i, i, None].exp() * raw[:, i, :i])
    assert torch.equal(scale_tril(raw + torch.ones(3, 3).triu(1)), lower)


def test_mean_field_keeps_its_file_format():
    spec = MeanField()
    assert json.loads(spec.model_dump_json()) == {
        "kind": "mean_field", "noise": "example", "init_std": [0.01, 0.01], "std": "exp",
    }  # fmt: skip
    guide = spec.build(stacks(), torch.Generator())
    assert list(guide.state_dict()) == ["loc.C_2x4", "loc.b_5", "raw.C_2x4", "raw.b_5"]


@pytest.mark.parametrize(("std", "raw"), [("exp", 0.25), ("square", 0.5)])
def test_mean_field_has_both_parameterisations(std, raw):
    guide = MeanField(std=std).build(stacks(), torch.Generator())
    value = torch.tensor(raw).log() if std == "exp" else torch.tensor(raw)
    guide.raw["b_5"].data.fill_(float(value))
    torch.testing.assert_close(guide.std()["b_5"], torch.full((2, 5), 0.25))


def test_a_point_has_no_noise():
    guide = Point().build(stacks(), torch.Generator())
    assert guide.noise_size == 0
    draws = guide.transform(torch.zeros(4, 0))
    assert all(torch.equal(draws[p.name], p.init.expand(4, *p.init.shape)) for p in stacks())


def test_helpers_are_no_guides():
    assert "gaussian" not in registry.names("guides")
    assert all(issubclass(registry.get("guides", s.kind), GaussianSpec) for s in SPECS)
