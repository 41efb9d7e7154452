"""What every guide owes the house."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bayespeft.adapters.base import Adapter
from bayespeft.adapters.core import Core
from bayespeft.errors import ConfigError, GuideError
from bayespeft.guides.base import Guide, GuideSpec
from bayespeft.layers.factors import StackedFactor
from bayespeft.methods.base import Method
from bayespeft.priors.base import Prior
from bayespeft.priors.flat import Flat
from bayespeft.priors.normal import Normal
from bayespeft.testing.fits import check_round_trip, fitted, method_of
from bayespeft.testing.laws import check_same
from bayespeft.utils.randomness import seeded
from bayespeft.variational.joint_guide import JointGuide
from bayespeft.variational.kl import log_density, objective_kl
from bayespeft.variational.reported import reported_kl

NAME, SHAPE = "C_2x4", (3, 2, 4)


class GuideContract:
    """Tests of one guide.

    Attributes:
        guide: with the settings that are tested.
        prior: what it is fitted under.
        adapter: what it is fitted over, if it needs a certain one.
    """

    guide: GuideSpec
    prior: Prior = Normal(scale=0.5)
    adapter: Adapter = Core(r=3)

    @pytest.fixture
    def subject(self) -> GuideSpec:
        """The guide that is tested."""
        return self.guide

    def method(self, guide: GuideSpec) -> Method:
        """The method that it is fitted by."""
        return method_of(adapter=self.adapter, guide=guide, prior=self.prior)

    def a_stack(self, guide: GuideSpec) -> StackedFactor:
        """Three layers of a factor (2, 4), or three heads, under the prior that the guide is fitted by."""
        init = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        factor, method = next((name for name, role in guide.needs.items() if role == "latent"), "C"), self.method(guide)
        if guide.covers == "head":
            return StackedFactor(NAME, factor, ("a", "b", "c"), "head", init, method.head_prior, init + 0.1)
        return StackedFactor(NAME, factor, ("a", "b", "c"), "latent", init, method.latent_prior, init + 0.1)

    def build(self, guide: GuideSpec) -> Guide:
        """The guide over one stack, at its start."""
        return guide.build([self.a_stack(guide)], torch.Generator().manual_seed(0))

    def moved(self, guide: GuideSpec) -> Guide:
        """The guide with its parameters moved at random: what holds at the start may hold there only."""
        built = self.build(guide)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return built

    def test_parameters_exist_before_the_first_step_in_float32(self, subject: GuideSpec) -> None:
        """Optimisers are made before anything runs."""
        built = self.build(subject)
        assert {p.dtype for p in built.parameters()} <= {torch.float32}
        assert {id(p) for p in built.spread()} <= {id(p) for p in built.parameters()}

    def test_starts_at_the_initial_values(self, subject: GuideSpec) -> None:
        """At the start the mean is what the adapter asks for, so that the network is the base."""
        stack = self.a_stack(subject)
        torch.testing.assert_close(self.build(subject).mean()[NAME].detach(), stack.init)

    def test_draws_are_a_function_of_normals_and_come_in_the_stack_s_shape(self, subject: GuideSpec) -> None:
        """Antithetic and quasi-random draws, and one draw for a whole data set, follow from that."""
        built = self.moved(subject)
        n = min(5, built.members or 5)
        noise = torch.randn(n, built.noise_size, generator=torch.Generator().manual_seed(0))
        first, again = (built.transform(noise)[NAME].detach() for _ in range(2))
        assert first.shape == (n, *SHAPE)
        assert torch.equal(first, again)
        if built.members is None:
            one_by_one = [built.transform(noise[i : i + 1])[NAME].detach() for i in range(n)]
            torch.testing.assert_close(torch.cat(one_by_one), first)

    def test_first_draws_do_not_depend_on_how_many_follow(self, subject: GuideSpec) -> None:
        """More draws are the same draws and others."""
        built = self.moved(subject)
        few, many = (built.draws(n, torch.Generator().manual_seed(3))[NAME] for n in (2, 5))
        assert torch.equal(few, many[:2])

    def test_a_draw_of_prediction_is_one_of_training(self, subject: GuideSpec) -> None:
        """`transform`, by which it predicts, and q, by which it trains, are one law."""
        built = self.build(subject)
        if not subject.stochastic or built.members is not None:  # members all start at the same values
            draws = built.draws(built.members or 3, torch.Generator().manual_seed(1))[NAME].detach()
            torch.testing.assert_close(draws[0], built.mean()[NAME].detach())
            return
        built = self.moved(subject)
        drawn, own = draws_of(built, 4000), own_draws(built, 4000)
        if own is None:
            assert not subject.variational, "a guide that is fitted by the ELBO needs q"
            pytest.skip("fitted after training a point, it has no law of each stack")
        check_same(drawn, own, "draws of `transform` and of `q`")

    def test_signs_are_flipped_only_where_that_leaves_q_as_it_is(self, subject: GuideSpec) -> None:
        """A guide that claims to be symmetric is, and another one refuses to flip signs."""
        if not subject.symmetric:
            with pytest.raises(ConfigError, match="noise"):
                subject.replace(noise="flipout")
            return
        built = self.moved(subject)
        deviation = own_draws(built, 4000)
        if deviation is None:
            pytest.skip("fitted after training a point, it spreads no noise in training")
        deviation = deviation - built.mean()[NAME].detach()
        signs = torch.randint(0, 2, deviation.shape, generator=torch.Generator().manual_seed(6)) * 2 - 1
        check_same(deviation, deviation.flip(0) * signs, "deviations with and without their signs flipped")

    def test_kl_is_finite_and_reaches_every_parameter(self, subject: GuideSpec) -> None:
        """By a formula, or by Monte Carlo if guide or prior say so: the loss moves all that is to be trained."""
        self._needs_a_kl(subject)
        joint_guide = self._joint_guide(subject)
        q, p = joint_guide.q()[NAME], joint_guide.priors()[NAME]
        with seeded(0):
            kl = objective_kl(q, p)
            drawn = q.rsample()
        assert torch.isfinite(kl).all()
        loss = kl.sum() + drawn.square().sum()
        if loss.requires_grad:
            torch.autograd.backward(loss)
        for name, parameter in joint_guide.latent.named_parameters():
            assert parameter.grad is not None, f"neither the KL nor a draw depends on the parameter '{name}'"
            assert torch.isfinite(parameter.grad).all(), f"the gradient of '{name}' is not finite"

    def test_reported_kl_is_that_of_the_draws(self, subject: GuideSpec) -> None:
        """Whatever trains it, KL(q || prior) is E_q[ln q - ln prior], within five standard errors."""
        self._needs_a_kl(subject)
        joint_guide = self._joint_guide(subject)
        reported = reported_kl(joint_guide)[NAME]
        q, stack = joint_guide.q()[NAME], joint_guide.stacks[0]
        law, constant = stack.prior.reported(stack.center, q)
        with seeded(7), torch.no_grad():
            drawn = q.rsample(torch.Size([4000]))
            ratios = (log_density(q, drawn).sum(-1) - log_density(law, drawn).sum(-1)).double()
        error = float(ratios.std()) / len(ratios) ** 0.5
        expected = float(ratios.mean()) + constant * stack.init.numel()
        allowed = 5 * (error**2 + (reported.error or 0.0) ** 2) ** 0.5 + 1e-3
        assert abs(float(reported.nats.sum()) - expected) < allowed

    def test_state_dict_round_trip(self, subject: GuideSpec) -> None:
        """What is saved is all there is."""
        built = self.moved(subject)
        other = subject.build([self.a_stack(subject)], torch.Generator().manual_seed(9))
        other.load_state_dict(built.state_dict(), strict=True)
        first, second = (g.draws(2, torch.Generator().manual_seed(4))[NAME] for g in (built, other))
        assert torch.equal(first, second)

    def test_json_round_trip(self, subject: GuideSpec) -> None:
        """Settings are read as they were written, by the registered name."""
        assert GuideSpec.model_validate(json.loads(subject.model_dump_json())) == subject

    def test_fits_saves_loads_and_predicts(self, subject: GuideSpec, tmp_path: Path) -> None:
        """It trains on a network, draws, and is the same when it is loaded."""
        method = self.method(subject)
        predictive = check_round_trip(method, tmp_path)
        linearised = (method.prediction or subject.prediction) == "linearised"
        expected = (256 if linearised else 3) if fitted(method).joint_guide.stochastic else 0
        assert predictive.draws == expected

    def _needs_a_kl(self, guide: GuideSpec) -> None:
        if not (guide.variational and guide.stochastic):
            pytest.skip("a point, or fitted after training one: it is under no KL")

    def _joint_guide(self, guide: GuideSpec) -> JointGuide:
        others = [
            StackedFactor(
                f"{factor}_1x1", factor, ("a", "b", "c"), role, torch.zeros(3, 1, 1), Flat(), torch.zeros(3, 1, 1)
            )
            for factor, role in guide.needs.items()
            if role != "latent"
        ]
        built = JointGuide([self.a_stack(guide), *others], guide, torch.Generator().manual_seed(0))
        built.latent.load_state_dict(self.moved(guide).state_dict())
        return built


def draws_of(guide: Guide, n: int) -> Tensor:
    """Return draws of prediction, (n, layers, ...)."""
    return guide.draws(n, torch.Generator().manual_seed(1))[NAME].detach()


def own_draws(guide: Guide, n: int) -> Tensor | None:
    """Return draws of q, (n, layers, ...); None where the guide has no law of each stack."""
    try:
        law = guide.q()[NAME]
    except GuideError:
        return None
    with seeded(2):
        return law.sample(torch.Size([n]))
